import type { Case, Contender, Metric } from '../harness/case.js'
import { rawLimit, segmentFiles } from '../harness/raw-limits.js'
import { percentile } from '../harness/statistics.js'
import { bytesFromDisk } from '../harness/usage.js'
import { listFiles, makeRecords, mix, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { LMDB, LMDB_NO_READ_AHEAD } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { load, type StoreKind } from '../stores/store.js'

const KIB = 1024
/** In the page cache all the same, at most: a hundredth. */
const MOST_RESIDENT = 0.01

/** Few beside the bytes that there are: what the kernel reads ahead of one must not be all that the others want. */
const READS = 200
const RECORDS = 500_000

const METRICS: readonly Metric[] = [
  { key: 'meanUs', label: 'µs mean', better: 'lower' },
  { key: 'p50Us', label: 'µs p50', better: 'lower' },
  { key: 'p99Us', label: 'µs p99', better: 'lower' },
  { key: 'kibPerRead', label: 'KiB from the disk/read', better: 'lower' },
]

function contender(kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      await load(store, makeRecords(RECORD_BYTES), RECORDS)
      await store.close()
    },
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      // Opened before: some read much to open, and that is another case.
      dropPages(run.directory)
      const numbers = randomNumbers(READS, RECORDS)
      const latencies = new Float64Array(numbers.length)
      let sum = 0
      const diskBefore = bytesFromDisk()
      for (const [i, number] of numbers.entries()) {
        const before = performance.now()
        sum = mix(sum, store.get(number))
        latencies[i] = (performance.now() - before) * 1000
      }
      const disk = bytesFromDisk() - diskBefore
      await store.close()
      if (disk === 0) throw new Error('nothing was read from the disk: the files are still in the page cache')
      const total = latencies.reduce((all, one) => all + one, 0)
      return {
        values: {
          p50Us: percentile(latencies, 0.5),
          p99Us: percentile(latencies, 0.99),
          meanUs: total / latencies.length,
          kibPerRead: disk / KIB / latencies.length,
        },
        work: { reads: latencies.length, sum },
      }
    },
  }
}

/** The page cache forgets the files of a store; needs no rights. Throws where it does not work. */
function dropPages(directory: string): void {
  const { bytes, residentBytes } = rawLimit('evict', { file: listFiles(directory, () => true) })
  if (residentBytes > bytes * MOST_RESIDENT) throw new Error(`posix_fadvise(DONTNEED) left ${residentBytes} of ${bytes} bytes in the page cache`)
}

function barePread(name: string, size: number): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run) => {
      const file = segmentFiles(run.directoryOf(SEALOG.name))
      const raw = rawLimit('pread', { file, size, count: READS, evict: 1 })
      if (raw.bytes !== size * READS || raw.diskBytes === 0) throw new Error(`read ${raw.bytes} bytes, ${raw.diskBytes} from the disk`)
      return {
        values: {
          p50Us: raw.p50Seconds * 1e6,
          p99Us: raw.p99Seconds * 1e6,
          meanUs: (raw.seconds * 1e6) / READS,
          kibPerRead: raw.diskBytes / KIB / READS,
        },
        work: {},
      }
    },
  }
}

export const randomReadCold: Case = {
  name: 'random-read-cold',
  title: `Synchronous read at random offsets, files dropped from the page cache before: ${RECORDS.toLocaleString('en')} records of ${RECORD_BYTES} bytes`,
  roundsFactor: 0.6,
  quickRounds: 2,
  metrics: METRICS,
  contenders: [
    contender(SEALOG),
    barePread('pread 280 B', 280),
    barePread('pread 8 KiB', 8192),
    ...[SEALOG_JS, LMDB, LMDB_NO_READ_AHEAD, SQLITE, LEVEL].map(contender),
  ],
  targets: [],
  notes: () => [
    "The first reads after opening; what a store reads to find a record (index, inner pages) is in it. KiB from the disk: /proc/self/io, the kernel's read-ahead included. What lies below this machine's disk may cache too.",
  ],
}
