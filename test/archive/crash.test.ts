/** Archiving, giving up, restoring and cutting, killed or without power at every step: nothing is lost, and the next pass finishes what is left. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log } from '../../lib/index.js'
import { testingOf } from '../support/backends.js'
import { afterReboot } from '../support/crash-recovery.js'
import { makeDirectory } from '../support/directories.js'
import { Random } from '../support/random.js'
import { parseRecording } from '../support/recording.js'
import { Disk, type DiskImage, hashOf, materialize } from '../support/replay.js'
import { archiveNames, archivers, digest, OPTIONS, openBoth, roll, segmentHashes } from './archives.js'

const IMAGES_PER_EVENT = process.env.SEALOG_SOAK === undefined ? 2 : 12
/** Numbers of notes: what the log holds from there on. */
const WHOLE = 1
const CUTTING = 2
const CUT = 3

vi.setConfig({ testTimeout: 300_000 })

describe.each(archivers)('archives and crashes (%s)', (backend) => {
  it('killed, or without power, at every step', async () => {
    const directory = makeDirectory('archive')
    const testing = testingOf(backend)
    testing.record(true)
    const { log, archive } = await openBoth(path.join(directory, 'log'), backend, { segmentBytes: 2048 }, { parallelism: 2 })
    for (let i = 0; i < 90; i++) await log.append(Buffer.from(JSON.stringify({ i, text: 'record '.repeat(i % 9) })))
    await roll(log)
    const whole = await digest(log)
    const hashes = segmentHashes(log.directory)
    testing.note(WHOLE)
    await archive.run()
    expect((await archive.train()).gain).toBeLessThan(1)
    const bases = archive.list().map(({ base }) => base)
    await archive.release(bases[3])
    await archive.restore(bases[1], bases[2])
    await archive.release(log.endOffset)
    await archive.restore(bases[0], bases[1])
    testing.note(CUTTING)
    await log.truncateAfter(bases[4] + 1)
    const cut = await digest(log)
    testing.note(CUT)
    await roll(log)
    await archive.run()
    await archive.release(log.endOffset)
    await log.close()
    const events = parseRecording(testing.takeRecording(), directory)
    testing.record(false)

    const random = new Random(5)
    const disk = Disk.of(new Map([['log', undefined]]))
    const seen = new Set<string>()
    let phase = 0
    let opened = 0
    let released = 0
    for (const [at, event] of events.entries()) {
      if (event.kind === 'note') phase = event.number
      else if (event.kind !== 'mkdir' || event.path !== 'log') disk.apply(event)
      if (phase === 0) continue
      const images: DiskImage[] = [disk.live()]
      for (const image of disk.crashes(random, IMAGES_PER_EVENT)) if (images.push(afterReboot(image)) > IMAGES_PER_EVENT) break
      for (const image of images) {
        const hash = hashOf(image)
        if (seen.has(hash)) continue
        seen.add(hash)
        const scratch = makeDirectory('image')
        materialize(image, scratch)
        const place = path.join(scratch, 'log')
        const after = await Log.open(place, { ...OPTIONS, segmentBytes: 2048, backend, recovery: 'strict' })
        try {
          expect(phase === WHOLE ? [whole] : phase === CUT ? [cut] : [whole, cut]).toContain(await digest(after))
          const expected = await digest(after)
          const again = await openArchive(after, { automatic: false, blockBytes: 4096 })
          await again.run()
          expect(again.stats()).toMatchObject({ pending: 0, quarantined: 0, failures: 0 })
          expect(await again.verify()).toMatchObject({ ok: true })
          const named = again.list().map(({ file }) => path.basename(file))
          released += again.stats().released
          // Nothing is left over but dictionaries and archives of what was cut.
          expect(archiveNames(place).filter((name) => name.endsWith('.tmp'))).toEqual([])
          expect(archiveNames(place)).toEqual(expect.arrayContaining(named))
          await again.release(after.endOffset)
          expect(await digest(after)).toBe(expected)
          await again.restore(0, after.endOffset)
          if (expected === whole) {
            const restored = segmentHashes(place)
            for (const name of [...hashes.keys()].slice(0, named.length)) expect(restored.get(name)).toBe(hashes.get(name))
          }
          await again.close()
        } catch (error) {
          throw new Error(`event ${at} (${event.kind} ${'path' in event ? event.path : ''}): ${(error as Error).message}`, { cause: error })
        } finally {
          await after.close()
          fs.rmSync(scratch, { recursive: true, force: true })
        }
        opened++
      }
    }
    console.log(`archives, ${backend}: ${opened} different images of ${events.length} events, ${released} segments in archives only`)
    expect(opened).toBeGreaterThan(150)
    expect(released).toBeGreaterThan(50)
  })
})
