/** Power loss finds every missing sync: each kind is left out of a replay, as if the code had never made it, and at least one crash must show it. */
import fs from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { backends } from '../support/backends.js'
import { explore, pickCrash } from '../support/crash-explore.js'
import { classifySyncs, REDUNDANT, SYNC_KINDS, type SyncKind } from '../support/crash-mutants.js'
import type { Run } from '../support/crash-run.js'
import { runScenario } from '../support/crash-scenario.js'
import { makeDirectory } from '../support/directories.js'
import { Random } from '../support/random.js'

/** Many short looks: what one seed does not show, another shows sooner than more images of the first. */
const SEEDS = 40
const IMAGES = 50
const LIMIT_MS = 400_000

describe.each(backends)('a log written by %s without one kind of sync', (backend) => {
  const shown = new Map<SyncKind, string>()

  async function seek(run: Run, seed: number, root: string): Promise<void> {
    const kinds = classifySyncs(run)
    for (const kind of SYNC_KINDS) {
      const from = [...kinds].find(([, found]) => found === kind)?.[0]
      if (from === undefined || shown.has(kind) || kind in REDUNDANT) continue
      const isDropped = (_: unknown, at: number) => kinds.get(at) === kind
      const { failures } = await explore(run, { seed, root, samples: 10, budget: IMAGES, from, isDropped, stopAtFailure: true })
      if (failures.length > 0) shown.set(kind, failures[0])
    }
  }

  beforeAll(async () => {
    process.removeAllListeners('warning')
    for (let seed = 1; seed <= SEEDS && shown.size + Object.keys(REDUNDANT).length < SYNC_KINDS.length; seed++) {
      const root = makeDirectory('mutants')
      const scenario = { backend, durability: seed % 2 === 0 ? 'fsync' : 'flush', root, random: new Random(seed) } as const
      let run = await runScenario(scenario, 3)
      for (let generation = 0; generation < 3; generation++) {
        await seek(run, seed, root)
        run = await runScenario(scenario, 2, pickCrash(run, scenario.random))
      }
      fs.rmSync(root, { recursive: true, force: true })
    }
  }, LIMIT_MS)

  test.each(SYNC_KINDS.filter((kind) => !(kind in REDUNDANT)))('is found out: %s', (kind) => {
    expect(shown.get(kind), 'a crash that shows it').toBeDefined()
  })
})
