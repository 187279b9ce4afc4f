import { closeSync, openSync } from 'node:fs'
import type { Log } from 'sealog'
import type { Case, Contender, Results } from '../harness/case.js'
import { type BenchKernels, loadKernels } from '../harness/kernels.js'
import { segmentFiles } from '../harness/raw-limits.js'
import { median, percentile } from '../harness/statistics.js'
import { bytesFromDisk } from '../harness/usage.js'
import { makeRecords, mix, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import type { Backend } from '../stores/sealed-log.js'

/** What a tail cache holds by default. */
const CACHED = 1000
const OLDER = 50_000
const COLD_READS = 200
const BURST = 5000
/** FILE_EVICT of the kernels: posix_fadvise(POSIX_FADV_DONTNEED). */
const FILE_EVICT = 15

async function openWithTail(directory: string, backend: Backend, cached: boolean): Promise<Log> {
  const { Log } = await import('sealog')
  const log = await Log.open(directory, { durability: 'flush', backend, ...(cached ? {} : { cache: false }) })
  const records = makeRecords(RECORD_BYTES)
  for (let i = 0; i < OLDER + CACHED; i++) {
    log.enqueue(records[i % records.length])
    if (log.writableNeedDrain) await log.drain()
  }
  // Pages that are not on the disk yet could not be dropped.
  await log.sync()
  return log
}

function sumOf(log: Log, offsets: Uint32Array): number {
  let sum = 0
  for (const offset of offsets) sum = mix(sum, log.getSync(offset)!.value!)
  return sum
}

/** The same offsets for all: within the newest records. */
function newest(count: number): Uint32Array {
  return randomNumbers(count, CACHED).map((number) => OLDER + number)
}

function warm(name: string, kind: Contender['kind'], backend: Backend, cached: boolean): Contender {
  return {
    name,
    kind,
    measure: async (run) => {
      const log = await openWithTail(run.directory, backend, cached)
      const work = { sum: sumOf(log, newest(COLD_READS)) }
      const offsets = newest(BURST)
      for (let i = 0; i < 20; i++) sumOf(log, offsets)
      const bursts = Float64Array.from({ length: run.quick ? 30 : 150 }, () => {
        const start = performance.now()
        sumOf(log, offsets)
        return ((performance.now() - start) * 1e6) / BURST
      })
      const hits = log.stats().tailCache?.hitRate
      await log.close()
      if (cached && hits !== 1) throw new Error(`hit rate ${hits}: the records were not cached`)
      return { values: { ns: median(bursts), p99Ns: percentile(bursts, 0.99) }, work }
    },
  }
}

const COLD = 'getSync, cold disk'

const cold: Contender = {
  name: COLD,
  kind: 'baseline',
  measure: async (run) => {
    const log = await openWithTail(run.directory, 'native', false)
    const kernels = await loadKernels('native')
    const files = segmentFiles(run.directory).map((path) => openSync(path, 'r'))
    const latencies = new Float64Array(COLD_READS)
    let sum = 0
    sumOf(log, newest(BURST))
    for (const [i, offset] of newest(COLD_READS).entries()) {
      for (const file of files) evict(kernels, file)
      const before = bytesFromDisk()
      const start = performance.now()
      const { value } = log.getSync(offset)!
      latencies[i] = (performance.now() - start) * 1e6
      if (bytesFromDisk() === before) throw new Error('a read after posix_fadvise(DONTNEED) did not reach the disk')
      sum = mix(sum, value!)
    }
    for (const file of files) closeSync(file)
    kernels.stop()
    await log.close()
    return { values: { ns: median(latencies), p99Ns: percentile(latencies, 0.99) }, work: { sum } }
  },
}

function evict(kernels: BenchKernels, file: number): void {
  const status = kernels.requestSync(FILE_EVICT, file, 0, 0)
  if (status < 0) throw new Error(`posix_fadvise: errno ${-status}`)
}

const HIT = 'getSync, tail cache'

export const tailCache: Case = {
  name: 'tail-cache',
  roundsFactor: 0.67,
  title: `Synchronous read of one of the newest ${CACHED.toLocaleString('en')} records of 256 bytes, by where it lies`,
  metrics: [
    { key: 'ns', label: 'ns/read', better: 'lower' },
    { key: 'p99Ns', label: 'ns p99', better: 'lower' },
  ],
  contenders: [
    warm(HIT, 'sealog', 'native', true),
    warm('getSync, page cache', 'baseline', 'native', false),
    cold,
    warm('sealog js, tail cache', 'baseline', 'js', true),
    warm('sealog js, page cache', 'baseline', 'js', false),
  ],
  targets: [
    {
      text: 'getSync of a cached record ≤ 150 ns',
      needs: [HIT],
      judge: (results) => {
        const ns = results.median(HIT, 'ns')
        return { measured: `${ns.toFixed(0)} ns`, reached: ns <= 150 }
      },
    },
    {
      text: '≥ 50 × faster than the read from a cold disk',
      needs: [HIT, COLD],
      judge: (results) => {
        const ratio = results.ratio('ns', COLD, HIT)
        return { measured: `${ratio.toFixed(0)} ×`, reached: ratio >= 50 }
      },
    },
  ],
  notes: () => [
    'ns/read: median over bursts of 5,000 reads, copying the value and making the record object included; p99 over the bursts. Cold disk: median and p99 of single reads; before each one the ' +
      "segment files are synced and dropped from the page cache (posix_fadvise DONTNEED), and /proc/self/io proves that the read reached the disk. What lies below this machine's disk may cache too.",
  ],
}

const READERS = 8
/** How far behind the end a reader begins. */
const BEHIND = 500
const BATCH = 10

function catchUp(name: string, kind: Contender['kind'], backend: Backend): Contender {
  return {
    name,
    kind,
    measure: async (run) => {
      const log = await openWithTail(run.directory, backend, true)
      const records = makeRecords(RECORD_BYTES)
      const sums = records.map((record) => mix(0, record))
      const count = run.quick ? 100_000 : 500_000
      const statsBefore = log.stats().tailCache!
      const batch = Array.from({ length: BATCH }, () => records[0])
      let wrong = 0
      let read = 0
      let writing = true
      const reader = async (random: Uint32Array) => {
        for (let i = 0; writing; i++) {
          const to = log.committedOffset
          for await (const block of log.batches({ from: to - 1 - random[i % random.length], to })) {
            for (let at = 0; at < block.length; at++) if (mix(0, block.value(at)) !== sums[block.offset(at) % sums.length]) wrong++
            read += block.length
          }
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      const start = performance.now()
      const readers = Array.from({ length: READERS }, (_, i) => reader(randomNumbers(1000 + i, BEHIND)))
      for (let offset = log.endOffset; offset < OLDER + CACHED + count; offset += BATCH) {
        for (let i = 0; i < BATCH; i++) batch[i] = records[(offset + i) % records.length]
        await log.appendBatch(batch)
      }
      const elapsed = (performance.now() - start) / 1000
      writing = false
      await Promise.all(readers)
      const { hitCount, missCount } = log.stats().tailCache!
      await log.close()
      const hits = hitCount - statsBefore.hitCount
      const misses = missCount - statsBefore.missCount
      return { values: { hitPercent: (100 * hits) / (hits + misses), readPerSecond: read / elapsed, appendedPerSecond: count / elapsed }, work: { wrong } }
    },
  }
}

const CATCH_UP = 'sealog'

export const tailCatchUp: Case = {
  name: 'tail-catch-up',
  roundsFactor: 0.34,
  title: `${READERS} readers that begin up to ${BEHIND} records behind the end and catch up, again and again, while batches of ${BATCH} are appended (mode flush)`,
  metrics: [
    { key: 'hitPercent', label: '% of reads from the cache', better: 'higher' },
    { key: 'readPerSecond', label: 'records read/s', better: 'higher' },
    { key: 'appendedPerSecond', label: 'records appended/s', better: 'higher' },
  ],
  contenders: [catchUp(CATCH_UP, 'sealog', 'native'), catchUp('sealog js', 'baseline', 'js')],
  targets: [
    {
      text: '≥ 95 % of the reads answered by the tail cache',
      needs: [CATCH_UP],
      judge: (results: Results) => {
        const percent = results.median(CATCH_UP, 'hitPercent')
        return { measured: `${percent.toFixed(1)} %`, reached: percent >= 95 }
      },
    },
  ],
}
