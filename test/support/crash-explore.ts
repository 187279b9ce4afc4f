/** Crashes a run at every event and holds what both backends recover against what had been acknowledged by then. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { backends } from './backends.js'
import { type History, type Moment, type Recovered, judge } from './crash-history.js'
import { afterReboot, recoverWith } from './crash-recovery.js'
import { type Run, type RunEvent, apply } from './crash-run.js'
import { Random } from './random.js'
import { Disk, type DiskImage, hashOf, materialize } from './replay.js'

export interface ExploreOptions {
  readonly seed: number
  /** Scratch space, on tmpfs. */
  readonly root: string
  /** Images per point where not every combination is tried. */
  readonly samples: number
  /** Different images to open at most. */
  readonly budget: number
  /** Share of the events after which to crash. */
  readonly share?: number
  /** Syncs to leave out. */
  readonly isDropped?: (event: RunEvent, at: number) => boolean
  readonly stopAtFailure?: boolean
  /** More to say about an image; undefined: nothing wrong. */
  readonly inspect?: (image: DiskImage, moment: Moment) => Promise<string | undefined>
}

export interface Exploration {
  /** Different images, each opened by every backend. */
  readonly images: number
  /** Images held against a moment; equal images at different moments count. */
  readonly checks: number
  readonly failures: readonly string[]
  /** One image from somewhere in the middle, and what was known then: a place to go on from. */
  readonly sample: { readonly image: DiskImage; readonly moment: Moment } | undefined
}

const PARALLEL = 12
let scratch = 0

export async function explore(run: Run, options: ExploreOptions): Promise<Exploration> {
  const random = new Random(options.seed)
  const recovered = new Map<string, Promise<readonly Recovered[]>>()
  const failures: string[] = []
  const pending = new Set<Promise<void>>()
  let checks = 0
  let sample: Exploration['sample']
  const disk = Disk.of(run.initial)
  let moment = run.history.moments[0]

  const check = async (image: DiskImage, at: Moment, point: number): Promise<void> => {
    const hash = hashOf(image)
    let results = recovered.get(hash)
    if (results === undefined) {
      if (recovered.size >= options.budget) return
      results = recoverByAll(image, options.root, run.history)
      recovered.set(hash, results)
    }
    checks++
    const reasons = (await results).map((result) => judge(run.history, at, result))
    reasons.push(disagreement(await results), await options.inspect?.(image, at))
    const reason = reasons.find((text) => text !== undefined)
    if (reason === undefined) return
    const keep = options.stopAtFailure === true ? '' : `; the image is kept in ${keepImage(image, hash)}`
    failures.push(`${run.backend}, seed ${options.seed}, event ${point} (${describeEvent(run.events[point])}), after '${at.what}': ${reason}${keep}`)
  }

  for (const [point, event] of run.events.entries()) {
    if (options.isDropped?.(event, point) === true) continue
    apply(disk, event)
    if (event.kind === 'note') moment = run.history.moments[event.number]
    if (event.kind === 'close' || event.kind === 'open' || !random.chance(options.share ?? 1)) continue
    for (const crashed of disk.crashes(random, options.samples)) {
      const image = afterReboot(crashed)
      if (random.chance(1 / (checks + pending.size + 1)) || sample === undefined) sample = { image, moment }
      const work = check(image, moment, point)
      pending.add(work)
      void work.finally(() => pending.delete(work))
      if (pending.size >= PARALLEL) await Promise.race(pending)
    }
    if (recovered.size >= options.budget || (failures.length > 0 && options.stopAtFailure === true)) break
  }
  await Promise.all(pending)
  return { images: recovered.size, checks, failures, sample }
}

function recoverByAll(image: DiskImage, root: string, history: History): Promise<readonly Recovered[]> {
  return Promise.all(
    backends.map((backend) => {
      const other = backends.find((name) => name !== backend) ?? backend
      return recoverWith(backend, other, image, path.join(root, `image-${scratch++}`), history)
    }),
  )
}

function disagreement(results: readonly Recovered[]): string | undefined {
  const [first, ...others] = results
  const text = (result: Recovered) => `${result.start} to ${result.end} in epoch ${result.epoch}`
  const other = others.find((result) => text(result) !== text(first))
  return other === undefined ? undefined : `the backends recover differently: ${text(first)} and ${text(other)}`
}

function keepImage(image: DiskImage, hash: string): string {
  const place = path.join(os.tmpdir(), 'sealog-crash-failures', Buffer.from(hash, 'latin1').toString('hex').slice(0, 16))
  if (!fs.existsSync(place)) {
    fs.mkdirSync(place, { recursive: true })
    materialize(image, place)
  }
  return place
}

function describeEvent(event: RunEvent): string {
  return 'path' in event ? `${event.kind} ${event.path}` : 'fd' in event ? `${event.kind} of descriptor ${event.fd}` : event.kind
}
