import type { Case, Contender } from '../harness/case.js'
import { rawLimit, segmentFiles } from '../harness/raw-limits.js'
import { percentile } from '../harness/statistics.js'
import { mix, randomNumbers } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { load, type StoreKind } from '../stores/store.js'
import { FEED, type Source, UNIFORM } from './work-sources.js'

const WARM_UP = 20_000
const LATENCY_READS = 20_000

function readCount(quick: boolean): number {
  return quick ? 50_000 : 200_000
}

function contender(source: Source, kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      await load(store, source.records(), source.count(run.quick))
      await store.close()
    },
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      const numbers = randomNumbers(WARM_UP + readCount(run.quick), source.count(run.quick))
      let sum = 0
      for (let i = 0; i < WARM_UP; i++) sum = mix(sum, store.get(numbers[i]))

      const start = performance.now()
      for (let i = WARM_UP; i < numbers.length; i++) sum = mix(sum, store.get(numbers[i]))
      const nanoseconds = ((performance.now() - start) * 1e6) / (numbers.length - WARM_UP)

      // Apart from the mean, because a clock call per read would count for a good part of it.
      const latencies = new Float64Array(LATENCY_READS)
      for (let i = 0; i < LATENCY_READS; i++) {
        const before = performance.now()
        sum = mix(sum, store.get(numbers[i]))
        latencies[i] = (performance.now() - before) * 1e6
      }
      await store.close()
      return { values: { ns: nanoseconds, p99Ns: percentile(latencies, 0.99) }, work: { reads: numbers.length + LATENCY_READS, sum } }
    },
  }
}

/** The same by `await log.get`: at once what is in the page cache, and a promise for each. */
function awaited(source: Source): Contender {
  return {
    name: 'sealog, await get',
    kind: 'baseline',
    measure: async (run) => {
      const { Log } = await import('sealog')
      const log = await Log.open(run.directoryOf(SEALOG.name), { durability: 'flush', backend: 'native' })
      const numbers = randomNumbers(WARM_UP + readCount(run.quick), source.count(run.quick))
      let sum = 0
      let start = 0
      for (let i = 0; i < numbers.length; i++) {
        if (i === WARM_UP) start = performance.now()
        sum = mix(sum, (await log.get(numbers[i]))!.value)
      }
      const nanoseconds = ((performance.now() - start) * 1e6) / (numbers.length - WARM_UP)
      await log.close()
      return { values: { ns: nanoseconds }, work: { awaited: sum } }
    },
  }
}

/** Nothing but the system call, on sealog's own files. */
function barePread(name: string, size: number): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run) => {
      const file = segmentFiles(run.directoryOf(SEALOG.name))
      const count = readCount(run.quick)
      rawLimit('scan', { file, block: 1 << 20 })
      const raw = rawLimit('pread', { file, size, count })
      if (raw.bytes !== size * count) throw new Error(`read ${raw.bytes} bytes instead of ${size * count}`)
      return { values: { ns: (raw.seconds * 1e9) / count, p99Ns: raw.p99Seconds * 1e9 }, work: {} }
    },
  }
}

function randomReads(name: string, source: Source, frameBytes: number): Case {
  return {
    name,
    title: `Synchronous read at random offsets from the page cache: ${source.name}`,
    quickRounds: 2,
    metrics: [
      { key: 'ns', label: 'ns/read', better: 'lower' },
      { key: 'p99Ns', label: 'ns p99', better: 'lower' },
    ],
    contenders: [
      contender(source, SEALOG),
      awaited(source),
      barePread('pread 8 KiB', 8192),
      barePread(`pread ${frameBytes} B`, frameBytes),
      ...[SEALOG_JS, LMDB, SQLITE, LEVEL].map((kind) => contender(source, kind)),
    ],
    targets: [
      {
        text: 'getSync ≤ lmdb getBinaryFast',
        needs: [SEALOG.name, LMDB.name],
        judge: (results) => {
          const ratio = results.ratio('ns', SEALOG.name, LMDB.name)
          return { measured: `${ratio.toFixed(2)} × its time`, reached: ratio <= 1 }
        },
      },
    ],
    notes: () => [
      'sealog and classic-level verify checksums on every read, lmdb and SQLite have none. lmdb reads through a memory map (getBinaryFast reuses one buffer), sealog by pread.',
    ],
  }
}

export const randomRead = randomReads('random-read', UNIFORM, 280)
export const randomReadFeed: Case = { ...randomReads('random-read-feed', FEED, 320), roundsFactor: 0.6, quickRounds: 1 }
