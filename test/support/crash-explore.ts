/** Crashes a run at every event and holds what both backends recover against what had been acknowledged by then. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { backends } from './backends.js'
import { type History, judge, type Moment, type Recovered } from './crash-history.js'
import { inspect } from './crash-inspect.js'
import { afterReboot, recoverWith } from './crash-recovery.js'
import { apply, type Run, type RunEvent } from './crash-run.js'
import { Random } from './random.js'
import { Disk, type DiskImage, hashOf, materialize } from './replay.js'

export interface ExploreOptions {
  readonly seed: number
  /** Scratch space, on tmpfs. */
  readonly root: string
  /** Images per point where not every combination is tried. */
  readonly samples: number
  /** About so many different images are opened, at points spread evenly over the run. */
  readonly budget: number
  /** Number of the first event after which to crash. */
  readonly from?: number
  /** Syncs to leave out. */
  readonly isDropped?: (event: RunEvent, at: number) => boolean
  /** One failure is enough, and one backend to find it: the one that recorded. */
  readonly stopAtFailure?: boolean
}

export interface Exploration {
  /** Different images, each opened by every backend. */
  readonly images: number
  /** Images held against a moment; equal images at different moments count. */
  readonly checks: number
  readonly failures: readonly string[]
}

const PARALLEL = 12
/** Images by which a run may be ahead of an even spread. */
const AHEAD = 50
let scratch = 0

export async function explore(run: Run, options: ExploreOptions): Promise<Exploration> {
  const random = new Random(options.seed)
  const recovered = new Map<string, Promise<readonly Recovered[]>>()
  const failures: string[] = []
  const pending = new Set<Promise<void>>()
  let checks = 0
  const disk = Disk.of(run.initial)
  const first = options.from ?? 0
  let moment = run.history.moments[0]

  const check = async (image: DiskImage, at: Moment, point: number): Promise<void> => {
    const hash = hashOf(image)
    let results = recovered.get(hash)
    if (results === undefined) {
      const place = path.join(options.root, `image-${scratch++}`)
      results =
        options.stopAtFailure === true
          ? recoverWith(run.backend, undefined, image, place, run.history).then((one) => [one])
          : recoverByAll(image, place, run.history, recovered.size)
      recovered.set(hash, results)
    }
    checks++
    const reasons = (await results).map((result) => judge(run.history, at, result))
    reasons.push(disagreement(await results), await inspect(run, image, at, point, options.root))
    const reason = reasons.find((text) => text !== undefined)
    if (reason === undefined) return
    const keep = options.stopAtFailure === true ? '' : `; the image is kept in ${keepImage(image, hash)}`
    failures.push(`${run.backend}, seed ${options.seed}, event ${point} (${describeEvent(run.events[point])}), after '${at.what}': ${reason}${keep}`)
  }

  for (const [point, event] of run.events.entries()) {
    if (options.isDropped?.(event, point) === true) continue
    apply(disk, event)
    if (event.kind === 'note') moment = run.history.moments[event.number]
    if (point < first || event.kind === 'close' || event.kind === 'open') continue
    // At a point where few things are open every combination is tried; many points are passed by for it.
    if (recovered.size > AHEAD + (options.budget * (point + 1 - first)) / (run.events.length - first)) continue
    for (const crashed of disk.crashes(random, options.samples)) {
      const image = afterReboot(crashed)
      const work = check(image, moment, point)
      pending.add(work)
      void work.finally(() => pending.delete(work))
      if (pending.size >= PARALLEL) await Promise.race(pending)
    }
    if (failures.length >= 20 || (failures.length > 0 && options.stopAtFailure === true)) break
  }
  await Promise.all(pending)
  return { images: recovered.size, checks, failures }
}

/** One crash at a random point: where the next generation begins. */
export function pickCrash(run: Run, random: Random): { readonly image: DiskImage; readonly moment: Moment; readonly history: History } {
  const disk = Disk.of(run.initial)
  let moment = run.history.moments[0]
  for (const event of run.events.slice(0, 1 + random.below(run.events.length))) {
    apply(disk, event)
    if (event.kind === 'note') moment = run.history.moments[event.number]
  }
  const crashes = [...disk.crashes(random, 8)]
  return { image: afterReboot(random.pick(crashes)), moment, history: run.history }
}

/** Every backend recovers it; in turn, one of the recovered logs is looked at by another. */
function recoverByAll(image: DiskImage, place: string, history: History, number: number): Promise<readonly Recovered[]> {
  return Promise.all(
    backends.map((backend, i) => {
      const other = backends.find((name) => name !== backend) ?? backend
      const second = number % backends.length === i ? other : undefined
      return recoverWith(backend, second, image, `${place}-${backend}`, history)
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
  const place = path.join(os.tmpdir(), 'sealog-crash-failures', hash.slice(0, 16))
  if (!fs.existsSync(place)) {
    fs.mkdirSync(place, { recursive: true })
    materialize(image, place)
  }
  return place
}

function describeEvent(event: RunEvent): string {
  return 'path' in event ? `${event.kind} ${event.path}` : 'fd' in event ? `${event.kind} of descriptor ${event.fd}` : event.kind
}
