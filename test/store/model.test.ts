/** Random operations with reopening, snapshots, cache eviction and crashes in between: a store is what a plain replay of its acknowledged changes is. */
import { describe, expect, it, vi } from 'vitest'
import type { Durability } from '../../lib/index.js'
import type { Store } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { copyDirectory, freshPath } from '../support/directories.js'
import { Random } from '../support/random.js'
import { Changes, entriesOf, openJson } from './stores.js'

const ROUNDS = process.env.SEALOG_SOAK === undefined ? 60 : 2000
/** Of the long run, which only SEALOG_SOAK has: operations of each mode and backend. */
const SOAK_OPERATIONS = 1_000_000
const KEYS = 60

vi.setConfig({ testTimeout: 600_000 })
process.removeAllListeners('warning')

/** Holds a few values only, so that nearly every read moves or evicts something. */
const TINY_CACHE = { hot: { records: 1 }, warm: { records: 2 }, maxBytes: 4096 }
const OPTIONS = { segmentBytes: 16 * 1024, syncIntervalMs: 50, idleMarkMs: 3_600_000 }

/** Some operations at once; their changes are noted at the offsets they will get. Resolves when all are acknowledged. */
function operate(store: Store<unknown>, changes: Changes, random: Random): Promise<unknown> {
  const calls: Promise<unknown>[] = []
  const key = () => `key ${random.below(KEYS)}`
  const value = () => ({ n: random.below(1000), text: 'x'.repeat(random.below(60)) })
  for (let i = 1 + random.below(12); i > 0; i--) {
    const present = new Map(changes.entries(changes.length))
    const kind = random.below(20)
    if (kind < 9) {
      const [k, v] = [key(), value()]
      changes.put(changes.length, k, v)
      calls.push(store.put(k, v))
    } else if (kind < 14) {
      const k = key()
      const there = present.has(k)
      if (there) changes.delete(changes.length, k)
      calls.push(store.delete(k).then((deleted) => expect(deleted).toBe(there)))
    } else if (kind < 19) {
      const batch = Array.from({ length: random.below(6) }, () => {
        const k = key()
        if (random.chance(0.6)) {
          const v = value()
          present.set(k, v)
          changes.put(changes.length, k, v)
          return { key: k, value: v }
        }
        if (present.delete(k)) changes.delete(changes.length, k)
        return { key: k, delete: true } as const
      })
      calls.push(random.chance(0.5) ? store.putBatch(batch) : store.putBatchDeferred(batch))
    } else if (random.chance(0.3)) {
      if (present.size > 0 || store.stats().pendingWrites > 0) {
        const before = store.stats().log.endOffset
        calls.push(store.clear())
        if (store.stats().log.endOffset > before) changes.clear(before)
      }
    }
  }
  return Promise.all(calls)
}

describe.each(backends)('store model (%s)', (backend) => {
  it.each(['fsync', 'flush', 'none'] as Durability[])('mode %s', async (durability) => {
    const random = new Random(durability.length * 31 + backend.length)
    const directory = freshPath()
    const changes = new Changes()
    const open = (place: string) =>
      openJson(place, backend, {
        ...OPTIONS,
        durability,
        snapshotBytes: random.chance(0.5) ? 2000 : false,
        recordCache: random.chance(0.8) ? TINY_CACHE : false,
      })
    let evicted = 0
    const noteEvictions = () => (evicted += store.stats().recordCache?.evictions.records ?? 0)
    let store = await open(directory)
    let crashes = 0
    for (let round = 0; round < ROUNDS; round++) {
      // Reads that the writes overtake.
      const storm = Promise.all(Array.from({ length: 3 }, () => store.get(`key ${random.below(KEYS)}`)))
      const going = operate(store, changes, random)
      if (random.chance(0.25)) {
        // What a kill at this moment leaves: some prefix of what was accepted, and all that was acknowledged.
        const acknowledged = durability === 'none' ? 0 : store.committedOffset
        const image = copyDirectory(directory)
        const after = await open(image)
        expect(after.committedOffset).toBeGreaterThanOrEqual(acknowledged)
        expect(after.committedOffset).toBeLessThanOrEqual(changes.length)
        expect(await entriesOf(after)).toEqual(changes.entries(after.committedOffset))
        await after.close()
        crashes++
      }
      await Promise.all([going, storm])
      await store.flush()
      expect(store.committedOffset).toBe(changes.length)
      const expected = changes.entries(changes.length)
      expect(store.size).toBe(expected.length)
      expect(await entriesOf(store)).toEqual(expected)
      for (let i = 0; i < 5; i++) {
        const key = `key ${random.below(KEYS)}`
        const value = new Map(expected).get(key)
        expect(random.chance(0.5) ? await store.get(key) : store.getSync(key)).toEqual(value)
        expect(store.has(key)).toBe(value !== undefined)
      }
      const keys = Array.from({ length: random.below(8) }, () => `key ${random.below(KEYS)}`)
      expect(await store.getMany(keys)).toEqual(keys.map((key) => new Map(expected).get(key)))
      if (changes.length > 0) {
        const at = random.below(changes.length)
        const key = `key ${random.below(KEYS)}`
        expect(await store.get(key, { at })).toEqual(new Map(changes.entries(at + 1)).get(key))
      }
      if (random.chance(0.2)) await store.snapshot()
      if (random.chance(0.3)) {
        noteEvictions()
        if (random.chance(0.5)) store.closeSync()
        else await store.close()
        store = await open(directory)
      }
    }
    noteEvictions()
    await store.close()
    expect(crashes).toBeGreaterThan(5)
    expect(evicted).toBeGreaterThan(20)
  })

  // Part of the long programme alone.
  it.each((process.env.SEALOG_SOAK === undefined ? [] : ['fsync', 'flush', 'none']) as Durability[])(
    'a million operations against a Map, mode %s',
    async (durability) => {
      const random = new Random(durability.length * 37 + backend.length)
      const directory = freshPath()
      const options = { durability, segmentBytes: 4 * 1024 * 1024, snapshotBytes: 1024 * 1024, recordCache: { hot: { records: 50 }, warm: { records: 200 } } }
      const open = () => openJson(directory, backend, options)
      let store = await open()
      const expected = new Map<string, number>()
      for (let done = 0; done < SOAK_OPERATIONS; ) {
        const calls: Promise<unknown>[] = []
        for (let i = 0; i < 1000; i++, done++) {
          const key = `key ${random.below(5000)}`
          if (random.chance(0.3)) {
            calls.push(store.delete(key).then((deleted) => expect(typeof deleted).toBe('boolean')))
            expected.delete(key)
          } else if (random.chance(0.5)) {
            calls.push(store.put(key, done))
            expected.set(key, done)
          } else {
            calls.push(store.get(key))
          }
        }
        await Promise.all(calls)
        const keys = Array.from({ length: 100 }, () => `key ${random.below(5000)}`)
        expect(await store.getMany(keys)).toEqual(keys.map((key) => expected.get(key)))
        for (const key of keys) expect(store.getSync(key)).toBe(expected.get(key))
        if (random.chance(0.02)) {
          expect(await entriesOf(store)).toEqual([...expected].sort(([a], [b]) => (a < b ? -1 : 1)))
          await store.close()
          store = await open()
        }
      }
      await store.close()
    },
  )
})
