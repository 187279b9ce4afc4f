/** The record cache of a store: whatever it holds, every answer is the store's, nobody can change it from outside, and its memory is bounded. */
import { Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import type { Log, Record, RecordCacheStats } from '../../lib/index.js'
import { register } from '../../lib/prometheus/index.js'
import { type RecordCacheOptions, Store, type StoreStats } from '../../lib/store/index.js'
import type { KeyIndex } from '../../lib/store/key-index.js'
import { encodeKey } from '../../lib/store/keys.js'
import { StoreValues } from '../../lib/store/store-values.js'
import { ValueCache } from '../../lib/store/value-cache.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, text } from '../support/logs.js'
import { Random } from '../support/random.js'
import { entriesOf, openJson } from './stores.js'

process.removeAllListeners('warning')

function figures(store: { stats(): StoreStats }): RecordCacheStats {
  const { recordCache } = store.stats()
  if (recordCache === undefined) throw new Error('the store has no record cache')
  return recordCache
}

const undo: Array<() => unknown> = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

describe.each(backends)('record cache (%s)', (backend) => {
  async function openStore(recordCache?: RecordCacheOptions | false): Promise<Store<unknown>> {
    const store = await openJson(freshPath(), backend, { durability: 'flush', cache: false, ...(recordCache === undefined ? {} : { recordCache }) })
    undo.push(() => store.close())
    return store
  }

  it('a value that was read once is read from memory: no file, no other thread', async () => {
    const store = await openStore()
    for (let i = 0; i < 10; i++) await store.put(i, { i })
    expect(await store.get(1)).toEqual({ i: 1 })
    expect(store.getSync(2)).toEqual({ i: 2 })
    expect(await store.getMany([3, 99, 4, 3])).toEqual([{ i: 3 }, undefined, { i: 4 }, { i: 3 }])
    const testing = testingOf(backend)
    testing.resetCounts()
    for (const i of [1, 2, 3, 4]) expect([await store.get(i), store.getSync(i)]).toEqual([{ i }, { i }])
    expect(await store.getMany([4, 3, 2, 1])).toEqual([4, 3, 2, 1].map((i) => ({ i })))
    expect(testing.counts().read ?? 0).toBe(0)
    // Of the two reads of 3 in one call the second was a miss as well.
    expect(figures(store)).toMatchObject({ hot: { size: 4, hitCount: 12, maxRecords: 5000 }, warm: { size: 0, maxRecords: 50_000 }, missCount: 5 })
  })

  it('recordCache: false reads the log every time', async () => {
    const store = await openStore(false)
    await store.put('a', 1)
    expect([store.getSync('a'), await store.get('a'), await store.getMany(['a'])]).toEqual([1, 1, [1]])
    expect(store.stats().recordCache).toBeUndefined()
  })

  it('T22: what is handed out, or was handed in, cannot change what is cached', async () => {
    const store = await Store.open(freshPath(), { backend })
    undo.push(() => store.close())
    for (const value of ['short', 'long'.repeat(1000)]) {
      const given = bytes(value)
      await store.put('key', given)
      given.fill(0)
      for (const read of [() => store.getSync('key'), () => store.get('key'), async () => (await store.getMany(['key']))[0]]) {
        for (let i = 0; i < 3; i++) {
          const got = await read()
          expect(text(got as Uint8Array)).toBe(value)
          got?.fill(0)
        }
      }
    }
    const json = await openStore()
    const value: { list: unknown[] } = JSON.parse('{"list":[1,{"deep":"x"}],"__proto__":{"odd":true}}')
    await json.put('key', value)
    for (let i = 0; i < 3; i++) {
      const got = json.getSync('key') as typeof value
      expect(got).toEqual(value)
      got.list[0] = 'changed'
      got.list.push(2)
      Object.assign(got, { more: 1 })
    }
  })

  it('T24: large values do not make it large, and one that is too large is read every time', async () => {
    const store = await Store.open(freshPath(), { backend, recordCache: { maxBytes: 8 * 2 ** 20 } })
    undo.push(() => store.close())
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 40; i++) await store.put(i, new Uint8Array(900_000).fill(i))
    for (let i = 0; i < 40; i++) expect(store.getSync(i)?.[0]).toBe(i)
    const { bytes: cached, evictions } = figures(store)
    expect(cached).toBeLessThanOrEqual(8 * 2 ** 20)
    expect(cached).toBeGreaterThan(7 * 2 ** 20)
    expect(evictions.bytes).toBe(32 - 1)
    globalThis.gc?.()
    if (globalThis.gc !== undefined) expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(24 * 2 ** 20)
    await store.put('huge', new Uint8Array(1_100_000))
    expect([store.getSync('huge')?.length, store.getSync('huge')?.length]).toEqual([1_100_000, 1_100_000])
    expect(figures(store).bytes).toBe(cached)
  })

  it('a value nested deeper than can be copied is read every time', async () => {
    const store = await openStore()
    const deep = JSON.parse('['.repeat(200) + ']'.repeat(200))
    await store.put('deep', deep)
    expect([store.getSync('deep'), store.getSync('deep')]).toEqual([deep, deep])
    expect(figures(store)).toMatchObject({ hot: { size: 0 }, missCount: 2 })
  })

  it('what is written, deleted or cleared leaves', async () => {
    const store = await openStore()
    const all = ['a', 'b', 'c', 'd']
    for (const key of all) await store.put(key, key)
    await store.getMany(all)
    await store.put('a', 'new')
    await store.delete('b')
    expect(figures(store)).toMatchObject({ hot: { size: 2 }, evictions: { replaced: 2 } })
    expect(await store.getMany(all)).toEqual(['new', undefined, 'c', 'd'])
    await store.putBatch([
      { key: 'c', value: 1 },
      { key: 'c', value: 2 },
      { key: 'd', delete: true },
    ])
    expect([store.getSync('c'), store.getSync('d')]).toEqual([2, undefined])
    await store.clear()
    expect(figures(store)).toMatchObject({ bytes: 0, hot: { size: 0 } })
    expect(await store.getMany(all)).toEqual([undefined, undefined, undefined, undefined])
  })

  it('tiny tiers, every mode: what reads give is what was written last', async () => {
    for (const durability of ['fsync', 'flush', 'none'] as const) {
      const store = await openJson<number>(freshPath(), backend, { durability, recordCache: { hot: { records: 2 }, warm: { records: 3 }, maxBytes: 4096 } })
      undo.push(() => store.close())
      const random = new Random(5)
      const written = new Map<number, number>()
      for (let n = 0; n < 400; n++) {
        const key = random.below(8)
        const storm = Array.from({ length: 4 }, () => store.get(random.below(8)))
        if (random.chance(0.5)) {
          await store.put(key, n)
          written.set(key, n)
        }
        expect(store.getSync(key)).toBe(written.get(key))
        const keys = [random.below(8), random.below(8)]
        expect(await store.getMany(keys)).toEqual(keys.map((wanted) => written.get(wanted)))
        await Promise.all(storm)
      }
      const { warm, evictions } = figures(store)
      for (const count of [warm.hitCount, evictions.records, evictions.replaced]) expect(count).toBeGreaterThan(10)
    }
  })

  it('entries neither use nor fill it', async () => {
    const store = await openStore({ hot: { records: 10 }, warm: { records: 10 } })
    await store.putBatch(Array.from({ length: 1000 }, (_, i) => ({ key: i, value: i })))
    store.getSync(7)
    const before = figures(store)
    expect(await entriesOf(store)).toEqual(Array.from({ length: 1000 }, (_, i) => [i, i]))
    expect(figures(store)).toEqual(before)
  })

  it('after reopen() of a log that was cut, nothing of the old epoch is left', async () => {
    const directory = freshPath()
    const store = await openJson<number>(directory, backend, { durability: 'flush', idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 })
    undo.push(() => store.close().catch(() => {}))
    await store.put('a', 1)
    expect(store.getSync('a')).toBe(1)
    const testing = testingOf(backend)
    undo.push(() => testing.clearFaults())
    testing.fault('write', 1, 5, false, 0)
    expect(await codeOf(() => store.put('a', 2))).toBe('ERR_SEALOG_FAILED')
    expect(store.getSync('a')).toBe(1)
    await store.reopen()
    expect(store.getSync('a')).toBe(1)
    await store.put('a', 3)
    expect([store.getSync('a'), await store.get('a')]).toEqual([3, 3])
  })

  it('getMany: many keys, large values among them, in their order', async () => {
    const store = await Store.open(freshPath(), { backend, cache: false, recordCache: false, segmentBytes: 2 ** 20, maxBatchBytes: 500_000 })
    undo.push(() => store.close())
    const random = new Random(9)
    const lengths = Array.from({ length: 700 }, (_, i) => (i % 100 === 50 ? 200_000 : random.below(3000)))
    for (const [key, length] of lengths.entries()) void store.put(key, new Uint8Array(length).fill(key))
    await store.flush()
    const keys = Array.from({ length: 900 }, () => random.below(800))
    const values = await store.getMany(keys)
    for (const [i, key] of keys.entries()) {
      expect(values[i]?.length).toBe(lengths[key])
      if ((lengths[key] ?? 0) > 0) expect(values[i]?.[lengths[key] - 1]).toBe(key & 255)
    }
    expect(await store.getMany([])).toEqual([])
    expect(await codeOf(() => store.getMany(['']))).toBe('ERR_SEALOG_ARGUMENT')
    expect(await codeOf(() => store.getMany(5 as never))).toBe('ERR_SEALOG_ARGUMENT')
  })

  it('reads of one turn share a request, and each has an error of its own', async () => {
    const store = await openStore(false)
    for (let i = 0; i < 20; i++) await store.put(i, i)
    const keys = Array.from({ length: 20 }, (_, i) => i)
    expect(await Promise.all(keys.map((key) => store.get(key)))).toEqual(keys)
    const testing = testingOf(backend)
    undo.push(() => testing.clearFaults())
    testing.fault('read', 1, 5, true, 0)
    const results = await Promise.allSettled(keys.map((key) => store.get(key)))
    testing.clearFaults()
    expect(new Set(results.map((result) => (result.status === 'rejected' ? result.reason.code : result.status)))).toEqual(new Set(['ERR_SEALOG_IO']))
    expect(await Promise.all(keys.map((key) => store.get(key)))).toEqual(keys)
  })

  it('metrics are those of stats()', async () => {
    const store = await openStore({ hot: { records: 2 }, warm: { records: 2 } })
    for (let i = 0; i < 6; i++) await store.put(i, i)
    for (const i of [0, 1, 2, 3, 4, 4, 2, 0]) store.getSync(i)
    const registry = new Registry()
    undo.push(register(registry, store.log))
    const page = await registry.metrics()
    const of = (name: string, label = '') =>
      Number(
        page
          .split('\n')
          .find((line) => line.startsWith(`sealog_record_cache_${name}{`) && line.includes(label))
          ?.split(' ')
          .at(-1),
      )
    const { hot, warm, missCount, demotions, evictions } = figures(store)
    expect(hot.hitCount * warm.hitCount * evictions.records).toBeGreaterThan(0)
    for (const [tier, stats] of Object.entries({ hot, warm })) {
      const label = `tier="${tier}"`
      expect([of('records', label), of('bytes', label), of('hits_total', label)]).toEqual([stats.size, stats.bytes, stats.hitCount])
    }
    expect([of('misses_total'), of('demotions_total'), of('evictions_total', '"records"')]).toEqual([missCount, demotions, evictions.records])
  })

  it('options that are none are refused', async () => {
    const bad: unknown[] = [
      true,
      5,
      { cold: {} },
      { hot: { records: 0 } },
      { hot: { records: 1.5 } },
      { warm: { maxAgeMs: 0 } },
      { warm: { size: 1 } },
      { maxBytes: 0 },
    ]
    for (const recordCache of bad)
      expect(await codeOf(() => Store.open(freshPath(), { backend, recordCache: recordCache as never }))).toMatch(/^ERR_SEALOG_(OPTION|ARGUMENT)$/)
  })
})

describe('T25: a read that is overtaken', () => {
  const key = encodeKey('key')
  const settings = { hot: { records: 10, maxAgeMs: 1000 }, warm: { records: 10, maxAgeMs: 1000 }, maxBytes: 2 ** 20 }
  const recordAt = (offset: number) => ({ key, value: `value ${offset}`, tombstone: false, offset }) as unknown as Record<string>

  /** A log whose reads are answered when the test says so, and an index that has the key at `offset`. */
  function make() {
    const answers = new Map<number, (record: Record<string> | undefined) => void>()
    const state = { offset: 7, epoch: 1 }
    const log = {
      directory: '/a/store',
      closed: false,
      get epoch() {
        return state.epoch
      },
      get: (offset: number) => new Promise((resolve) => answers.set(offset, resolve)),
    } as unknown as Log<string>
    const index = { getEncoded: () => state.offset } as unknown as KeyIndex
    const cache = new ValueCache<string>(log.directory, settings, () => {})
    const values = new StoreValues(log, () => index, cache)
    const reading = values.read(key, state.offset)
    const answer = async (offset: number, record: Record<string> | undefined) => {
      await new Promise((resolve) => setImmediate(resolve))
      answers.get(offset)?.(record)
    }
    return { state, cache, reading, answer }
  }

  it('is cached when nothing has changed', async () => {
    const { cache, reading, answer } = make()
    await answer(7, recordAt(7))
    expect([await reading, cache.get(7)]).toEqual(['value 7', 'value 7'])
  })

  it('by a write: the old value is given to who asked before it, and not cached', async () => {
    const { state, cache, reading, answer } = make()
    state.offset = 8
    await answer(7, recordAt(7))
    expect([await reading, cache.size]).toEqual(['value 7', 0])
  })

  it('by a deletion: the same', async () => {
    const { state, cache, reading, answer } = make()
    state.offset = -1
    await answer(7, recordAt(7))
    expect([await reading, cache.size]).toEqual(['value 7', 0])
  })

  it('by a log that was cut: another record may have this offset now', async () => {
    const { state, cache, reading, answer } = make()
    state.epoch = 2
    await answer(7, recordAt(7))
    expect([await reading, cache.size]).toEqual(['value 7', 0])
  })

  it('by compaction: the version is gone, the present one is read', async () => {
    const { state, cache, reading, answer } = make()
    state.offset = 8
    await answer(7, undefined)
    await answer(8, recordAt(8))
    expect([await reading, cache.get(8), cache.get(7)]).toEqual(['value 8', 'value 8', undefined])
  })

  it('a record that is not there, though the index has it, is damage', async () => {
    const { reading, answer } = make()
    await answer(7, undefined)
    expect(await codeOf(() => reading)).toBe('ERR_SEALOG_CORRUPT')
  })
})
