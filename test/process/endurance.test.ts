import { describe, expect, it } from 'vitest'
import type { Backend } from '../../lib/kernels/kernels.js'
import { DEFAULT_ENVIRONMENT } from '../../lib/options.js'
import { backends } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'
import { runProgram } from '../support/programs.js'

/** Pools start a thread when all of theirs are busy, which may happen late; never more than their limits. */
const { syncThreads, writeThreads, readerThreads, sealThreads } = DEFAULT_ENVIRONMENT
const POOL_THREADS = syncThreads + writeThreads + readerThreads + sealThreads

const ROUNDS = Number(process.env.SEALOG_LEAK_ROUNDS ?? 40)
const MiB = 1024 * 1024

interface Sample {
  readonly fds: number
  readonly threads: number
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  readonly arrayBuffers: number
}

/** Growth per step by least squares: one odd sample does not decide. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  let above = 0
  let below = 0
  values.forEach((value, i) => {
    above += (i - middle) * (value - mean)
    below += (i - middle) ** 2
  })
  return above / below
}

// The twin opens some eight times slower; `npm run soak` gives it the full number too.
const cyclesOf = (backend: Backend) => Number(process.env.SEALOG_CYCLES ?? (backend === 'native' ? 10_000 : 2500))

describe.each(backends)('G12, G16: nothing grows (%s)', (backend) => {
  const CYCLES = cyclesOf(backend)
  it(`${CYCLES} open/close cycles: descriptors, threads, heap and RSS stay flat`, async () => {
    // The young generation of V8 takes some thousand cycles to reach its full size, which is no leak.
    const options = ['--expose-gc', '--max-semi-space-size=1']
    const samples = await runProgram<Sample[]>('cycles.mjs', [backend, CYCLES, makeDirectory('cycles')], options)
    const settled = samples.slice(2)
    const last = settled[settled.length - 1]
    console.log(
      `${backend}: ${CYCLES} cycles: fds ${settled[0].fds} to ${last.fds}, RSS ${(settled[0].rss / MiB).toFixed(1)} to ${(last.rss / MiB).toFixed(1)} MiB, heap ${(settled[0].heapUsed / MiB).toFixed(2)} to ${(last.heapUsed / MiB).toFixed(2)} MiB`,
    )
    expect(last.fds).toBeLessThanOrEqual(settled[0].fds + 2)
    expect(last.threads).toBeLessThanOrEqual(samples[0].threads + POOL_THREADS)
    // A leaked log object is some KiB a cycle, so tens of MiB over the run; what is allowed here is warming up.
    const growth = (values: number[]) => slope(values) * values.length
    expect(growth(settled.map((sample) => sample.heapUsed))).toBeLessThan(1.5 * MiB)
    expect(growth(settled.map((sample) => sample.arrayBuffers))).toBeLessThan(MiB)
    // The twin has no memory outside the heap but compiled code, of which V8 makes more the longer the run is.
    expect(growth(settled.map((sample) => sample.rss))).toBeLessThan((backend === 'native' ? 24 : 40) * MiB)
  }, 300_000)

  it('appending and reading in every way leaks nothing: the slope of heap and buffers over rounds of equal work is flat', async () => {
    const samples = await runProgram<Sample[]>('leak.mjs', [backend, ROUNDS, makeDirectory('leak')], ['--expose-gc'])
    const settled = samples.slice(Math.floor(ROUNDS / 4))
    const heap = slope(settled.map((sample) => sample.heapUsed))
    const buffers = slope(settled.map((sample) => sample.arrayBuffers))
    const rss = slope(settled.map((sample) => sample.rss))
    console.log(`${backend}: a round of 2,250 records: heap ${heap.toFixed(0)}, buffers ${buffers.toFixed(0)}, RSS ${rss.toFixed(0)} bytes`)
    // A round appends 2,251 records and reads 2,800: a leak of one small object per record or read is ≥ 50 KB a round.
    expect(heap).toBeLessThan(25_000)
    expect(buffers).toBeLessThan(25_000)
    expect(rss).toBeLessThan(400_000)
  }, 180_000)

  const count = backend === 'native' ? 10_000 : 2000
  it(`${count} logs open at once: an idle one owns no thread and no timer, one descriptor and a few KiB`, async () => {
    const { open, before, after, end } = await runProgram<{ open: number; before: Facts; after: Facts; end: Facts }>(
      'many-logs.mjs',
      [backend, count, makeDirectory('many')],
      ['--expose-gc'],
    )
    const heap = (after.heapUsed - before.heapUsed) / count
    const rss = (after.rss - before.rss) / count
    console.log(
      `${backend}: an idle log of ${count}: heap ${heap.toFixed(0)}, RSS ${rss.toFixed(0)} bytes, ${((after.fds - before.fds) / count).toFixed(2)} descriptors; threads ${before.threads} to ${after.threads}`,
    )
    expect(open).toBe(count + 1)
    expect(after.timers).toBe(0)
    // The pools of the environment (2 to write, 4 to sync, 4 to read) start their threads when they are first needed.
    expect(after.threads).toBeLessThanOrEqual(before.threads + 10)
    // The twin needs a socket for its lock beside LOCK.
    expect(after.fds - before.fds).toBeLessThanOrEqual(count * (backend === 'native' ? 1 : 2) + 8)
    // The twin's socket is a JavaScript object.
    expect(heap).toBeLessThan(backend === 'native' ? 6 * 1024 : 16 * 1024)
    expect(end.fds).toBeLessThanOrEqual(before.fds + 4)
  }, 300_000)
})

interface Facts extends Sample {
  readonly timers: number
}
