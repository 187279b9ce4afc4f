import path from 'node:path'
import { LogError } from '../errors.js'
import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { SEGMENTS_DIRECTORY, segmentFile } from '../format/names.js'
import type { NewSegmentHeader, SegmentHeader } from '../format/segment-header.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { findChunks } from '../sealing/chunk-directory.js'
import { Segment } from '../segment/segment.js'
import type { CommitDriver } from './commit-driver.js'
import type { Environment } from './environment.js'
import type { LogChunks } from './log-chunks.js'
import type { ClosedSegment } from './manifest.js'
import type { LogParts } from './parts.js'
import { removeLargeFile } from './remove-file.js'

/** What replacing segments needs of the log that is open for writing. */
export interface RewrittenLog {
  readonly directory: string
  readonly environment: Environment
  readonly durableOffset: number
  readonly closed: boolean
  readonly chunks: LogChunks
  /** Throws when nothing may be written. */
  checkWritable(): void
  commitDriver(): CommitDriver
  prepare(segment: Segment): Procedure<void>
}

/** A segment and the file that is to replace it, complete, synced and under its name. */
export interface NextGeneration {
  readonly old: Segment
  readonly segment: Segment
  readonly facts: ClosedSegment
}

/** Header of the next generation of a segment. */
export function nextHeader({ sources, manifest }: LogParts, header: SegmentHeader, facts: ClosedSegment): NewSegmentHeader {
  return {
    ...header,
    sparse: true,
    salt: sources.randomBytes(8),
    createdAt: sources.now(),
    epoch: manifest.state.epoch,
    generation: facts.generation + 1,
    firstChunkSequence: facts.firstChunkSequence,
  }
}

export function temporaryPath(directory: string, facts: ClosedSegment): string {
  return `${path.join(directory, SEGMENTS_DIRECTORY, segmentFile(facts.base, facts.generation + 1))}.tmp`
}

/** Gives the complete temporary file of `bytes` its name, and the segment its index. MANIFEST does not know it yet: the next open would remove it. */
export function* nameGeneration(log: RewrittenLog, old: Segment, before: ClosedSegment, bytes: number): Procedure<NextGeneration> {
  const facts: ClosedSegment = { ...before, generation: before.generation + 1, bytes }
  const segment = new Segment(log.directory, facts.base, facts.generation, facts.end, bytes - FOOTER_FRAME_BYTES, true)
  const generation = { old, segment, facts }
  try {
    yield* io.rename(temporaryPath(log.directory, before), segment.path)
    yield* io.syncDirectory(path.dirname(segment.path))
    yield* log.prepare(segment)
    return generation
  } catch (error) {
    yield* dropGenerations(log, [generation])
    throw error
  }
}

/**
 * The switch: one MANIFEST record lets all of them take the place of the old generations, for this process with the next read. Readers under way keep what they read.
 * Versions of keys below `through` may be gone then. ERR_SEALOG_CONFLICT, and nothing is changed, when the log was opened anew or a segment is another one by now; so it is
 * after a failure of MANIFEST, but for one that leaves open what it holds, which poisons the log. Runs in the task queue of the log.
 */
export function* switchGenerations(log: RewrittenLog, parts: LogParts, generations: readonly NextGeneration[], through: number): Procedure<void> {
  const { manifest, segments, environment } = parts
  const from = generations[0].facts.base
  const to = generations[generations.length - 1].facts.end
  const within = (chunk: { readonly first: number; readonly last: number }) => chunk.first >= from && chunk.last < to
  try {
    log.checkWritable()
    checkCurrent(log, parts, generations)
  } catch (error) {
    yield* dropGenerations(log, generations)
    throw error
  }
  try {
    yield* manifest.append({ type: 'compacted', segments: generations.map(({ facts }) => facts), through })
  } catch (error) {
    if (manifest.unsure) {
      // Both generations stay, and the next open takes the one that MANIFEST names.
      yield* letGo(log, generations)
      log.commitDriver().fail(error, `${log.directory}: compaction could not be written to MANIFEST: ${(error as Error).message}`)
    } else {
      yield* dropGenerations(log, generations)
    }
    throw error
  }
  for (const { old } of generations) {
    old.retired = true
    environment.forget(old)
  }
  try {
    // From the old files, which are retired, no chunk comes any more, and from the new ones none yet.
    for (const file of yield* findChunks(log.directory, within)) yield* io.unlink(file)
  } finally {
    segments.replace(generations.map(({ segment }) => segment))
    // What is cached is what the files hold.
    log.commitDriver().tail?.truncateBefore(to)
    log.chunks.replaced(from, to)
  }
}

/** Removes the files that were replaced, when nothing pins them any more; the next open removes those of a log that was closed meanwhile. */
export function* removeReplaced(log: RewrittenLog, generations: readonly NextGeneration[]): Procedure<void> {
  for (const { old } of generations) {
    yield* old.release()
    if (log.closed) return
    // The index first: without its segment nobody would look for it any more.
    yield* io.unlink(old.indexPath)
    yield* removeLargeFile(old.path)
  }
}

function checkCurrent(log: RewrittenLog, parts: LogParts, generations: readonly NextGeneration[]): void {
  const current = new Map(parts.manifest.state.closed.map((facts) => [facts.base, facts]))
  const valid = ({ old }: NextGeneration) => {
    const facts = current.get(old.base)
    return !old.retired && facts !== undefined && facts.generation === old.generation && isReplaceable(facts)
  }
  if (log.commitDriver().parts !== parts || !generations.every(valid))
    throw new LogError('ERR_SEALOG_CONFLICT', `${log.directory}: segments were changed while they were compacted`)
}

/** Removes files of generations that did not take their place; those of a closed log may be another writer's by now, and the next open removes them. */
export function* dropGenerations(log: RewrittenLog, generations: readonly NextGeneration[]): Procedure<void> {
  yield* letGo(log, generations)
  for (const { segment } of generations) {
    if (log.closed) return
    yield* io.unlink(segment.indexPath)
    yield* io.unlink(segment.path)
  }
}

/** Closes the files of generations that did not take their place. */
function* letGo({ environment }: RewrittenLog, generations: readonly NextGeneration[]): Procedure<void> {
  for (const { segment } of generations) {
    segment.retired = true
    environment.forget(segment)
    yield* segment.release()
  }
}

/** Archived segments are what their archives are, and those set aside are nobody's to change. */
export function isReplaceable(facts: ClosedSegment): boolean {
  return facts.archive === undefined && facts.local !== false && facts.quarantined === undefined
}
