/** Everything that a kill, or a power loss, could leave of a directory while something was done to the log in it. */
import fs from 'node:fs'
import path from 'node:path'
import type { Backend } from '../../lib/kernels/kernels.js'
import { testingOf } from './backends.js'
import { afterReboot } from './crash-recovery.js'
import { LOG_NAME } from './crash-run.js'
import { makeDirectory } from './directories.js'
import { Random } from './random.js'
import { type DiskEvent, parseRecording } from './recording.js'
import { Disk, type DiskImage, hashOf, materialize } from './replay.js'

/** After each event so many images of a power loss are tried beside that of a kill. */
const IMAGES_PER_EVENT = process.env.SEALOG_SOAK === undefined ? 2 : 12

/** Does `run` to the log in a fresh directory and gives the changing system calls that it made. */
export async function recordEvents(backend: Backend, run: (place: string) => Promise<void>): Promise<DiskEvent[]> {
  const directory = makeDirectory('recorded')
  const testing = testingOf(backend)
  testing.record(true)
  try {
    await run(path.join(directory, LOG_NAME))
    return parseRecording(testing.takeRecording(), directory)
  } finally {
    testing.record(false)
  }
}

/**
 * Crashes after every event from the one number `from` on, and lets `check` look at the log in every image that differs from those before; `noted` is the last number that the
 * run had noted by then. Resolves to the number of images. What `check` throws is thrown with the event named.
 */
export async function checkCrashes(
  events: readonly DiskEvent[],
  seed: number,
  from: number,
  check: (place: string, noted: number) => Promise<void>,
): Promise<number> {
  const random = new Random(seed)
  const disk = Disk.of(new Map([[LOG_NAME, undefined]]))
  const seen = new Set<string>()
  let noted = 0
  for (const [at, event] of events.entries()) {
    if (event.kind === 'note') noted = event.number
    else if (event.kind !== 'mkdir' || event.path !== LOG_NAME) disk.apply(event)
    if (at < from) continue
    const images: DiskImage[] = [disk.live()]
    for (const image of disk.crashes(random, IMAGES_PER_EVENT)) if (images.push(afterReboot(image)) > IMAGES_PER_EVENT) break
    for (const image of images) {
      const hash = hashOf(image)
      if (seen.has(hash)) continue
      seen.add(hash)
      const scratch = makeDirectory('image')
      materialize(image, scratch)
      try {
        await check(path.join(scratch, LOG_NAME), noted)
      } catch (error) {
        throw new Error(`event ${at} (${event.kind} ${'path' in event ? event.path : ''}): ${(error as Error).message}`, { cause: error })
      } finally {
        fs.rmSync(scratch, { recursive: true, force: true })
      }
    }
  }
  return seen.size
}
