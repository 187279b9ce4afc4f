/** A store killed, or without power, at every step of its writes and snapshots: afterwards it is what its log is, and nothing acknowledged is missing. */
import fs from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { backends, testingOf } from '../support/backends.js'
import { checkCrashes, recordEvents } from '../support/crash-images.js'
import { Changes, entriesOf, openJson, snapshotPath, withStore } from './stores.js'

const OPTIONS = { segmentBytes: 2048, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000, snapshotBytes: false } as const

vi.setConfig({ testTimeout: 300_000 })
/** Snapshots that were no use. */
const ignored: string[] = []
process.removeAllListeners('warning')
process.on('warning', (warning: Error & { code?: string }) => {
  if (warning.code === 'SEALOG_SNAPSHOT') ignored.push(warning.message)
})

describe.each(backends)('store and crashes (%s)', (backend) => {
  it.each(['fsync', 'flush'] as const)('killed, or without power, at every step (mode %s)', async (durability) => {
    const testing = testingOf(backend)
    const changes = new Changes()
    let batch = -1
    const events = await recordEvents(backend, async (place) => {
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
      batch = first
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
    })
    let withSnapshot = 0
    const opened = await checkCrashes(events, 11, 0, async (place, acknowledged) => {
      if (fs.existsSync(snapshotPath(place))) withSnapshot++
      await withStore(place, backend, { ...OPTIONS, durability }, async (after) => {
        const end = after.committedOffset
        expect(end).toBeGreaterThanOrEqual(acknowledged)
        // A batch is all there or not there.
        expect(end).not.toBe(batch + 1)
        expect(await entriesOf(after)).toEqual(changes.entries(end))
        await after.put('after', 1)
        expect(after.size).toBe(changes.entries(end).length + 1)
        // No crash leaves a damaged snapshot, nor one ahead of its log; that recovery has raised the epoch is none of its fault.
        expect(ignored.splice(0).filter((message) => !message.includes('epoch'))).toEqual([])
      })
    })
    console.log(`store, ${backend}, ${durability}: ${opened} different images of ${events.length} events, ${withSnapshot} with a snapshot`)
    expect(opened).toBeGreaterThan(100)
    expect(withSnapshot).toBeGreaterThan(30)
  })
})
