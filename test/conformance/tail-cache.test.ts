/** The tail cache: whatever it holds, every answer is the log's; and its figures are exact. */
import { channel } from 'node:diagnostics_channel'
import { rmSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { CacheSize } from '../../lib/cache/cache-size.js'
import { Log, type LogOptions, type RecordInput } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, offsets, range, readAll, text, until, withLog } from '../support/logs.js'
import { LogModel, type ModelRecord } from '../support/model.js'

const RUNS = Number(process.env.SEALOG_MODEL_RUNS ?? 60)
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const MINUTE = 60_000

const figuresOf = (log: Log<never> | Log) => {
  const stats = log.stats().tailCache
  if (stats === undefined) throw new Error('the log has no tail cache')
  return stats
}

const counts = (log: Log) => {
  const { hitCount, missCount } = figuresOf(log)
  return [hitCount, missCount]
}

async function fill(log: Log, count: number, size = 10): Promise<void> {
  for (let i = 0; i < count; i++) await log.append(bytes(`${log.endOffset} `.padEnd(size, 'x')))
}

/** Messages of a channel until the test ends. */
const subscriptions: Array<() => void> = []
function listen(name: string): Array<Record<string, unknown>> {
  const messages: Array<Record<string, unknown>> = []
  const listener = (message: unknown) => messages.push(message as Record<string, unknown>)
  channel(name).subscribe(listener)
  subscriptions.push(() => channel(name).unsubscribe(listener))
  return messages
}

afterEach(() => {
  for (const end of subscriptions.splice(0)) end()
})

/** The environments' timers that are running. */
const live = new Set<unknown>()
const begin = globalThis.setInterval
const end = globalThis.clearInterval
vi.spyOn(globalThis, 'setInterval').mockImplementation(((run: () => void, ms: number) => {
  const timer = begin(run, ms)
  if (ms < 1000) live.add(timer)
  return timer
}) as typeof setInterval)
vi.spyOn(globalThis, 'clearInterval').mockImplementation((timer) => {
  live.delete(timer)
  end(timer)
})

const record: fc.Arbitrary<ModelRecord> = fc.record({
  value: fc.oneof({ weight: 6, arbitrary: fc.string({ maxLength: 40 }) }, { weight: 1, arbitrary: fc.nat({ max: 500 }).map((n) => 'z'.repeat(n)) }),
  key: fc.option(fc.string({ maxLength: 8 }), { nil: undefined, freq: 2 }),
  tombstone: fc.constant(false),
  timestamp: fc.constant(undefined),
})
const tombstone: fc.Arbitrary<ModelRecord> = fc.record({
  value: fc.constant(''),
  key: fc.string({ maxLength: 8 }),
  tombstone: fc.constant(true),
  timestamp: fc.constant(undefined),
})
const batch = fc.array(fc.oneof({ weight: 5, arbitrary: record }, { weight: 1, arbitrary: tombstone }), { minLength: 1, maxLength: 12 })
const place = fc.double({ min: 0, max: 1, noNaN: true })
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('append' as const), batch, sync: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('get' as const), place, sync: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), low: place, high: place, maxBytes: fc.integer({ min: 1, max: 3000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncateBefore' as const), place }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncateAfter' as const), place }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

const at = (model: LogModel, fraction: number): number => model.start + Math.floor(fraction * (model.end - model.start))
const inputOf = ({ value, key, tombstone }: ModelRecord): RecordInput<Uint8Array> =>
  tombstone ? { key: key ?? '', tombstone: true } : { value: bytes(value), key }

/** Runs one step on log and model alike. */
async function run(step: Step, log: Log, model: LogModel): Promise<void> {
  switch (step.do) {
    case 'append': {
      const appended = log.appendRecords(step.batch.map(inputOf))
      if (step.sync) log.flushSync()
      expect(await appended).toEqual(model.append(step.batch))
      return
    }
    case 'get': {
      const offset = at(model, step.place)
      const before = figuresOf(log)
      model.checkOne(step.sync ? log.getSync(offset) : await log.get(offset), model.at(offset))
      // Reading changes nothing about what is cached; below the end it is a hit or a miss, as the bounds say.
      const after = figuresOf(log)
      if (after.evictions.age === before.evictions.age) {
        expect({ ...after, hitCount: 0, missCount: 0, hitRate: 0 }).toEqual({ ...before, hitCount: 0, missCount: 0, hitRate: 0 })
        const hit = offset < model.end && before.oldestOffset !== undefined && offset >= before.oldestOffset
        expect(after.hitCount - before.hitCount).toBe(hit ? 1 : 0)
        expect(after.missCount - before.missCount).toBe(hit || offset >= model.end ? 0 : 1)
      }
      return
    }
    case 'read': {
      const from = at(model, step.low)
      const to = at(model, step.high)
      const read = []
      for await (const block of log.batches({ from, to, maxBytes: step.maxBytes })) {
        expect(block.nextOffset).toBe(block.offset(block.length - 1) + 1)
        // A block ends with a batch of the writer, or where the range ends.
        const end = block.nextOffset
        expect(end === to || model.at(end)?.batch === end || end === model.end).toBe(true)
        for (let i = 0; i < block.length; i++) read.push(block.record(i))
      }
      model.check(read, from, to)
      return
    }
    case 'truncateBefore': {
      const start = model.truncateBefore(at(model, step.place))
      expect(await log.truncateBefore(at(model, step.place))).toBeLessThanOrEqual(model.end)
      expect(log.startOffset).toBe(Math.max(start, model.start))
      if (start > 0) expect(await codeOf(() => log.getSync(start - 1))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
      return
    }
    case 'truncateAfter': {
      if (model.start === model.end) return
      const offset = Math.min(at(model, step.place), model.end - 1)
      const end = model.end
      expect(await log.truncateAfter(offset)).toBe(model.truncateAfter(offset))
      if (model.end < end) expect(figuresOf(log).size).toBe(0)
    }
  }
}

describe.each(backends)('tail cache (%s)', (backend) => {
  const testing = testingOf(backend)

  it('T1: answers are the log’s, whatever is cached, and reading changes nothing about what is cached', async () => {
    const bounds = fc.record({
      records: fc.integer({ min: 1, max: 30 }),
      maxBytes: fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.constant(2 ** 20)),
      maxAgeMs: fc.oneof({ weight: 1, arbitrary: fc.constant(1) }, { weight: 4, arbitrary: fc.constant(MINUTE) }),
    })
    const durability = fc.constantFrom<LogOptions['durability']>('fsync', 'flush')
    await fc.assert(
      fc.asyncProperty(bounds, durability, fc.array(step, { maxLength: 40, size: 'max' }), async (cache, durability, steps) => {
        const directory = freshPath('cache')
        const model = new LogModel()
        const options = { backend, durability, cache, segmentBytes: 16_384, maxRecordBytes: 1200, maxBatchBytes: 9000, indexIntervalBytes: 256 }
        await withLog(directory, options, async (log) => {
          for (const each of steps) {
            await run(each, log, model)
            const { size, oldestOffset, newestOffset, bytes } = figuresOf(log)
            expect(size).toBeLessThanOrEqual(cache.records)
            expect(bytes).toBeLessThanOrEqual(cache.maxBytes)
            if (newestOffset === undefined || oldestOffset === undefined) expect([size, bytes]).toEqual([0, 0])
            else expect([newestOffset, newestOffset - oldestOffset + 1, oldestOffset >= log.startOffset]).toEqual([log.committedOffset - 1, size, true])
          }
          model.check(await readAll(log), model.start, model.end)
          // What another view reads from the files is the same.
          const reader = await Log.openReader(directory, { backend })
          await reader.recheck()
          const strip = (records: Awaited<ReturnType<typeof readAll>>) => records.map((record) => ({ ...record, value: text(record.value as Uint8Array) }))
          expect(strip(await readAll(log))).toEqual(strip(await readAll(reader)))
          await reader.close()
        })
        rmSync(path.dirname(directory), { recursive: true, force: true })
      }),
      { numRuns: RUNS, seed: SEED, endOnFailure: process.env.SEALOG_MODEL_SHRINK === undefined },
    )
  })

  it('E33: statistics are exact', async () => {
    await withLog(freshPath(), { backend, durability: 'flush', cache: { records: 10, maxAgeMs: MINUTE } }, async (log) => {
      expect(figuresOf(log)).toEqual({
        size: 0,
        maxRecords: 10,
        oldestOffset: undefined,
        newestOffset: undefined,
        hitCount: 0,
        missCount: 0,
        hitRate: 0,
        bytes: 0,
        evictions: { records: 0, age: 0, bytes: 0, budget: 0, truncated: 0 },
      })
      await fill(log, 25, 100)
      expect(figuresOf(log)).toMatchObject({ size: 10, oldestOffset: 15, newestOffset: 24, evictions: { records: 15 } })
      // A frame of 24 + 104 bytes, 8 for the record, 64 for its block.
      expect(figuresOf(log).bytes).toBe(10 * 200)
      for (const offset of [15, 24, 20]) log.getSync(offset)
      await log.get(14)
      await log.get(19)
      log.getSync(0)
      expect(figuresOf(log)).toMatchObject({ hitCount: 4, missCount: 2, hitRate: 4 / 6 })
      expect(await offsets(log, { from: 20 })).toEqual(range(20, 25))
      expect(counts(log)).toEqual([5, 2])
      await log.truncateBefore(20)
      expect(figuresOf(log)).toMatchObject({ size: 5, oldestOffset: 20, newestOffset: 24, evictions: { records: 15, truncated: 5 } })
    })
  })

  it('T46: a poll at the end is neither hit nor miss, nor is what is refused', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(log.getSync(0)).toBeUndefined()
      await fill(log, 3)
      for (let i = 0; i < 5; i++) {
        expect(log.getSync(3)).toBeUndefined()
        expect(await log.get(1000)).toBeUndefined()
        expect(await offsets(log, { from: 3 })).toEqual([])
      }
      await log.truncateBefore(2)
      expect(await codeOf(() => log.getSync(1))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
      expect(counts(log)).toEqual([0, 0])
    })
  })

  it('T22: what a caller does to the bytes it got changes no later answer', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const { last } = await log.appendRecords([{ value: bytes('first') }, { value: bytes('second'), key: 'key' }, { value: new Uint8Array(200_000).fill(7) }])
      for (let round = 0; round < 2; round++) {
        for (const offset of range(0, last + 1)) {
          log.getSync(offset)?.value.fill(0)
          log.getSync(offset)?.key?.fill(0)
          ;(await log.get(offset))?.value.fill(0)
        }
        for await (const block of log.batches()) for (const i of range(0, block.length)) new Uint8Array(block.bytes(i).buffer).fill(0)
      }
      expect(text(log.getSync(0)?.value as Uint8Array)).toBe('first')
      expect(text(log.getSync(1)?.key as Uint8Array)).toBe('key')
      expect(log.getSync(2)?.value).toEqual(new Uint8Array(200_000).fill(7))
      expect(figuresOf(log).missCount).toBe(0)
    })
  })

  it('T6: nothing is cached before it is committed, nor ever when the sync fails', async () => {
    await withLog(freshPath(), { backend, durability: 'fsync' }, async (log) => {
      await fill(log, 2)
      const waiting = log.append(bytes('waiting'))
      expect(log.getSync(2)).toBeUndefined()
      expect(figuresOf(log)).toMatchObject({ size: 2, newestOffset: 1 })
      await waiting
      expect(figuresOf(log)).toMatchObject({ size: 3, newestOffset: 2 })
      testing.fault('datasync', 1, 5, false, 0)
      expect(await codeOf(() => log.append(bytes('lost')))).toBe('ERR_SEALOG_FAILED')
      expect(log.getSync(3)).toBeUndefined()
      expect(figuresOf(log)).toMatchObject({ size: 3, newestOffset: 2 })
      expect(text(log.getSync(2)?.value as Uint8Array)).toBe('waiting')
      await log.reopen()
      expect(figuresOf(log).size).toBe(0)
      await fill(log, 1)
      expect(figuresOf(log)).toMatchObject({ size: 1, newestOffset: log.endOffset - 1 })
    })
    testing.clearFaults()
  })

  it('a group larger than the bounds leaves its end, and batches keep their first offset', async () => {
    await withLog(freshPath(), { backend, cache: { records: 4, maxAgeMs: MINUTE } }, async (log) => {
      await fill(log, 3)
      await log.appendBatch(range(0, 10).map((i) => bytes(`batch ${i}`)))
      expect(figuresOf(log)).toMatchObject({ size: 4, oldestOffset: 9, newestOffset: 12, evictions: { records: 3 } })
      expect(log.getSync(11)).toMatchObject({ offset: 11, batch: 3 })
      expect((await readAll(log, { from: 10 })).map((record) => record.batch)).toEqual([3, 3, 3])
      expect(counts(log)).toEqual([2, 0])
    })
  })

  it('each bound evicts the oldest, and says why', async () => {
    const evicted = listen('sealog:cache:evict')
    const sum = (reason: string) => evicted.filter((message) => message.reason === reason).reduce((total, { count }) => total + Number(count), 0)
    const directory = freshPath()
    await withLog(directory, { backend, durability: 'flush', cache: { records: 5, maxBytes: 1000, maxAgeMs: 200 } }, async (log) => {
      await fill(log, 8)
      expect(figuresOf(log).evictions).toMatchObject({ records: 3, bytes: 0 })
      // 24 + 400 + 8 + 64 bytes each: two fit.
      await fill(log, 3, 400)
      expect(figuresOf(log)).toMatchObject({ size: 2, bytes: 992 })
      const { records, bytes } = figuresOf(log).evictions
      expect([records >= 3, records + bytes]).toEqual([true, 9])
      await until(() => figuresOf(log).size === 0, 'the cache is empty')
      expect(figuresOf(log)).toMatchObject({ bytes: 0, oldestOffset: undefined, evictions: { age: 2 } })
      expect(log.getSync(10)?.value.length).toBe(400)
      expect(figuresOf(log).missCount).toBe(1)
      await until(() => sum('age') === 2, 'everything is published')
      expect([sum('records'), sum('bytes')]).toEqual([records, bytes])
      expect(evicted.every((message) => message.log === directory)).toBe(true)
    })
  })

  it('T49: reading does not make records stay longer; an empty cache needs no timer', async () => {
    await until(() => live.size === 0, 'no earlier log is cached')
    await withLog(freshPath(), { backend, idleMarkMs: 1, cache: { maxAgeMs: 300 } }, async (log) => {
      await fill(log, 10)
      expect(live.size).toBe(1)
      await until(() => log.getSync(9) !== undefined && figuresOf(log).missCount > 0, 'the record has aged')
      expect(figuresOf(log)).toMatchObject({ size: 0, evictions: { age: 10 } })
      await until(() => live.size === 0, 'the timer is gone')
      await fill(log, 1)
      expect([figuresOf(log).size, live.size]).toEqual([1, 1])
    })
  })

  it('large records, empty values, keys, tombstones and JSON come out of the cache as they went in', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const large = new Uint8Array(300_000).map((_, i) => i)
      await log.appendRecords([{ value: large, key: 'large' }, { value: bytes('') }, { key: 'gone', tombstone: true }, { value: bytes('v'), key: '' }])
      expect(log.getSync(0)?.value).toEqual(large)
      expect((await log.get(0))?.key).toEqual(bytes('large'))
      expect(log.getSync(1)).toMatchObject({ value: bytes(''), key: undefined, tombstone: false })
      expect(log.getSync(2)).toMatchObject({ key: bytes('gone'), tombstone: true })
      expect(log.getSync(3)).toMatchObject({ key: bytes(''), value: bytes('v') })
      expect(counts(log)).toEqual([5, 0])
    })
    const log = await Log.open<unknown>(freshPath(), { backend, codec: 'json' })
    const values = [null, 'ünï', { a: [1] }, 'x'.repeat(200_000)]
    for (const value of values) await log.append(value)
    await log.appendRecords([{ key: 'k', tombstone: true }])
    expect(range(0, 5).map((offset) => log.getSync(offset)?.value)).toEqual([...values, null])
    expect((await readAll(log)).map((record) => record.value)).toEqual([...values, null])
    expect(log.stats().tailCache?.missCount).toBe(0)
    await log.close()
  })

  it('many values of all sizes stay what they were while more are read', async () => {
    await withLog(freshPath(), { backend, durability: 'flush' }, async (log) => {
      const sizes = range(0, 400).map((i) => (i * 37) % 3000)
      for (const [i, size] of sizes.entries()) log.enqueue(new Uint8Array(size).fill(i))
      await log.flush()
      const values = sizes.map((_, i) => log.getSync(i)?.value)
      values.forEach((value, i) => expect(value).toEqual(new Uint8Array(sizes[i]).fill(i)))
      expect(counts(log)).toEqual([400, 0])
    })
  })

  it('readers and followers beside the writer see every record once, in order', async () => {
    await withLog(freshPath(), { backend, durability: 'flush', cache: { records: 50, maxBytes: 8000 } }, async (log) => {
      const total = 1500
      const followers = [1, 2, 3].map(async (n) => {
        const seen: number[] = []
        for await (const record of log.read({ follow: true, maxBytes: n * 700, limit: total })) {
          expect(text(record.value).split(' ')[0]).toBe(String(record.offset))
          seen.push(record.offset)
          if (record.offset % (50 * n) === 0) await new Promise((resolve) => setImmediate(resolve))
        }
        return seen
      })
      const writer = (async () => {
        for (let i = 0; i < total; i++) {
          const appended = log.append(bytes(`${i} ${'y'.repeat(i % 90)}`))
          if (i % 7 === 0) {
            await appended
            const offset = Math.max(0, i - (i % 130))
            const [one, other] = await Promise.all([log.get(offset), Promise.resolve(log.getSync(offset))])
            expect([one?.offset, other?.offset]).toEqual([offset, offset])
          }
        }
      })()
      await writer
      for (const seen of await Promise.all(followers)) expect(seen).toEqual(range(0, total))
      expect(figuresOf(log).hitCount).toBeGreaterThan(0)
    })
  })

  it('E36: catch-up within the last 500 records is answered by the cache, as is a follower that keeps up', async () => {
    await withLog(freshPath(), { backend, durability: 'flush' }, async (log) => {
      await fill(log, 600, 60)
      testing.resetCounts()
      for (let reader = 0; reader < 40; reader++) expect(await offsets(log, { from: 600 - ((reader * 37) % 500) - 1 })).toHaveLength(((reader * 37) % 500) + 1)
      expect(figuresOf(log).hitRate).toBe(1)
      expect(testing.counts().read ?? 0).toBe(0)
      // A long read begins on disk and ends in the cache.
      await fill(log, 1400, 60)
      const { hitCount } = figuresOf(log)
      expect(await offsets(log, { maxBytes: 4000 })).toEqual(range(0, 2000))
      expect(figuresOf(log).hitCount).toBeGreaterThan(hitCount)
    })
  })

  it('without a cache nothing is kept, and the answers are the same', async () => {
    await withLog(freshPath(), { backend, cache: false }, async (log) => {
      await fill(log, 20)
      expect(log.stats().tailCache).toBeUndefined()
      expect(await offsets(log)).toEqual(range(0, 20))
      expect(text(log.getSync(7)?.value as Uint8Array).trim()).toMatch(/^7 /)
    })
    for (const cache of [
      true,
      null,
      5,
      [],
      { records: 0 },
      { size: 5 },
      { maxBytes: -1 },
      { adaptive: { targetHitRate: 2 } },
      { adaptive: 'yes' },
      { records: 10, adaptive: { maxRecords: 5 } },
    ]) {
      expect(await codeOf(() => Log.open(freshPath(), { backend, cache: cache as never }))).toMatch(/^ERR_SEALOG_(OPTION|ARGUMENT)$/)
    }
  })

  it('E22, E23: hits and misses are published with depth and count, and reads with their source', async () => {
    const hits = listen('sealog:cache:hit')
    const misses = listen('sealog:cache:miss')
    const reads = listen('sealog:read')
    const errors = listen('sealog:error')
    const directory = freshPath()
    await withLog(directory, { backend, durability: 'flush', cache: { records: 4 } }, async (log) => {
      await fill(log, 10)
      log.getSync(9)
      await log.get(7)
      await readAll(log, { from: 6 })
      log.getSync(2)
      expect(hits).toEqual([
        { log: directory, depth: 1, count: 1 },
        { log: directory, depth: 3, count: 1 },
        { log: directory, depth: 4, count: 4 },
      ])
      expect(misses).toEqual([{ log: directory }])
      await readAll(log, { from: 1, to: 3 })
      expect(reads.map(({ operation, records, source, log }) => [operation, records, source, log === directory])).toEqual([
        ['getSync', 1, 'cache', true],
        ['get', 1, 'cache', true],
        ['block', 4, 'cache', true],
        ['getSync', 1, 'segment', true],
        ['block', 2, 'segment', true],
      ])
      expect(reads.every(({ duration }) => typeof duration === 'number' && duration >= 0)).toBe(true)
      await log.truncateBefore(5)
      const before = errors.length
      expect(await codeOf(() => log.getSync(1))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
      expect(await codeOf(() => log.get(1))).toBe('ERR_SEALOG_OFFSET_TRUNCATED')
      expect(await codeOf(() => log.getSync(-1))).toBe('ERR_SEALOG_ARGUMENT')
      expect(errors.slice(before)).toEqual(Array(2).fill({ log: directory, operation: 'read', code: 'ERR_SEALOG_OFFSET_TRUNCATED' }))
    })
  })

  it('an adaptive cache grows while reads miss, and goes back when it is empty', async () => {
    await withLog(freshPath(), { backend, durability: 'flush', cache: { records: 10, maxAgeMs: 1500, adaptive: { maxRecords: 40 } } }, async (log) => {
      await fill(log, 100)
      expect(figuresOf(log).maxRecords).toBe(10)
      await until(() => {
        for (const offset of range(60, 90)) log.getSync(offset)
        return figuresOf(log).maxRecords > 10
      }, 'it grows')
      await fill(log, 100)
      expect(figuresOf(log).size).toBeGreaterThan(10)
      await until(() => figuresOf(log).maxRecords === 10, 'it has shrunk')
      expect(figuresOf(log).size).toBe(0)
    })
  })
})

describe('size of an adaptive cache', () => {
  const adaptive = { targetHitRate: 0.9, maxRecords: 350 }
  const settings = { records: 100, maxAgeMs: MINUTE, maxBytes: 10_000, adaptive }

  it('doubles while it is full and too few reads hit, up to its bounds', () => {
    const size = new CacheSize(settings, adaptive)
    size.adapt(0, 50, 49, 100, 1000, false)
    expect(size.records).toBe(100)
    size.adapt(1, 50, 50, 100, 1000, false)
    expect(size.records).toBe(200)
    // Not full yet; good enough; too few bytes left.
    size.adapt(2, 50, 250, 150, 1500, false)
    size.adapt(3, 1000, 250, 200, 2000, false)
    size.adapt(4, 1000, 500, 200, 6000, false)
    expect(size.records).toBe(200)
    size.adapt(5, 1000, 700, 200, 2000, false)
    expect(size.records).toBe(350)
    size.adapt(6, 1000, 900, 350, 3500, false)
    expect(size.records).toBe(350)
  })

  it('halves for every while without reads, never below what was configured', () => {
    const size = new CacheSize(settings, adaptive)
    size.adapt(1, 0, 100, 100, 1000, false)
    size.adapt(2, 0, 200, 200, 2000, false)
    expect(size.records).toBe(350)
    size.adapt(9000, 0, 200, 350, 3500, false)
    expect(size.records).toBe(350)
    size.adapt(10_002, 0, 200, 350, 3500, false)
    expect(size.records).toBe(175)
    size.adapt(15_000, 0, 200, 175, 1750, false)
    expect(size.records).toBe(175)
    size.adapt(20_002, 0, 200, 175, 1750, false)
    expect(size.records).toBe(100)
  })
})
