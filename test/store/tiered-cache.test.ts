/** The two tiers of the record cache against a plain model, and each rule by itself. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TieredCache } from '../../lib/cache/tiered-cache.js'
import { copyJson, jsonMemory } from '../../lib/store/json-values.js'
import { listen } from '../support/channels.js'

const MINUTE = 60_000
const settings = (hot: number, warm: number, maxBytes = 2 ** 30) => ({
  hot: { records: hot, maxAgeMs: 5 * MINUTE },
  warm: { records: warm, maxAgeMs: 60 * MINUTE },
  maxBytes,
})

function make(hot: number, warm: number, maxBytes?: number) {
  let now = 1000
  const cache = new TieredCache<string>('/a/store', settings(hot, warm, maxBytes), () => now)
  return { cache, pass: (ms: number) => cache.sweep((now += ms)) }
}

function fill(cache: TieredCache<string>, count: number, bytes = 10): void {
  for (let i = 0; i < count; i++) cache.add(i, `value ${i}`, bytes)
}

const sizes = (cache: TieredCache<string>) => [cache.stats().hot.size, cache.stats().warm.size]

describe('tiers', () => {
  it('T23: one more than hot holds: the victim is a hit in warm, and sizes add up', () => {
    const { cache } = make(5000, 50_000)
    fill(cache, 5001)
    expect(sizes(cache)).toEqual([5000, 1])
    expect(cache.get(0)).toBe('value 0')
    expect(cache.stats()).toMatchObject({ hot: { size: 5000, hitCount: 0 }, warm: { size: 1, hitCount: 1 }, hitCount: 1, missCount: 0, demotions: 2 })
    // It moved up, and record 1, which nobody used, down.
    expect(cache.get(0)).toBe('value 0')
    expect(cache.stats().hot.hitCount).toBe(1)
    expect(cache.get(1)).toBe('value 1')
    expect(cache.stats().warm.hitCount).toBe(2)
    expect(cache.size).toBe(5001)
  })

  it('hot + warm records are held, no more; the least recently used one leaves', () => {
    const { cache } = make(2, 3)
    fill(cache, 5)
    expect(sizes(cache)).toEqual([2, 3])
    expect(cache.get(0)).toBe('value 0')
    cache.add(5, 'value 5', 10)
    expect(sizes(cache)).toEqual([2, 3])
    expect([0, 1, 2, 3, 4, 5].filter((offset) => cache.get(offset) === undefined)).toEqual([1])
    expect(cache.stats().evictions).toEqual({ records: 1, age: 0, bytes: 0, replaced: 0 })
    expect(cache.stats()).toMatchObject({ missCount: 1, hitRate: 6 / 7 })
  })

  it('ages: hot moves down after 5 minutes, warm leaves after an hour; a move begins the age anew, a hit does not', () => {
    const { cache, pass } = make(10, 10)
    cache.add(1, 'one', 10)
    pass(4 * MINUTE)
    expect([cache.get(1), ...sizes(cache)]).toEqual(['one', 1, 0])
    pass(MINUTE)
    expect(sizes(cache)).toEqual([0, 1])
    pass(59 * MINUTE)
    // Promoted in the last moment, it has all of its time again.
    expect([cache.get(1), ...sizes(cache)]).toEqual(['one', 1, 0])
    pass(5 * MINUTE)
    expect(pass(59 * MINUTE)).toBe(true)
    expect(pass(MINUTE)).toBe(false)
    expect([cache.get(1), cache.bytes, cache.stats().evictions.age]).toEqual([undefined, 0, 1])
  })

  it('what is too old is not given out, though no sweep has met it yet', () => {
    const { cache, pass } = make(10, 10)
    pass(1)
    cache.add(1, 'one', 10)
    cache.add(2, 'two', 10)
    pass(5 * MINUTE)
    expect(cache.get(1)).toBe('one')
    expect(cache.stats().warm.hitCount).toBe(1)
    pass(60 * MINUTE)
    expect(cache.get(2)).toBeUndefined()
  })

  it('T24: bytes bound both tiers together, warm gives way first; one value has an eighth at most', () => {
    const { cache } = make(3, 100, 10_000)
    fill(cache, 100, 500)
    const { hot, bytes, evictions } = cache.stats()
    expect(bytes).toBeLessThanOrEqual(10_000)
    expect(bytes).toBeGreaterThan(9000)
    expect(hot.size).toBe(3)
    expect(evictions.bytes).toBe(100 - cache.size)
    cache.add(1000, 'large', 1250)
    expect(cache.get(1000)).toBeUndefined()
    cache.add(1001, 'endless', Number.POSITIVE_INFINITY)
    expect(cache.get(1001)).toBeUndefined()
  })

  it('messages tell of hits, misses and what leaves', () => {
    const [hits, misses, evictions] = ['hit', 'miss', 'evict'].map((name) => listen(`sealog:recordcache:${name}`))
    const { cache } = make(1, 1)
    fill(cache, 3)
    cache.get(2)
    cache.get(1)
    cache.get(0)
    cache.replaced(1)
    cache.replaced(77)
    cache.clear()
    const log = '/a/store'
    expect(hits).toEqual([
      { log, tier: 'hot' },
      { log, tier: 'warm' },
    ])
    expect(misses).toEqual([{ log }])
    expect(evictions).toEqual(['records', 'replaced', 'replaced'].map((reason) => ({ log, count: 1, reason })))
    expect(cache.stats()).toMatchObject({ bytes: 0, hot: { size: 0 }, warm: { size: 0 } })
  })

  it('any history is that of two plain lists', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ get: fc.nat(30) }) },
      { weight: 4, arbitrary: fc.record({ add: fc.nat(30), bytes: fc.integer({ min: 0, max: 400 }) }) },
      { weight: 1, arbitrary: fc.record({ replaced: fc.nat(30) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const { cache } = make(4, 6, 6000)
        /** Offset and bytes, the least recently used first. */
        let [hot, warm]: [number, number][][] = [[], []]
        const enterHot = (entry: [number, number]) => {
          hot.push(entry)
          if (hot.length > 4) warm.push(hot.shift() as [number, number])
          if (warm.length > 6) warm.shift()
        }
        for (const step of steps) {
          if ('get' in step) {
            const known = [...hot, ...warm].find(([offset]) => offset === step.get)
            expect(cache.get(step.get)).toBe(known && `value ${step.get}`)
            if (known === undefined) continue
            hot = hot.filter((entry) => entry !== known)
            warm = warm.filter((entry) => entry !== known)
            enterHot(known)
          } else if ('add' in step) {
            cache.add(step.add, `value ${step.add}`, step.bytes)
            if ([...hot, ...warm].some(([offset]) => offset === step.add)) continue
            enterHot([step.add, step.bytes + 256])
            while ([...hot, ...warm].reduce((sum, [, bytes]) => sum + bytes, 0) > 6000) (warm.length > 0 ? warm : hot).shift()
          } else {
            cache.replaced(step.replaced)
            hot = hot.filter(([offset]) => offset !== step.replaced)
            warm = warm.filter(([offset]) => offset !== step.replaced)
          }
          expect(sizes(cache)).toEqual([hot.length, warm.length])
          expect(cache.bytes).toBe([...hot, ...warm].reduce((sum, [, bytes]) => sum + bytes, 0))
        }
      }),
    )
  })
})

describe('copies of JSON values', () => {
  it('are equal and share nothing', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const value: unknown = JSON.parse(text)
        const copy = copyJson(value)
        expect(JSON.stringify(copy)).toBe(JSON.stringify(value))
        expect(jsonMemory(value)).toBeGreaterThanOrEqual(text.length / 2)
        const parts = (part: unknown): object[] => (typeof part === 'object' && part !== null ? [part, ...Object.values(part).flatMap(parts)] : [])
        const own = new Set(parts(value))
        expect(parts(copy).filter((part) => own.has(part))).toEqual([])
      }),
    )
  })

  it('a property named __proto__ is one, and no prototype', () => {
    const copy = copyJson(JSON.parse('{"__proto__":{"__proto__":[1,{"a":2}],"b":null}}'))
    expect(JSON.stringify(copy)).toBe('{"__proto__":{"__proto__":[1,{"a":2}],"b":null}}')
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
  })

  it('what is nested too deeply to copy has no size', () => {
    const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth))
    expect(jsonMemory(nested(100))).toBeLessThan(Number.POSITIVE_INFINITY)
    expect(jsonMemory(nested(101))).toBe(Number.POSITIVE_INFINITY)
    expect(jsonMemory(nested(5000))).toBe(Number.POSITIVE_INFINITY)
  })
})
