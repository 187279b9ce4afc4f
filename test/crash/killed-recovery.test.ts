/**
 * Two crashes in a row: the process is killed at a step of its work, which leaves everything in the page cache, and power is lost at a step of the recovery that
 * follows. Whatever recovery has built on must be durable by then.
 */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { Log } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends, testingOf } from '../support/backends.js'
import { readRecords } from '../support/crash-history.js'
import { afterReboot } from '../support/crash-recovery.js'
import { makeDirectory } from '../support/directories.js'
import { text } from '../support/logs.js'
import { Random } from '../support/random.js'
import { type DiskEvent, parseRecording } from '../support/recording.js'
import { Disk, type DiskImage, hashOf, materialize } from '../support/replay.js'

const SOAK = process.env.SEALOG_SOAK !== undefined
const IMAGES_PER_EVENT = SOAK ? 20 : 3
/** Of the kills in the middle of appends every so many is followed further, of the others all. */
const STRIDE = SOAK ? 1 : 16
const OPTIONS = { segmentBytes: 1024, indexIntervalBytes: 128, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 } as const

/** Steps behind which a crash can leave something new. */
const CHANGES: ReadonlySet<string> = new Set(['write', 'truncate', 'rename', 'unlink', 'syncEnd', 'syncDirectoryEnd'])

vi.setConfig({ testTimeout: SOAK ? 0 : 300_000 })
process.removeAllListeners('warning')

/** What was acknowledged: the first offset that may be gone, and the values of all that may not. */
interface Promised {
  readonly start: number
  readonly values: readonly string[]
}

const open = (directory: string, backend: Backend) => Log.open(path.join(directory, 'log'), { ...OPTIONS, backend })

/** A small life of a log in mode `fsync`, recorded; notes are numbers of promises. */
async function live(backend: Backend): Promise<{ events: readonly DiskEvent[]; promises: readonly Promised[] }> {
  const testing = testingOf(backend)
  const directory = makeDirectory('kill')
  const promises: Promised[] = [{ start: 0, values: [] }]
  let values: string[] = []
  let start = 0
  const promise = () => testing.note(promises.push({ start, values: [...values] }) - 1)
  testing.record(true)
  const log = await open(directory, backend)
  const append = async (count: number) => {
    const more = Array.from({ length: count }, (_, i) => `record ${values.length + i} ${'.'.repeat(90)}`)
    await log.appendBatch(more.map((value) => Buffer.from(value)))
    values.push(...more)
    promise()
  }
  for (let i = 0; i < 8; i++) await append(3)
  // From here on what lies below may go, whether the call returns or not.
  start = 14
  promise()
  await log.truncateBefore(14)
  await append(2)
  values = values.slice(0, 21)
  promise()
  await log.truncateAfter(20)
  await append(4)
  await log.close()
  const events = parseRecording(testing.takeRecording(), directory)
  testing.record(false)
  return { events, promises }
}

/** The record that the recovered log acknowledges, once it has. */
const AFTERWARDS = 'after the kill'

function check(log: Log, { start, values }: Promised, afterwards: number | undefined): void {
  expect(log.startOffset).toBeLessThanOrEqual(start)
  expect(log.endOffset).toBeGreaterThanOrEqual(values.length)
  for (const { offset, value } of readRecords(log)) if (offset < values.length && offset !== afterwards) expect(text(value)).toBe(values[offset])
  if (afterwards !== undefined) expect(text(log.getSync(afterwards)?.value ?? new Uint8Array(0))).toBe(AFTERWARDS)
}

interface Recovery {
  readonly events: readonly DiskEvent[]
  /** Offset of the record that was acknowledged at the end of them. */
  readonly offset: number
}

async function inImage<T>(image: DiskImage, backend: Backend, use: (log: Log, directory: string) => Promise<T>): Promise<T> {
  const directory = makeDirectory('image')
  try {
    materialize(image, directory)
    const log = await open(directory, backend)
    try {
      return await use(log, directory)
    } finally {
      await log.close()
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

/** Opens what a kill left and appends to it; the recording of that. */
function recover(image: DiskImage, backend: Backend, promised: Promised): Promise<Recovery> {
  const testing = testingOf(backend)
  testing.record(true)
  return inImage(image, backend, async (log, directory) => {
    check(log, promised, undefined)
    const offset = await log.append(Buffer.from(AFTERWARDS))
    const events = parseRecording(testing.takeRecording(), directory)
    testing.record(false)
    return { events, offset }
  })
}

/** A sync that the replay leaves out, as if the code had never made it. */
type Mutant = (step: DiskEvent, steps: readonly DiskEvent[], at: number) => boolean

const syncs: ReadonlySet<string> = new Set(['syncBegin', 'syncEnd'])
const directorySyncs: ReadonlySet<string> = new Set(['syncDirectoryBegin', 'syncDirectoryEnd'])

/** MANIFEST is opened and synced once before anything else of recovery changes the disk; then its directory. */
function firstSync(kinds: ReadonlySet<string>): Mutant {
  return (step, steps, at) => kinds.has(step.kind) && steps.slice(0, at).filter((earlier) => earlier.kind === step.kind).length === (kinds === syncs ? 1 : 0)
}

/** Follows kills through recovery; what broke first, or how many images held. */
async function explore(backend: Backend, isDropped: Mutant): Promise<{ readonly opened: number; readonly failure: string | undefined }> {
  const { events, promises } = await live(backend)
  const random = new Random(3)
  const disk = Disk.of(new Map([['log', undefined]]))
  const manifests = new Set<number>()
  const seen = new Set<string>()
  let promised = promises[0]
  let opened = 0
  let kills = 0
  for (const [at, event] of events.entries()) {
    if (event.kind === 'note') promised = promises[event.number]
    if (event.kind !== 'mkdir' || event.path !== 'log') disk.apply(event)
    if (event.kind === 'open' && event.path.includes('MANIFEST')) manifests.add(event.fd)
    if (event.kind === 'close') manifests.delete(event.fd)
    const plans = event.kind === 'unlink' || event.kind === 'rename' || (event.kind === 'write' && manifests.has(event.fd))
    const killed = disk.live()
    const hash = hashOf(killed)
    if (seen.has(hash)) continue
    seen.add(hash)
    if (!plans && kills++ % STRIDE !== 0) continue
    // What the process wrote and did not sync is still not durable: recovery goes on with this very disk.
    const after = new Disk()
    for (const earlier of events.slice(0, at + 1)) after.apply(earlier)
    after.endProcess()
    const recovery = await recover(killed, backend, promised)
    for (const [number, step] of recovery.events.entries()) {
      if (!isDropped(step, recovery.events, number)) after.apply(step)
      const last = number === recovery.events.length - 1
      if (!CHANGES.has(step.kind) && !last) continue
      let images = 0
      for (const image of after.crashes(random, IMAGES_PER_EVENT)) {
        if (++images > IMAGES_PER_EVENT) break
        const found = `${promises.indexOf(promised)} ${last} ${hashOf(image)}`
        if (seen.has(found)) continue
        seen.add(found)
        opened++
        try {
          await inImage(afterReboot(image), backend, async (log) => check(log, promised, last ? recovery.offset : undefined))
        } catch (error) {
          const where = `killed behind event ${at} (${event.kind}), power lost at ${step.kind} ${'path' in step ? step.path : ''}`
          return { opened, failure: `${where}: ${(error as Error).message}` }
        }
      }
    }
  }
  return { opened, failure: undefined }
}

describe.each(backends)('killed, then without power during recovery (%s)', (backend) => {
  it('G1, G8: what was acknowledged is there, and the log opens', async () => {
    const { opened, failure } = await explore(backend, () => false)
    console.log(`killed, then without power, ${backend}: ${opened} images`)
    expect(failure).toBeUndefined()
    expect(opened).toBeGreaterThan(200)
  })

  it.each([
    ['the sync of MANIFEST before it is believed', firstSync(syncs)],
    ['the sync of its name', firstSync(directorySyncs)],
    ['the syncs of the directory of segments', (step: DiskEvent) => directorySyncs.has(step.kind) && 'path' in step && step.path.endsWith('segments')],
  ])('is found out when it is missing: %s', async (_what, isDropped) => {
    expect((await explore(backend, isDropped)).failure).toBeDefined()
  })
})
