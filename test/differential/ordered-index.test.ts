/** Both ordered indexes, driven side by side: the same calls give the same numbers and bytes. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as k from '../../lib/kernels/kernels.js'
import { backends, freshEnvironment } from '../support/backends.js'

const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25) * 4
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const INDEXES = 3
const both = backends.length === 2
if (!both) console.warn('SKIPPED: differential tests need both backends')

const key = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 4, max: 2 }) },
  { weight: 2, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 8 }) },
  // Long ones that share much: pages leave out at most 255 bytes, and hold at most 255 more.
  { weight: 2, arbitrary: fc.tuple(fc.nat({ max: 560 }), fc.nat({ max: 255 })).map(([length, last]) => new Uint8Array(length + 1).fill(last, length)) },
  { weight: 1, arbitrary: fc.nat({ max: 3 }).map((less) => new Uint8Array(k.KEY_BYTES - less).fill(7)) },
)
const index = fc.nat({ max: INDEXES - 1 })
const value = fc.maxSafeInteger().map(Math.abs)
/** Many keys in one go, in any order, so that pages split. */
const many = fc.record({ first: fc.nat({ max: 3000 }), step: fc.constantFrom(1, -1, 7, 613), count: fc.nat({ max: 400 }), remove: fc.boolean() })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), index, key, value }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), index, key }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('get' as const), index, key }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('many' as const), index, many }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('scan' as const),
      index,
      from: fc.option(key, { nil: new Uint8Array() }),
      until: fc.option(key, { nil: new Uint8Array() }),
      flags: fc.nat({ max: 7 }),
      limit: fc.nat({ max: 700 }),
      rows: fc.nat({ max: 600 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('copy' as const), index, to: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), index }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** All of a page; comparing texts is much faster than comparing arrays. */
function pageText(bytes: Uint8Array, table: Float64Array, count: number): string {
  return `${table.subarray(0, count * k.INDEX_COLUMNS).join()} ${Buffer.from(bytes.buffer).toString('latin1')}`
}

/** Some indexes on one set of kernels, and what each step gives. */
class Side {
  readonly #kernels: k.Kernels
  readonly #indexes: k.IndexHandle[]

  constructor(kernels: k.Kernels) {
    this.#kernels = kernels
    this.#indexes = Array.from({ length: INDEXES }, () => kernels.createIndex())
  }

  run(step: Step): unknown {
    const { keys } = this.#kernels.shared
    const kernels = this.#kernels
    const index = this.#indexes[step.index]
    switch (step.do) {
      case 'put':
        keys.set(step.key)
        return [kernels.indexPut(index, step.key.length, step.value), kernels.indexSize(index)]
      case 'delete':
        keys.set(step.key)
        return [kernels.indexDelete(index, step.key.length), kernels.indexSize(index)]
      case 'get':
        keys.set(step.key)
        return kernels.indexGet(index, step.key.length)
      case 'many':
        return [kernels.indexSize(index), ...this.#many(index, step.many)]
      case 'scan': {
        keys.set(step.from)
        keys.set(step.until, step.from.length)
        const bytes = new Uint8Array(k.KEY_BYTES)
        const table = new Float64Array(step.rows * k.INDEX_COLUMNS)
        const count = kernels.indexScan(index, step.from.length, step.until.length, step.flags, step.limit, bytes, table)
        return pageText(bytes, table, count)
      }
      case 'copy':
        if (step.to === step.index) return
        kernels.destroyIndex(this.#indexes[step.to])
        this.#indexes[step.to] = kernels.copyIndex(index)
        return kernels.indexSize(this.#indexes[step.to])
      case 'clear':
        return kernels.indexClear(index)
    }
  }

  end(): unknown {
    const ends = this.#indexes.map((index) => {
      const bytes = new Uint8Array(k.KEY_BYTES)
      const table = new Float64Array(10_000)
      const count = this.#kernels.indexScan(index, 0, 0, 0, 5000, bytes, table)
      this.#kernels.indexClear(index)
      return pageText(bytes, table, count)
    })
    for (const index of this.#indexes) {
      expect(this.#kernels.indexBytes(index)).toBe(0)
      this.#kernels.destroyIndex(index)
    }
    return ends
  }

  /** What the keys had before. */
  #many(index: k.IndexHandle, { first, step, count, remove }: { first: number; step: number; count: number; remove: boolean }): number[] {
    const texts = Array.from({ length: count }, (_, i) => `key ${first + i * step}`)
    const bytes = Buffer.from(texts.join(''))
    const table = new Float64Array(count * k.INDEX_COLUMNS)
    let end = 0
    texts.forEach((text, i) => {
      end += text.length
      table[i * k.INDEX_COLUMNS] = end
      table[i * k.INDEX_COLUMNS + 1] = remove ? -1 : i
    })
    this.#kernels.indexPutMany(index, count, bytes, table)
    return Array.from({ length: count }, (_, row) => table[row * k.INDEX_COLUMNS + 1])
  }
}

describe.skipIf(!both)('ordered index, native and js', () => {
  it('give the same results for the same calls', () => {
    const environments = backends.map((backend) => freshEnvironment(backend))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const [native, js] = environments.map(({ kernels }) => new Side(kernels))
        for (const one of steps) expect(native.run(one)).toEqual(js.run(one))
        expect(native.end()).toEqual(js.end())
      }),
      { numRuns: RUNS, seed: SEED },
    )
    for (const { kernels } of environments) kernels.stop()
  })
})

describe.each(backends)('mistakes at the ordered index (%s)', (backend) => {
  const { kernels } = freshEnvironment(backend)
  const index = kernels.createIndex()
  const bytes = new Uint8Array(k.KEY_BYTES)

  it.each<[string, () => unknown]>([
    ['a handle that never was', () => kernels.indexSize(index + 99)],
    ['a handle that is no number of an index', () => kernels.indexGet(-1, 1)],
    ['a key without bytes', () => kernels.indexPut(index, 0, 1)],
    ['a key that is too long', () => kernels.indexGet(index, k.KEY_BYTES + 1)],
    ['NaN as a length', () => kernels.indexDelete(index, Number.NaN)],
    ['a negative value', () => kernels.indexPut(index, 1, -1)],
    ['a fraction as a value', () => kernels.indexPut(index, 1, 0.5)],
    ['NaN as a value', () => kernels.indexPut(index, 1, Number.NaN)],
    ['a value that is not safe', () => kernels.indexPut(index, 1, 2 ** 53)],
    ['a page too small for a key', () => kernels.indexScan(index, 0, 0, 0, 1, new Uint8Array(100), new Float64Array(2))],
    ['more keys than the table tells of', () => kernels.indexPutMany(index, 2, bytes, new Float64Array(2))],
    ['a key that ends before it begins', () => kernels.indexPutMany(index, 1, bytes, new Float64Array(2))],
    ['a key that ends behind the bytes', () => kernels.indexPutMany(index, 1, new Uint8Array(5), new Float64Array([6, 1]))],
  ])('%s is refused', (_, act) => {
    expect(act).toThrow()
    expect(kernels.indexSize(index)).toBe(0)
  })

  it('a handle that was given back is none any more', () => {
    const gone = kernels.createIndex()
    kernels.destroyIndex(gone)
    const next = kernels.createIndex()
    expect(next).not.toBe(gone)
    expect(() => kernels.indexSize(gone)).toThrow()
    kernels.destroyIndex(next)
  })
})
