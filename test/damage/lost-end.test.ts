/** Rule 6: COMMITTED alone may prove that the end of a log was durable. Then open refuses, and repair can give the end up, in a new epoch. */
import { readFileSync, truncateSync, unlinkSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { Log, repair, verify } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf, segmentPath, withLog } from '../support/logs.js'

const MARK_BYTES = 56

const damages = [
  { what: 'half of the last group is missing', end: 4, damage: (file: string) => truncateSync(file, readFileSync(file).length - MARK_BYTES - 100) },
  {
    what: 'the last group is missing, on a commit frame',
    end: 4,
    damage: (file: string) => truncateSync(file, readFileSync(file).length - MARK_BYTES - 328 - 56),
  },
  { what: 'all groups are missing', end: 0, damage: (file: string) => truncateSync(file, 128) },
  { what: 'the only segment is missing', end: 0, damage: unlinkSync },
] as const

describe.each(backends)('records of which only COMMITTED tells, %s', (backend) => {
  describe.each(damages)('$what', ({ end, damage }) => {
    const makeDamaged = async () => {
      const directory = freshPath()
      await withLog(directory, { backend }, async (log) => {
        for (let i = 0; i < 5; i++) await log.append(new Uint8Array(300))
      })
      damage(segmentPath(directory, 0))
      return directory
    }

    test('refuse writer and reader, and verify names them', async () => {
      const directory = await makeDamaged()
      expect(await codeOf(() => Log.open(directory, { backend }))).toBe('ERR_SEALOG_CORRUPT')
      expect(await codeOf(() => Log.openReader(directory, { backend }))).toBe('ERR_SEALOG_CORRUPT')
      const { ok, problems } = await verify(directory, { backend })
      expect(ok).toBe(false)
      expect(problems[0]).toMatchObject({ firstOffset: end })
    })

    test.each(['point-in-time', 'salvage'] as const)('are given up by repair with policy %s', async (policy) => {
      const directory = await makeDamaged()
      const report = await repair(directory, { policy, backend })
      expect(report).toMatchObject({ lost: [{ from: end, to: 5 }], endOffset: end })
      await withLog(directory, { backend }, async (log) => {
        expect([log.endOffset, log.epoch]).toEqual([end, 2])
        expect(await log.append(new Uint8Array(1))).toBe(end)
      })
      expect((await verify(directory, { backend })).ok).toBe(true)
    })
  })
})
