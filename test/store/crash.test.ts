/** A store killed, or without power, at every step of its writes and snapshots: afterwards it is what its log is, and nothing acknowledged is missing. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { backends, testingOf } from '../support/backends.js'
import { afterReboot } from '../support/crash-recovery.js'
import { makeDirectory } from '../support/directories.js'
import { Random } from '../support/random.js'
import { parseRecording } from '../support/recording.js'
import { Disk, type DiskImage, hashOf, materialize } from '../support/replay.js'
import { Changes, entriesOf, openJson, snapshotPath } from './stores.js'

const OPTIONS = { segmentBytes: 2048, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000, snapshotBytes: false } as const
const IMAGES_PER_EVENT = process.env.SEALOG_SOAK === undefined ? 2 : 12

vi.setConfig({ testTimeout: 300_000 })
/** Snapshots that were no use. */
const ignored: string[] = []
process.removeAllListeners('warning')
process.on('warning', (warning: Error & { code?: string }) => {
  if (warning.code === 'SEALOG_SNAPSHOT') ignored.push(warning.message)
})

describe.each(backends)('store and crashes (%s)', (backend) => {
  it.each(['fsync', 'flush'] as const)('killed, or without power, at every step (mode %s)', async (durability) => {
    const directory = makeDirectory('store')
    const place = path.join(directory, 'log')
    const testing = testingOf(backend)
    const changes = new Changes()
    testing.record(true)
    const store = await openJson(place, backend, { ...OPTIONS, durability })
    /** Everything below is durable: a power loss takes none of it. */
    const durable = () => testing.note(store.stats().log.durableOffset)
    const put = async (key: string, value: unknown) => {
      const offset = await store.put(key, value)
      changes.put(offset, key, value)
      durable()
    }
    for (let i = 0; i < 12; i++) await put(`key ${i % 5}`, { i, text: 'x'.repeat(i * 3) })
    await store.snapshot()
    durable()
    const { first } = await store.putBatch([
      { key: 'key 1', delete: true },
      { key: 'batch', value: 1 },
    ])
    changes.delete(first, 'key 1')
    changes.put(first + 1, 'batch', 1)
    durable()
    for (let i = 0; i < 6; i++) await put(`more ${i}`, i)
    await store.snapshot()
    durable()
    await store.clear()
    changes.clear(changes.length)
    durable()
    await put('end', 1)
    await store.snapshot()
    await store.close()
    testing.note(changes.length)
    const events = parseRecording(testing.takeRecording(), directory)
    testing.record(false)

    const random = new Random(11)
    const disk = Disk.of(new Map([['log', undefined]]))
    const seen = new Set<string>()
    let acknowledged = 0
    let opened = 0
    let withSnapshot = 0
    for (const [at, event] of events.entries()) {
      if (event.kind === 'note') acknowledged = event.number
      else if (event.kind !== 'mkdir' || event.path !== 'log') disk.apply(event)
      const images: DiskImage[] = [disk.live()]
      for (const image of disk.crashes(random, IMAGES_PER_EVENT)) if (images.push(afterReboot(image)) > IMAGES_PER_EVENT) break
      for (const image of images) {
        const hash = hashOf(image)
        if (seen.has(hash)) continue
        seen.add(hash)
        const scratch = makeDirectory('image')
        materialize(image, scratch)
        const again = path.join(scratch, 'log')
        if (fs.existsSync(snapshotPath(again))) withSnapshot++
        const after = await openJson(again, backend, { ...OPTIONS, durability })
        try {
          const end = after.committedOffset
          expect(end).toBeGreaterThanOrEqual(acknowledged)
          // A batch is all there or not there.
          expect(end).not.toBe(first + 1)
          expect(await entriesOf(after)).toEqual(changes.entries(end))
          await after.put('after', 1)
          expect(after.size).toBe(changes.entries(end).length + 1)
          // No crash leaves a damaged snapshot, nor one ahead of its log; that recovery has raised the epoch is none of its fault.
          expect(ignored.splice(0).filter((message) => !message.includes('epoch'))).toEqual([])
        } catch (error) {
          throw new Error(`event ${at} (${event.kind} ${'path' in event ? event.path : ''}): ${(error as Error).message}`, { cause: error })
        } finally {
          await after.close()
          fs.rmSync(scratch, { recursive: true, force: true })
        }
        opened++
      }
    }
    console.log(`store, ${backend}, ${durability}: ${opened} different images of ${events.length} events, ${withSnapshot} with a snapshot`)
    expect(opened).toBeGreaterThan(100)
    expect(withSnapshot).toBeGreaterThan(30)
  })
})
