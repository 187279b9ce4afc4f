import { Bench } from 'tinybench'
import type { Case, Contender } from '../harness/case.js'
import { makeRecords, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'

const ENTRIES = 1_000_000
/** Look-ups per timed call, so that the clock does not count. */
const PER_CALL = 4096
/** Closer than segments are long. */
const READ_EVERY = 10_000

function ofLog(name: string, kind: Contender['kind'], backend: 'native' | 'js'): Contender {
  return {
    name,
    kind,
    nodeFlags: ['--expose-gc'],
    prepare: async (run) => {
      const { Log } = await import('sealog')
      // The smallest interval: every record gets an entry.
      const log = await Log.open(run.directory, { durability: 'flush', backend, indexIntervalBytes: 64 })
      const records = makeRecords(RECORD_BYTES)
      for (let i = 0; i < ENTRIES; i++) {
        log.enqueue(records[i % records.length])
        if (log.writableNeedDrain) await log.drain()
      }
      await log.close()
    },
    measure: async (run) => {
      const { Log } = await import('sealog')
      const log = await Log.open(run.directory, { durability: 'flush', backend, indexIntervalBytes: 64 })
      // The index of a segment comes into memory with the first read there.
      for (let offset = 0; offset < ENTRIES; offset += READ_EVERY) log.getSync(offset)
      const out = new Float64Array(1)
      const lookup = (offset: number) => log.index.lookup(offset, out)
      // Dense entries: the position found is that of the record itself, and records of one size differ by one frame.
      let wrong = 0
      for (let offset = 1; offset < ENTRIES; offset++) {
        const position = lookup(offset)
        const base = out[0]
        if (position <= 0 || (lookup(offset - 1) >= position && out[0] === base)) wrong++
      }
      const result = await measure(lookup)
      await log.close()
      return { values: result, work: { entries: ENTRIES, wrong } }
    },
  }
}

/** What a program would write itself: positions in one Float64Array, binary search. */
const binarySearch: Contender = {
  name: 'binary search, Float64Array',
  kind: 'peer',
  nodeFlags: ['--expose-gc'],
  measure: async () => {
    const offsets = Float64Array.from({ length: ENTRIES }, (_, i) => i)
    const positions = Float64Array.from({ length: ENTRIES }, (_, i) => 128 + 280 * i)
    const lookup = (offset: number) => {
      let low = 0
      let high = ENTRIES
      while (high - low > 1) {
        const middle = (low + high) >>> 1
        if (offsets[middle] <= offset) low = middle
        else high = middle
      }
      return positions[low]
    }
    let wrong = 0
    for (let offset = 1; offset < ENTRIES; offset++) if (lookup(offset) <= lookup(offset - 1)) wrong++
    return { values: await measure(lookup), work: { entries: ENTRIES, wrong } }
  },
}

async function measure(lookup: (offset: number) => number): Promise<Record<string, number>> {
  const numbers = randomNumbers(ENTRIES, ENTRIES)
  let sum = 0
  let at = 0
  const bench = new Bench({ time: 500, warmupTime: 200 })
  bench.add('lookup', () => {
    for (let i = 0; i < PER_CALL; i++) {
      sum += lookup(numbers[at])
      if (++at === ENTRIES) at = 0
    }
  })
  await bench.run()
  const result = bench.tasks[0].result
  if (result.state !== 'completed') throw new Error(`tinybench: ${result.state}`)

  if (!Number.isFinite(sum)) throw new Error('a look-up gave no number')
  const perLookup = (ms: number) => (ms * 1e6) / PER_CALL
  return {
    ns: perLookup(result.latency.p50),
    p99Ns: perLookup(result.latency.p99),
    allocatedBytes: allocatedPerLookup(lookup, numbers),
  }
}

/** The least of several passes: the first ones also compile. What a call of memoryUsage leaves behind is far below 0.01 bytes per look-up. */
function allocatedPerLookup(lookup: (offset: number) => number, numbers: Uint32Array): number {
  const pass = () => {
    let sum = 0
    for (let i = 0; i < numbers.length; i++) sum += lookup(numbers[i])
    return sum
  }
  const passes = Array.from({ length: 5 }, () => {
    globalThis.gc!()
    const before = process.memoryUsage().heapUsed
    pass()
    return process.memoryUsage().heapUsed - before
  })
  return Math.max(0, Math.round((Math.min(...passes) / numbers.length) * 100) / 100)
}

export const indexLookup: Case = {
  name: 'index-lookup',
  quickRounds: 2,
  title: 'index.lookup at random offsets, 1,000,000 entries',
  metrics: [
    { key: 'ns', label: 'ns/lookup', better: 'lower' },
    { key: 'p99Ns', label: 'ns p99', better: 'lower' },
    { key: 'allocatedBytes', label: 'bytes allocated/lookup', better: 'lower' },
  ],
  contenders: [ofLog(SEALOG.name, 'sealog', 'native'), ofLog(SEALOG_JS.name, 'baseline', 'js'), binarySearch],
  targets: [
    {
      text: 'index.lookup ≤ 60 ns at 1 M entries, 0 allocations',
      needs: [SEALOG.name],
      judge: (results) => {
        const ns = results.median(SEALOG.name, 'ns')
        const bytes = results.median(SEALOG.name, 'allocatedBytes')
        return { measured: `${ns.toFixed(1)} ns, ${bytes} bytes`, reached: ns <= 60 && bytes < 0.1 }
      },
    },
  ],
}
