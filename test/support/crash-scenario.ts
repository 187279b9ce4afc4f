/** Workloads for power loss: seeded sessions with small segments, so that every file of a log changes often. */
import fs from 'node:fs'
import path from 'node:path'
import type { Durability, LogOptions } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { History, type Moment } from './crash-history.js'
import { LOG_NAME, Recorder, type Run } from './crash-run.js'
import type { Random } from './random.js'
import type { DiskImage } from './replay.js'

export interface Scenario {
  readonly backend: Backend
  readonly durability: Durability
  /** Scratch space, on tmpfs. */
  readonly root: string
  readonly random: Random
}

const MODES: readonly Durability[] = ['fsync', 'flush', 'none']
let directories = 0

function freshDirectory({ root }: Scenario): string {
  const directory = path.join(root, `run-${directories++}`)
  fs.mkdirSync(directory)
  return directory
}

function optionsOf({ durability, random }: Scenario): LogOptions {
  return {
    durability: random.chance(0.8) ? durability : random.pick(MODES),
    segmentBytes: 1024 * (1 + random.below(3)),
    indexIntervalBytes: 64 + random.below(512),
    chunkBytes: 200 + random.below(800),
  }
}

/** Some sessions, each ended by a close or a kill; the first may begin from what a power loss left. */
export async function runScenario(
  scenario: Scenario,
  sessions: number,
  from?: { readonly image: DiskImage; readonly moment: Moment; readonly history: History },
): Promise<Run> {
  const { random } = scenario
  const history = from === undefined ? new History() : new History(from.history.lineages, from.moment)
  const image = from !== undefined && random.chance(0.3) ? tearManifest(from.image) : from?.image
  const recorder = new Recorder(scenario.backend, freshDirectory(scenario), random, image, history)
  for (let session = 0; session < sessions; session++) {
    await recorder.open(optionsOf(scenario))
    const unfinished = await work(recorder, random, 4 + random.below(8))
    if (random.chance(0.5)) await recorder.kill(freshDirectory(scenario))
    else await recorder.close(random.chance(0.7) ? 'close' : 'closeSync')
    await Promise.allSettled(unfinished)
  }
  return recorder.end()
}

/** Returns the appends that nobody waited for. */
async function work(recorder: Recorder, random: Random, steps: number): Promise<Promise<void>[]> {
  let waiting: Promise<void>[] = []
  for (let step = 0; step < steps; step++) {
    const choice = random.below(20)
    if (choice < 12) {
      for (let i = random.below(6); i >= 0; i--) waiting.push(recorder.append())
      if (random.chance(0.7)) {
        await Promise.all(waiting)
        waiting = []
      }
    } else if (choice < 14) await recorder.step((log) => log.flush(), 'flush')
    else if (choice < 16) await recorder.step((log) => log.sync(), 'sync')
    else if (choice === 16) await recorder.step(async (log) => log.syncSync(), 'syncSync')
    else if (choice === 17) {
      await Promise.all(waiting)
      waiting = []
      await recorder.truncateAfter()
    } else await recorder.truncateBefore()
  }
  for (const append of waiting) append.catch(() => {})
  return waiting
}

/** As if one more record had been on its way to MANIFEST: the size had arrived, the bytes had not. The next record rewrites the file. */
function tearManifest(image: DiskImage): DiskImage {
  const name = path.join(LOG_NAME, 'MANIFEST')
  const file = image.get(name)
  return file === undefined ? image : new Map(image).set(name, { data: file.data, size: file.size + 64 })
}
