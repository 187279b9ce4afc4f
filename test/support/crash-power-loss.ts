/** Drives workloads, crashes and recoveries until enough different images were opened. */
import fs from 'node:fs'
import type { Durability } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { explore, pickCrash } from './crash-explore.js'
import { runScenario } from './crash-scenario.js'
import { makeDirectory } from './directories.js'
import { Random } from './random.js'

/** Power losses in a row: a crash, recovery and work, the next crash in that. */
const GENERATIONS = 3
const IMAGES_PER_RUN = 350

export interface Proof {
  readonly images: number
  readonly checks: number
  readonly failures: readonly string[]
}

export async function crashManyTimes(backend: Backend, durability: Durability, firstSeed: number, images: number): Promise<Proof> {
  const total = { images: 0, checks: 0, failures: [] as string[] }
  for (let seed = firstSeed; total.images < images && total.failures.length === 0; seed++) {
    const root = makeDirectory('crash')
    const scenario = { backend, durability, root, random: new Random(seed) }
    let run = await runScenario(scenario, 3)
    for (let generation = 0; generation < GENERATIONS; generation++) {
      const budget = Math.min(IMAGES_PER_RUN, images - total.images)
      if (budget <= 0) break
      const found = await explore(run, { seed: seed * 10 + generation, root, samples: 6, budget })
      total.images += found.images
      total.checks += found.checks
      total.failures.push(...found.failures.map((failure) => `scenario ${seed}, generation ${generation}: ${failure}`))
      run = await runScenario(scenario, 2, pickCrash(run, scenario.random))
    }
    fs.rmSync(root, { recursive: true, force: true })
  }
  return total
}
