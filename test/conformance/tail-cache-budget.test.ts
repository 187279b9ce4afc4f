/** One budget for the tail caches of all logs. In a file of its own: `configure` comes once, before the first log. */
import { describe, expect, it } from 'vitest'
import { configure, Log } from '../../lib/index.js'
import { freshPath } from '../support/directories.js'
import { range, withLog } from '../support/logs.js'

configure({ cacheBytes: 20_000 })
const { backends } = await import('../support/backends.js')

describe.each(backends)('budget of all tail caches (%s)', (backend) => {
  it('G12: the oldest group of any log goes first, and the sum stays within the budget', async () => {
    const logs = await Promise.all(range(0, 5).map(() => Log.open(freshPath(), { backend, durability: 'flush' })))
    const caches = () => logs.flatMap((log) => log.stats().tailCache ?? [])
    try {
      // Each record costs 24 + 904 + 8 + 64 bytes: twenty fit.
      for (let round = 0; round < 12; round++) {
        for (const log of logs) {
          await log.append(new Uint8Array(900).fill(round))
          expect(caches().reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(20_000)
        }
      }
      expect(caches().map(({ size, newestOffset, evictions }) => [size, newestOffset, evictions.budget])).toEqual(Array(5).fill([4, 11, 8]))
      // A busy log takes the room of the others.
      for (let i = 0; i < 30; i++) await logs[0].append(new Uint8Array(900))
      expect(caches().map(({ size }) => size)).toEqual([20, 0, 0, 0, 0])
      for (const log of logs) expect(log.getSync(11)?.value).toEqual(new Uint8Array(900).fill(11))
      await logs[0].close()
      await logs[1].append(new Uint8Array(900))
      expect(logs[1].stats().tailCache?.size).toBe(1)
    } finally {
      for (const log of logs) await log.close()
    }
  })

  it('what no budget can hold is not cached', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      await log.append(new Uint8Array(30_000))
      expect(log.stats().tailCache).toMatchObject({ size: 0, bytes: 0 })
      expect(log.getSync(0)?.value.length).toBe(30_000)
    })
  })
})
