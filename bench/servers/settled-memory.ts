import { residentBytes } from '../harness/usage.js'

const KIB = 1024
const SAMPLE_MS = 100
const STEADY_SAMPLES = 8
const STEADY_BYTES = 512 * KIB
const LIMIT_MS = 30_000

/** Waits until the resident memory of the processes does not change any more. */
export async function settled(processes: readonly number[]): Promise<{ readonly last: number; readonly peak: number }> {
  const samples: number[] = []
  const limit = performance.now() + LIMIT_MS
  for (;;) {
    samples.push(residentBytes(processes))
    const recent = samples.slice(-STEADY_SAMPLES)
    if (recent.length === STEADY_SAMPLES && Math.max(...recent) - Math.min(...recent) <= STEADY_BYTES) {
      return { last: recent[STEADY_SAMPLES - 1], peak: Math.max(...samples) }
    }
    if (performance.now() > limit) throw new Error(`memory does not settle: ${recent.map((bytes) => `${Math.round(bytes / KIB)} KiB`).join(', ')}`)
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS))
  }
}
