import { afterEach, describe, expect, it, vi } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, range, readAll, withLog } from '../support/logs.js'

afterEach(() => vi.restoreAllMocks())

/** What offsetAt promises, spelled out. */
function expectedAt(times: readonly number[], time: number, start = 0): number {
  let running = -1
  for (let offset = 0; offset < times.length; offset++) {
    running = Math.max(running, times[offset])
    if (running >= time) return Math.max(offset, start)
  }
  return times.length
}

describe.each(backends)('timestamps (%s)', (backend) => {
  it('given by sealog never decrease, also when the clock goes backwards and over a reopening', async () => {
    const directory = freshPath()
    let now = 1_700_000_000_000
    vi.spyOn(Date, 'now').mockImplementation(() => now)
    await withLog(directory, { backend }, async (log) => {
      for (const step of [0, 1000, -5000, 10, -20_000]) {
        now += step
        await log.append(bytes('x'))
      }
    })
    now -= 60_000
    await withLog(directory, { backend }, async (log) => {
      await log.append(bytes('y'))
      const times = (await readAll(log)).map((record) => record.timestamp)
      expect(times).toEqual([...times].sort((a, b) => a - b))
      expect(times[0]).toBe(1_700_000_000_000)
      expect(times.at(-1)).toBe(1_700_000_001_000)
    })
  })

  it("a user's own may go anywhere, and does not hold up the clock", async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const before = Date.now()
      for (const timestamp of [5, 0, 2 ** 48 - 1, 17]) await log.append(bytes('x'), { timestamp })
      await log.appendRecords([
        { value: bytes('a'), timestamp: 3 },
        { value: bytes('b'), timestamp: 1 },
      ])
      await log.append(bytes('now'))
      const times = (await readAll(log)).map((record) => record.timestamp)
      expect(times.slice(0, 6)).toEqual([5, 0, 2 ** 48 - 1, 17, 3, 1])
      expect(times[6]).toBeGreaterThanOrEqual(before)
      expect(times[6]).toBeLessThanOrEqual(Date.now())
    })
  })

  it('offsetAt finds the first offset whose running maximum reaches the time: every time, over segments, indexes and reopening', async () => {
    const directory = freshPath()
    const times = range(0, 300).map((i) => 1000 + ((i * 7919) % 97) * 10 + Math.floor(i / 40) * 300)
    const probes = [0, 999, 1000, 1001, ...times.filter((_, i) => i % 13 === 0).flatMap((time) => [time - 1, time, time + 1]), 10 ** 9]
    const options = { backend, durability: 'flush', segmentBytes: 2048, indexIntervalBytes: 128 } as const
    const check = async (log: Log) => {
      for (const time of probes) expect([time, await log.offsetAt(time)]).toEqual([time, expectedAt(times, time, log.startOffset)])
    }
    await withLog(directory, options, async (log) => {
      for (const timestamp of times) log.enqueue(bytes('x'.repeat(timestamp % 50)), { timestamp })
      await log.sync()
      expect(log.stats().segments).toBeGreaterThan(5)
      await check(log)
    })
    await withLog(directory, options, async (log) => {
      await check(log)
      await log.truncateBefore(120)
      await check(log)
    })
    const reader = await Log.openReader(directory, { backend })
    for (const time of probes) expect([time, await reader.offsetAt(time)]).toEqual([time, expectedAt(times, time, 120)])
    await reader.close()
  })

  it('offsetAt of an empty log is its end, of a time that is none an error', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(await log.offsetAt(0)).toBe(0)
      for (const time of [Number.NaN, Number.POSITIVE_INFINITY, '5' as never]) expect(await codeOf(() => log.offsetAt(time))).toBe('ERR_SEALOG_ARGUMENT')
    })
  })

  it.each([-1, 1.5, 2 ** 48, Number.NaN, '5' as never])('refuses the timestamp %s with nothing written', async (timestamp) => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(await codeOf(() => log.append(bytes('x'), { timestamp }))).toBe('ERR_SEALOG_ARGUMENT')
      expect(await codeOf(() => log.appendRecords([{ value: bytes('x'), timestamp }]))).toBe('ERR_SEALOG_ARGUMENT')
      expect(log.endOffset).toBe(0)
    })
  })
})
