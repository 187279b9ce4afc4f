/** Archiving, giving up, restoring and cutting, killed or without power at every step: nothing is lost, and the next pass finishes what is left. */
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log } from '../../lib/index.js'
import { testingOf } from '../support/backends.js'
import { checkCrashes, recordEvents } from '../support/crash-images.js'
import { archiveNames, archivers, digest, OPTIONS, openBoth, roll, segmentHashes } from './archives.js'

/** Numbers of notes: what the log holds from there on. */
const WHOLE = 1
const CUTTING = 2
const CUT = 3

vi.setConfig({ testTimeout: 300_000 })

describe.each(archivers)('archives and crashes (%s)', (backend) => {
  it('killed, or without power, at every step', async () => {
    const testing = testingOf(backend)
    let whole = ''
    let cut = ''
    let hashes: ReturnType<typeof segmentHashes> = new Map()
    const events = await recordEvents(backend, async (place) => {
      const { log, archive } = await openBoth(place, backend, { segmentBytes: 2048 }, { parallelism: 2 })
      for (let i = 0; i < 90; i++) await log.append(Buffer.from(JSON.stringify({ i, text: 'record '.repeat(i % 9) })))
      await roll(log)
      whole = await digest(log)
      hashes = segmentHashes(log.directory)
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
      cut = await digest(log)
      testing.note(CUT)
      await roll(log)
      await archive.run()
      await archive.release(log.endOffset)
      await log.close()
    })

    let released = 0
    const begun = events.findIndex(({ kind }) => kind === 'note')
    const opened = await checkCrashes(events, 5, begun, async (place, phase) => {
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
      } finally {
        await after.close()
      }
    })
    console.log(`archives, ${backend}: ${opened} different images of ${events.length} events, ${released} segments in archives only`)
    expect(opened).toBeGreaterThan(150)
    expect(released).toBeGreaterThan(50)
  })
})
