import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { environmentFor } from '../../lib/log/environment.js'
import { OrderedTable, type RangeOptions } from '../../lib/store/index.js'
import { encodeKey, type Key } from '../../lib/store/keys.js'
import { backends } from '../support/backends.js'

const refused = expect.objectContaining({ code: 'ERR_SEALOG_ARGUMENT' })
const bytes = (...values: number[]) => new Uint8Array(values)

describe.each(backends)('OrderedTable (%s)', (backend) => {
  const makeTable = <V>(entries: Iterable<[Key, V]> = []) => {
    const table = new OrderedTable<V>({ backend })
    for (const [key, value] of entries) table.put(key, value)
    return table
  }

  test('MemTable: PutAndGet', () => {
    const value = { any: 'value' }
    const table = makeTable<unknown>([
      ['text', value],
      [7, 'seven'],
      [2n ** 60n, 'large'],
      [bytes(1, 2), undefined],
    ])
    expect(table.get('text')).toBe(value)
    expect(table.get(7n)).toBe('seven')
    expect(table.get(2n ** 60n)).toBe('large')
    expect([table.get(bytes(1, 2)), table.has(bytes(1, 2))]).toEqual([undefined, true])
    expect([table.get('7'), table.has('7'), table.get(bytes(7)), table.has(2n ** 60n + 1n)]).toEqual([undefined, false, undefined, false])
  })

  test('a byte key is its bytes, not the array', () => {
    const key = bytes(1, 2, 3)
    const table = makeTable([[key, 'first']])
    key[0] = 9
    expect([table.get(key), table.get(bytes(1, 2, 3)), table.get(Buffer.from([1, 2, 3]))]).toEqual([undefined, 'first', 'first'])
    const [found] = table.keys()
    ;(found as Uint8Array)[0] = 9
    expect([...table.keys()]).toEqual([bytes(1, 2, 3)])
  })

  test('MemTable: Update', () => {
    const table = makeTable([
      ['a', 1],
      ['b', 2],
      ['a', 3],
    ])
    expect([...table]).toEqual([
      ['a', 3],
      ['b', 2],
    ])
    table.put(5, 1)
    table.put(5n, 2)
    expect([table.size, table.get(5)]).toEqual([3, 2])
  })

  test('MemTable: Delete', () => {
    const table = makeTable([
      ['a', 1],
      ['b', 2],
      [bytes(1), 3],
    ])
    expect([table.delete('a'), table.delete('a'), table.delete(bytes(1)), table.delete('nobody')]).toEqual([true, false, true, false])
    expect([...table]).toEqual([['b', 2]])
    table.put('c', 4)
    table.put('a', 5)
    expect([...table.entries()]).toEqual([
      ['a', 5],
      ['b', 2],
      ['c', 4],
    ])
  })

  test('MemTable: Size', () => {
    const table = makeTable<number>()
    expect(table.size).toBe(0)
    for (let i = 0; i < 3000; i++) table.put(i % 2000, i)
    expect(table.size).toBe(2000)
    for (let i = 0; i < 1500; i++) table.delete(i)
    expect([table.size, [...table.keys()].length]).toEqual([500, 500])
    expect(table.keyBytes).toBeGreaterThan(500)
  })

  test('MemTable: Iterator', () => {
    const table = makeTable<number>()
    const keys: Key[] = [-(2n ** 60n), -70000, -3, 0, 1, 255, 256, 2n ** 53n, 'a', 'aa', 'b', '\uffff', '\u{10000}', bytes(0), bytes(0, 0), bytes(255)]
    for (const i of [7, 3, 12, 0, 15, 9, 1, 14, 4, 11, 6, 13, 2, 10, 8, 5]) table.put(keys[i], i)
    expect([...table.keys()]).toEqual(keys)
    expect([...table].map(([, value]) => value)).toEqual(keys.map((_, i) => i))
    expect([...table.keys({ reverse: true })]).toEqual(keys.toReversed())
    expect([...table.keys({ gte: 'a', lt: '\uffff' })]).toEqual(['a', 'aa', 'b'])
    expect([...table.keys({ gt: 255n, lte: 'a' })]).toEqual([256, 2n ** 53n, 'a'])
    expect([...table.keys({ prefix: 'a' })]).toEqual(['a', 'aa'])
    expect([...table.keys({ prefix: 'a', gt: 'a' })]).toEqual(['aa'])
    expect([...table.keys({ prefix: bytes(255) })]).toEqual([bytes(255)])
    expect([...table.keys({ prefix: '', limit: 2, reverse: true })]).toEqual(['\u{10000}', '\uffff'])
    expect([...table.entries({ lt: 0, limit: 2 })]).toEqual([
      [-(2n ** 60n), 0],
      [-70000, 1],
    ])
    expect([...table.keys({ gt: 'b', lt: 'a' })]).toEqual([])
    expect([...table.keys({ limit: 0 })]).toEqual([])
  })

  test('MemTable: Clear', () => {
    const table = makeTable([
      ['a', 1],
      [bytes(1), 2],
    ])
    const early = table.keys()
    expect(early.next().value).toBe('a')
    table.clear()
    expect([table.size, [...table], table.get('a'), [...early]]).toEqual([0, [], undefined, []])
    table.put('b', 3)
    expect([...table]).toEqual([['b', 3]])
  })

  test('an iterator meets what changes ahead of it, as that of a Map does', () => {
    const table = makeTable(Array.from({ length: 1000 }, (_, i): [Key, number] => [i, i]))
    const seen: [Key, number][] = []
    for (const [key, value] of table) {
      seen.push([key, value])
      if (typeof key !== 'number') continue
      table.delete(key)
      table.delete(key + 1)
      if (key < 990) table.put(key + 2, -1)
      if (key === 500) table.put(`behind ${key}`, 5)
    }
    expect(seen.map(([key]) => key)).toEqual([...Array.from({ length: 500 }, (_, i) => 2 * i), 'behind 500'])
    expect(seen.slice(1, 400).every(([, value]) => value === -1)).toBe(true)
    expect([...table.keys()]).toEqual(['behind 500'])
  })

  test('a limit holds although the table changes meanwhile', () => {
    const table = makeTable(Array.from({ length: 100 }, (_, i): [Key, number] => [i, i]))
    const seen: Key[] = []
    for (const key of table.keys({ limit: 20, reverse: true })) {
      seen.push(key)
      table.put(1000 + seen.length, 0)
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => 99 - i))
  })

  test('iterators do not disturb each other', () => {
    const table = makeTable(Array.from({ length: 200 }, (_, i): [Key, number] => [i, i]))
    const other = makeTable(Array.from({ length: 200 }, (_, i): [Key, number] => [`k${i}`, i]))
    const both = [table.keys(), other.keys(), table.keys({ reverse: true })]
    const rows = Array.from({ length: 200 }, () => both.map((iterator) => iterator.next().value))
    const sorted = Array.from({ length: 200 }, (_, i) => `k${i}`).sort()
    expect(rows).toEqual(Array.from({ length: 200 }, (_, i) => [i, sorted[i], 199 - i]))
  })

  test('what is no key or no range is refused, and changes nothing', () => {
    const table = makeTable([['a', 1]])
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    for (const bad of [detached, '', 1.5, Number.NaN, '\ud800', new Uint8Array(), 2n ** 64n, undefined, {}] as Key[]) {
      for (const act of [() => table.put(bad, 2), () => table.get(bad), () => table.has(bad), () => table.delete(bad)]) expect(act).toThrow(refused)
    }
    const ranges: unknown[] = [
      null,
      { gte: 1, gt: 1 },
      { lte: 1, lt: 1 },
      { limit: -1 },
      { limit: 1.5 },
      { reverse: 1 },
      { prefix: 5 },
      { gt: 1.5 },
      { from: 1 },
    ]
    for (const range of ranges) {
      expect(() => table.keys(range as RangeOptions)).toThrow(refused)
      expect(() => table.entries(range as RangeOptions)).toThrow(refused)
    }
    expect([...table]).toEqual([['a', 1]])
  })

  test('any history of puts, deletes and ranges is that of a sorted Map', () => {
    const key: fc.Arbitrary<Key> = fc.oneof(
      fc.integer({ min: -40, max: 40 }),
      fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 1, maxLength: 3 }),
      fc.uint8Array({ minLength: 1, maxLength: 2, max: 3 }),
    )
    const range = fc.record({ lower: key, upper: key, reverse: fc.boolean(), exclusive: fc.boolean(), limit: fc.nat({ max: 50 }) })
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ put: key }) },
      { weight: 3, arbitrary: fc.record({ delete: key }) },
      { weight: 1, arbitrary: fc.record({ range }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new OrderedTable<number>({ backend })
        const model = new Map<string, [Key, number]>()
        const hex = (one: Key) => Buffer.from(encodeKey(one)).toString('hex')
        steps.forEach((one, i) => {
          if ('put' in one) {
            table.put(one.put, i)
            model.set(hex(one.put), [one.put, i])
          } else if ('delete' in one) {
            expect(table.delete(one.delete)).toBe(model.delete(hex(one.delete)))
          } else {
            const { lower, upper, reverse, exclusive, limit } = one.range
            const bounds = exclusive ? { gt: lower, lt: upper } : { gte: lower, lte: upper }
            const inside = [...model].filter(([at]) => (exclusive ? at > hex(lower) && at < hex(upper) : at >= hex(lower) && at <= hex(upper)))
            inside.sort(([a], [b]) => (a < b ? -1 : 1))
            if (reverse) inside.reverse()
            expect([...table.entries({ ...bounds, reverse, limit })]).toEqual(inside.slice(0, limit).map(([, entry]) => entry))
          }
          expect(table.size).toBe(model.size)
        })
        for (const [key, value] of model.values()) expect(table.get(key)).toBe(value)
      }),
      { numRuns: 100 },
    )
  })

  test('tables that nobody holds give their memory back', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const destroyed = vi.spyOn(environmentFor(backend).kernels, 'destroyIndex')
    for (let i = 0; i < 10; i++) makeTable([['a', i]])
    await vi.waitUntil(
      () => {
        collect()
        return destroyed.mock.calls.length >= 9
      },
      { timeout: 20_000 },
    )
    destroyed.mockRestore()
  })
})
