/** Both tail caches, driven side by side: the same groups, bounds and look-ups give the same numbers and bytes. */
import { closeSync, openSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FLAG_BATCH_CONTINUES, FLAG_KEY, FRAME_HEADER_BYTES, FRAME_RECORD, FRAME_TOMBSTONE, frameBytes } from '../../lib/format/constants.js'
import { createKernels } from '../../lib/kernels/backend.js'
import * as k from '../../lib/kernels/kernels.js'
import { DEFAULT_ENVIRONMENT } from '../../lib/options.js'
import { backends } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'
import { range } from '../support/logs.js'

const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25) * 2
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const LOGS = 2
const HOUR = 3_600_000
const both = backends.length === 2
if (!both) console.warn('SKIPPED: differential tests need both backends')

const body = fc.record({
  bytes: fc.oneof({ weight: 8, arbitrary: fc.nat({ max: 120 }) }, { weight: 1, arbitrary: fc.nat({ max: 3000 }) }),
  key: fc.option(fc.nat({ max: 20 }), { nil: undefined, freq: 2 }),
  tombstone: fc.boolean(),
})
const log = fc.nat({ max: LOGS - 1 })
/** From some way before the oldest record to some way behind the newest one. */
const place = fc.double({ min: -0.2, max: 1.2, noNaN: true })
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      log,
      batches: fc.array(fc.array(body, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('limits' as const), log, records: fc.nat({ max: 40 }), bytes: fc.nat({ max: 8000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), log, place }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('record' as const), log, place, room: fc.nat({ max: 200 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('block' as const),
      log,
      place,
      limit: place,
      maxBytes: fc.nat({ max: 3000 }),
      room: fc.nat({ max: 4000 }),
      rows: fc.nat({ max: 30 }),
    }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** Some logs on one set of kernels, and what each step gives. */
class Side {
  readonly #kernels: k.Kernels
  readonly #files: number[]
  readonly #logs: k.LogHandle[]
  readonly #ends = Array<number>(LOGS).fill(0)

  constructor(kernels: k.Kernels, directory: string) {
    this.#kernels = kernels
    this.#files = range(0, LOGS).map((n) => openSync(path.join(directory, `${kernels.backend}-${n}`), 'w+'))
    this.#logs = this.#files.map((fd) => {
      const log = kernels.createLog(k.MODE_FLUSH, 0)
      const state = new Float64Array(k.STATE_LENGTH)
      state[k.STATE_FD] = fd
      state[k.STATE_POSITION] = state[k.STATE_ALLOCATED] = 128
      state[k.STATE_SEGMENT_BYTES] = 2 ** 26
      state[k.STATE_COMMITTED_FD] = state[k.STATE_RUNNING_TIME] = state[k.STATE_MAX_TIME] = state[k.STATE_LAST_INDEXED] = -1
      state[k.STATE_MIN_TIME] = Number.POSITIVE_INFINITY
      state[k.STATE_INDEX_INTERVAL] = 4096
      state[k.STATE_MAX_RECORD_BYTES] = 2 ** 20
      kernels.attach(log, state)
      kernels.cacheLimits(log, 20, HOUR, 4000)
      return log
    })
  }

  end(): void {
    for (const log of this.#logs) {
      this.#kernels.detachSync(log)
      this.#kernels.destroyLog(log)
    }
    for (const fd of this.#files) closeSync(fd)
    expect(this.#kernels.cacheSweep()).toBe(0)
  }

  run(step: Step): unknown {
    const log = this.#logs[step.log]
    const kernels = this.#kernels
    switch (step.do) {
      case 'append':
        this.#append(step.log, step.batches)
        return undefined
      case 'limits':
        return kernels.cacheLimits(log, step.records, HOUR, step.bytes)
      case 'drop':
        return kernels.cacheDropBelow(log, this.#offset(step.log, step.place))
      case 'record': {
        const into = new ArrayBuffer(200)
        const { out, copyOut } = kernels.shared
        out.fill(0)
        const status = kernels.cacheRecord(log, this.#offset(step.log, step.place), into, step.room)
        const [, , start, length, keyStart, keyLength, type, time, first] = out
        if (status === k.READ_PLACED) return [status, length, type, time, first, Buffer.from(into)]
        if (status === k.READ_OK) return [status, start, length, keyStart, keyLength, type, time, first, copyOut.slice(0, start + length)]
        return status
      }
      case 'block': {
        const bytes = new Uint8Array(step.room)
        const table = new Uint32Array(step.rows * k.SCAN_COLUMNS)
        const numbers = new Float64Array(k.SCAN_LENGTH)
        const status = kernels.cacheBlock(log, this.#offset(step.log, step.place), this.#offset(step.log, step.limit), step.maxBytes, bytes, numbers, table)
        return { status, bytes, table, numbers }
      }
    }
  }

  /** Bounds, bytes and evictions of every log. */
  states(): Float64Array[] {
    return this.#logs.map((log) => {
      const numbers = new Float64Array(k.CACHE_LENGTH)
      this.#kernels.cacheState(log, numbers)
      return numbers
    })
  }

  #offset(log: number, place: number): number {
    const { [k.CACHE_OLDEST]: oldest, [k.CACHE_RECORDS]: records } = this.states()[log]
    return Math.max(0, Math.round(oldest + place * records))
  }

  /** All batches as one group. */
  #append(log: number, batches: ReadonlyArray<ReadonlyArray<{ bytes: number; key: number | undefined; tombstone: boolean }>>): void {
    const { staging, rows } = this.#kernels.shared
    let at = FRAME_HEADER_BYTES
    let row = 0
    for (const batch of batches) {
      batch.forEach(({ bytes, key, tombstone }, i) => {
        const length = (key === undefined ? 0 : 2 + key) + (tombstone ? 0 : bytes)
        const keyed = key !== undefined || tombstone
        const flags = (keyed ? FLAG_KEY : 0) | (i + 1 < batch.length ? FLAG_BATCH_CONTINUES : 0)
        const total = length + (tombstone && key === undefined ? 2 : 0)
        staging.fill(this.#ends[log] & 255, at, at + total)
        if (keyed) staging.set([key ?? 0, 0], at)
        rows.set([this.#logs[log], total, (tombstone ? FRAME_TOMBSTONE : FRAME_RECORD) | (flags << 8), 1000 + this.#ends[log]], row * k.STAGED_WIDTH)
        at += frameBytes(total)
        row++
        this.#ends[log]++
      })
    }
    this.#kernels.submit(row, 0)
    expect(this.#kernels.commitSync(this.#logs[log], k.COMMIT_WRITTEN)).toBe(0)
  }
}

describe.runIf(both)('both tail caches', () => {
  it('hold, give and evict the same', () => {
    const directory = makeDirectory('differential')
    const all = backends.map((backend) => createKernels(backend, { ...DEFAULT_ENVIRONMENT, cacheBytes: 6000, stagingBytes: 256 * 1024 }, () => {}))
    try {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
          const sides = all.map((kernels) => new Side(kernels, directory))
          try {
            for (const each of steps) {
              const [first, second] = sides.map((side) => ({ result: side.run(each), states: side.states() }))
              expect(second).toEqual(first)
            }
          } finally {
            for (const side of sides) side.end()
          }
        }),
        { numRuns: RUNS, seed: SEED },
      )
    } finally {
      for (const kernels of all) kernels.stop()
    }
  })
})
