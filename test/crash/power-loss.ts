/** One suite per recording backend, each in a process of its own; both backends open every image. */
import { describe, expect, test } from 'vitest'
import type { Durability } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { crashManyTimes } from '../support/crash-power-loss.js'

const SOAK = process.env.SEALOG_SOAK !== undefined
/** Different images per backend and mode: 20,100 and 1,002,000 in all. SEALOG_IMAGES: as many as one wants. */
const IMAGES = Number(process.env.SEALOG_IMAGES ?? (SOAK ? 167_000 : 3_350))
const MODES: readonly Durability[] = ['fsync', 'flush', 'none']

export function provePowerLoss(backend: Backend): void {
  // Thousands of torn tails are cut here; each would print its warning.
  process.removeAllListeners('warning')

  describe.runIf(backends.includes(backend))(`power loss of a log written by ${backend}`, () => {
    test.each(MODES)(
      'G1, G2, G3, G5, G8: mode %s keeps what it promised, opens, and goes on',
      async (durability) => {
        const firstSeed = Number(process.env.SEALOG_SEED ?? 1)
        const { images, checks, failures } = await crashManyTimes(backend, durability, firstSeed, IMAGES)
        console.log(`power loss, ${backend}, ${durability}: ${images} different images, ${checks} checks`)
        expect(failures.slice(0, 5), 'again with SEALOG_SEED=<scenario>').toEqual([])
        expect(images).toBeGreaterThanOrEqual(IMAGES)
      },
      SOAK ? 0 : 400_000,
    )
  })
}
