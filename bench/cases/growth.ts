import type { Case, Contender, Metric, Plot, Results, Run, Target } from '../harness/case.js'
import { makeRecords, mix, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import { LEVEL_KEYS, LMDB_KEYS, SEALOG_STORE, SEALOG_STORE_JS, SQLITE_KEYS } from '../key-stores/index.js'
import { type KeyStoreKind, keyOf } from '../key-stores/key-store.js'
import { LEVEL } from '../stores/level.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import type { StoreKind } from '../stores/store.js'

const POWERS = [4, 5, 6, 7, 8]
/** The last ones before a size is reached are timed. */
const MOST_TIMED = 200_000
const READS = 20_000
/** Coprime to all sizes. */
const STRIDE = 61_803_398_9

/** `most`: how far the default run goes; with --quick one power less. */
const powersOf = (run: Run, most: number) => POWERS.filter((power) => power <= (run.quick ? most - 1 : run.huge ? 8 : most))

interface Growing {
  /** Adds number i. */
  write(i: number): void
  readonly full: boolean
  drain(): Promise<void>
  committed(): Promise<void>
  read(numbers: Uint32Array): number
  close(): Promise<void>
}

async function measureGrowth(run: Run, store: Growing, most = 7): Promise<ReturnType<Contender['measure']>> {
  const values: Record<string, number> = {}
  const work: Record<string, number> = {}
  let written = 0
  const grow = async (size: number) => {
    for (; written < size; written++) {
      store.write(written)
      if (store.full) await store.drain()
    }
    await store.committed()
  }
  await grow(2000)
  store.read(randomNumbers(READS, 2000))
  for (const power of powersOf(run, most)) {
    const size = 10 ** power
    const timed = Math.min(MOST_TIMED, size / 2)
    await grow(size - timed)
    const start = performance.now()
    await grow(size)
    values[`write${power}`] = ((performance.now() - start) * 1e6) / timed
    const numbers = randomNumbers(READS, size)
    store.read(numbers.subarray(0, READS / 4))
    const readStart = performance.now()
    work[`sum${power}`] = store.read(numbers)
    values[`read${power}`] = ((performance.now() - readStart) * 1e6) / READS
  }
  await store.close()
  return { values, work }
}

function ofLog(kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const records = makeRecords(RECORD_BYTES)
      const store = await kind.open(run.directory, 'flush')
      return measureGrowth(run, {
        write: (i) => store.write(records[i % records.length]),
        get full() {
          return store.full
        },
        drain: () => store.drain(),
        committed: () => store.committed(),
        read: (numbers) => numbers.reduce((sum, number) => mix(sum, store.get(number)), 0),
        close: () => store.close(),
      })
    },
  }
}

/** Keys of a sequence that hops about: the next is never beside the last. */
const scattered = (i: number) => keyOf((i * STRIDE) % 99_999_999_977)

function ofStore(kind: KeyStoreKind, most: number): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const records = makeRecords(RECORD_BYTES)
      const store = await kind.open(run.directory, 'flush')
      const growing: Growing = {
        write: (i) => store.put(scattered(i), records[i % records.length]),
        get full() {
          return store.full
        },
        drain: () => store.drain(),
        committed: () => store.committed(),
        read: (numbers) => {
          let sum = 0
          void store.read(Array.from(numbers, scattered), (value) => {
            sum = mix(sum, value)
          })
          return sum
        },
        close: () => store.close(),
      }
      return measureGrowth(run, growing, most)
    },
  }
}

const label = (power: number) => `10^${power}`
const metric = (what: 'write' | 'read', verb: string, power: number): Metric => ({
  key: `${what}${power}`,
  label: `ns/${verb} at ${label(power)}`,
  better: 'lower',
})

function metricsOf(write: string, read: string): Metric[] {
  const falling = [...POWERS].reverse()
  return [...falling.map((power) => metric('write', write, power)), ...falling.map((power) => metric('read', read, power))]
}

function plotsOf(write: string, read: string): Plot[] {
  return [
    { name: write, title: `ns per ${write} by number of records`, points: POWERS.map((power) => ({ x: 10 ** power, key: `write${power}` })) },
    { name: read, title: `ns per ${read} by number of records`, points: POWERS.map((power) => ({ x: 10 ** power, key: `read${power}` })) },
  ]
}

/** From 10^5 on, when code is warm, to the largest size of the run. */
function flat(what: 'write' | 'read', verb: string, subject: string): Target {
  return {
    text: `${verb}: flat, at most 1.5 × its cost at 10^5`,
    needs: [subject],
    judge: (results: Results) => {
      const largest = POWERS.findLast((power) => results.has(subject, `${what}${power}`))!
      const ratio = results.median(subject, `${what}${largest}`) / results.median(subject, `${what}5`)
      return { measured: `${ratio.toFixed(2)} × at ${label(largest)}`, reached: ratio <= 1.5 }
    },
  }
}

export const growthLog: Case = {
  name: 'growth-log',
  roundsFactor: 0.2,
  title: 'Cost of one append (mode flush) and one random read in a log that grows, records of 256 bytes (--quick: to 10^6; --huge: to 10^8)',
  metrics: metricsOf('append', 'read'),
  plots: plotsOf('append', 'read'),
  contenders: [SEALOG, SEALOG_JS, LMDB, LEVEL, SQLITE].map(ofLog),
  targets: [flat('write', 'append', SEALOG.name), flat('read', 'read', SEALOG.name)],
  notes: () => ['Each size is measured on the way: the last 200,000 appends (of the small sizes the second half) before it, then 20,000 random reads.'],
}

export const growthStore: Case = {
  name: 'growth-store',
  roundsFactor: 0.2,
  title:
    'Cost of one put of a new key (mode flush) and one random get in a store that grows, values of 256 bytes, scattered keys (--quick: to 10^6; --huge: to 10^8)',
  metrics: metricsOf('put', 'get'),
  plots: plotsOf('put', 'get'),
  contenders: [ofStore(SEALOG_STORE, 7), ...[SEALOG_STORE_JS, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS].map((kind) => ofStore(kind, 6))],
  targets: [flat('write', 'put', SEALOG_STORE.name), flat('read', 'get', SEALOG_STORE.name)],
  notes: () => [
    'Only the store itself grows to 10^7 in the default run: with keys that hop about, the others write each page many times and would take most of an hour. --huge lets all go on.',
  ],
}
