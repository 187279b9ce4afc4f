import { constants } from 'node:fs'
import path from 'node:path'
import { LogError, warn } from '../errors.js'
import { decodeCommitted, type EndSlot, encodeCommitted } from '../format/committed-file.js'
import { COMMITTED_BYTES, COMMITTED_SLOT, FOOTER_FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { COMMITTED_FILE, indexFile, MANIFEST_FILE, parseIndexFile, parseSegmentFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { EACCES, EINVAL, EPERM, EROFS } from '../kernels/system-error.js'
import type { TaskQueue } from '../kernels/task.js'
import { adoptSettings, archiveDirectory, type LogOptions, newSettings, type SessionOptions, storedSettings } from '../options.js'
import { verifyArchive } from '../segment/archived-verify.js'
import { cutTail, saveTail } from '../segment/cut-tail.js'
import { corrupt, damageError, readTail, type Tail, type TailPart } from '../segment/recovery.js'
import { Segment } from '../segment/segment.js'
import { SegmentSet } from '../segment/segment-set.js'
import { closedSegment } from './closed-segment.js'
import { setBackConsumers } from './consumer-files.js'
import type { Environment } from './environment.js'
import type { WriterLock } from './lock.js'
import { Manifest, type ManifestState } from './manifest.js'
import type { LogParts, Sources } from './parts.js'
import type { LogEnd } from './segment-writer.js'
import { applyTruncation } from './truncation.js'
import { verifyClosed } from './verify-segment.js'

const COPY_BYTES = 1024 * 1024
const NOT_OURS: ReadonlySet<number> = new Set([EACCES, EPERM, EROFS, EINVAL])

/** A log as recovery leaves it: everything that is served is durable. */
export interface OpenedLog {
  readonly parts: LogParts
  readonly end: LogEnd
  /** The segment to go on with, and its state vector. */
  readonly active: TailPart | undefined
  /** Complete segments that still have to be closed in MANIFEST, in order. */
  readonly complete: readonly TailPart[]
  /** Set when a torn tail could not be cut: reading only. */
  readonly readOnlyReason: LogError | undefined
}

/** Creates the directory of a log that is not there yet. Settings that a new log cannot have are refused before anything is created. */
export function* makePlace(directory: string, options: LogOptions, session: SessionOptions): Procedure<void> {
  if ((yield* io.statPath(path.join(directory, MANIFEST_FILE))) !== undefined) return
  if (session.create) newSettings(options, session)
  yield* makeDirectories(directory, session.create)
}

/** Each new directory is synced in its parent; one that is there may have been made by a process that was killed before it came to that. */
function* makeDirectories(directory: string, create: boolean): Procedure<void> {
  const parent = path.dirname(directory)
  if ((yield* io.statPath(directory)) !== undefined) {
    if (create && parent !== directory) yield* syncIfAllowed(parent)
    return
  }
  if (!create) throw new LogError('ERR_SEALOG_NOT_FOUND', `there is no log in ${directory}`, { file: directory })
  yield* makeDirectories(parent, true)
  if (yield* io.mkdir(directory)) yield* io.syncDirectory(parent)
}

/** A directory that may only be passed through was not changed by a process of ours. */
function* syncIfAllowed(directory: string): Procedure<void> {
  try {
    yield* io.syncDirectory(directory)
  } catch (error) {
    const { errno = 0 } = error as LogError
    if (!NOT_OURS.has(-errno)) throw error
  }
}

/** Opens or creates the log under the lock: intents, recovery (format.md rules 1 to 11), epoch, COMMITTED. */
export function* openUnderLock(
  directory: string,
  environment: Environment,
  options: LogOptions,
  session: SessionOptions,
  lock: WriterLock,
  sources: Sources,
  tasks: TaskQueue,
  previousEnd: number | undefined,
): Procedure<OpenedLog> {
  const { kernels } = environment
  const folder = path.join(directory, SEGMENTS_DIRECTORY)
  const listed = yield* io.list(folder)
  const names = listed ?? []
  let manifest = yield* Manifest.load(directory, kernels)
  const created = manifest === undefined
  if (listed === undefined && (manifest !== undefined || session.create)) {
    yield* io.mkdir(folder)
    // Of a new log it becomes durable with the name of MANIFEST.
    if (manifest !== undefined) yield* io.syncDirectory(directory)
  }
  if (manifest === undefined) {
    if (names.some((name) => parseSegmentFile(name) !== undefined)) {
      throw new LogError('ERR_SEALOG_MANIFEST', `${path.join(directory, MANIFEST_FILE)} is missing but there are segments`, {
        file: path.join(directory, MANIFEST_FILE),
      })
    }
    if (!session.create) throw new LogError('ERR_SEALOG_NOT_FOUND', `there is no log in ${directory}`, { file: directory })
    const state: ManifestState = { settings: newSettings(options, session), epoch: 1, startOffset: 0, closed: [], intent: undefined, lost: [] }
    manifest = yield* Manifest.create(directory, kernels, sources.randomBytes(16), sources.now(), state)
  }
  if (!created && (previousEnd !== undefined || lock.previousState !== 'closed')) yield* manifest.makeDurable()
  const settings = adoptSettings(manifest.state.settings, options, session)
  const logSeed = kernels.crc32c(manifest.logId, 0)
  const parts: LogParts = { directory, environment, manifest, segments: new SegmentSet(), settings, session, logSeed, tasks, sources }
  const { intent } = manifest.state
  if (intent !== undefined) yield* applyTruncation(parts, intent)
  const durable = yield* takeCommitted(directory, manifest, logSeed, kernels)

  const unclosed = yield* sweep(parts, intent === undefined ? names : ((yield* io.list(folder)) ?? []))
  const closed = manifest.state.closed.map((facts) => closedSegment(directory, facts, archiveDirectory(directory, session.archive)))
  try {
    return yield* recover(parts, closed, unclosed, durable, options, lock, created, previousEnd)
  } catch (error) {
    for (const segment of [...closed, ...unclosed]) {
      environment.forget(segment)
      yield* segment.release()
    }
    throw error
  }
}

/** From what is on disk to a log that may be served; refuses rot. */
function* recover(
  parts: LogParts,
  closed: readonly Segment[],
  unclosed: readonly Segment[],
  durable: EndSlot | undefined,
  options: LogOptions,
  lock: WriterLock,
  created: boolean,
  previousEnd: number | undefined,
): Procedure<OpenedLog> {
  const { directory, environment, manifest, session } = parts
  const { kernels } = environment
  const lastClosed = manifest.state.closed.at(-1)
  const link = lastClosed === undefined ? undefined : { chain: lastClosed.linkChain, end: lastClosed.end }
  checkContinuity(parts, unclosed)
  const evict = previousEnd !== undefined || lock.previousState === 'open'
  const context = { directory, kernels, logId: manifest.logId, intervalBytes: session.indexIntervalBytes, durable, evict }
  const tail = yield* readTail(context, unclosed, constants.O_RDWR, link)
  if (session.recovery === 'strict') {
    if (tail.damage !== undefined) throw damageError(tail.damage)
    for (const [i, segment] of closed.entries()) {
      if (segment.archive === undefined) yield* verifyClosed(segment, kernels, manifest.logId, session.indexIntervalBytes)
      else yield* verifyArchive(segment, segment.archive, environment.archivedBlocks, kernels, manifest.logId, manifest.state.closed[i].archive?.crc)
    }
  }
  if (tail.damage?.rot !== undefined) throw damageError(tail.damage)
  parts.segments.reset([...closed, ...tail.parts.map((part) => part.segment)])
  for (const part of tail.parts) environment.touch(part.segment)
  const end = logEnd(parts, tail)
  const seen = tail.damage?.cutsGroups === true || (previousEnd !== undefined && end.offset < previousEnd)
  const unknown = lock.previousState === undefined && !lock.opened && !created && end.offset > 0 && tail.parts.at(-1)?.marked === false
  const readOnlyReason = yield* prepareCut(parts, tail, end.offset, seen || unknown || lock.raiseEpoch)
  if (readOnlyReason === undefined) {
    if (tail.damage !== undefined) yield* cutTail(directory, tail.damage, tail.cut)
    // What creating makes is synced, and holds nothing yet.
    if (!created) yield* makeDurable(parts, tail, lock.previousState === 'closed' && tail.damage === undefined)
    const kept = storedSettings(manifest.state.settings, parts.settings, options)
    if (kept !== manifest.state.settings) yield* manifest.append({ type: 'settings', settings: kept })
    yield* lock.recovered()
    yield* writeCommitted(parts, end.offset)
  }
  lock.opened = true
  const last = tail.parts.at(-1)
  const active = last !== undefined && last.footer === undefined ? last : undefined
  return { parts, end, active, complete: tail.parts.filter((part) => part !== active), readOnlyReason }
}

/** What has to be safe before anything is cut: the bytes themselves and, where readers may have seen them, the new epoch. Returns why it cannot be. */
function* prepareCut(parts: LogParts, tail: Tail, end: number, raiseEpoch: boolean): Procedure<LogError | undefined> {
  const { directory, manifest, environment } = parts
  try {
    if (tail.damage !== undefined) yield* saveTail(directory, tail.damage, tail.cut, environment.kernels)
    if (raiseEpoch) {
      yield* setBackConsumers(parts, end)
      yield* manifest.append({ type: 'epoch', epoch: manifest.state.epoch + 1 })
    }
    return undefined
  } catch (error) {
    if (tail.damage === undefined || !(error instanceof LogError) || error.code !== 'ERR_SEALOG_NO_SPACE') throw error
    const { path: file } = tail.damage.segment
    return new LogError('ERR_SEALOG_NO_SPACE_TO_REPAIR', `no space to save the torn tail of ${file}`, { cause: error, file, position: tail.damage.position })
  }
}

/** Reads COMMITTED and zeroes its committed slot: until recovery is done readers must not believe the dead writer's value. */
function* takeCommitted(directory: string, manifest: Manifest, logSeed: number, kernels: k.Kernels): Procedure<EndSlot | undefined> {
  const file = path.join(directory, COMMITTED_FILE)
  const fd = yield* io.openExisting(file, constants.O_RDWR)
  if (fd === undefined) return undefined
  try {
    const bytes = new Uint8Array(COMMITTED_BYTES)
    const length = yield* io.read(fd, 0, bytes, file)
    yield* io.write(fd, COMMITTED_SLOT, new Uint8Array(16), file)
    const { durable } = decodeCommitted(bytes.subarray(0, length), logSeed, kernels.crc32c)
    return durable !== undefined && durable.epoch === manifest.state.epoch ? durable : undefined
  } finally {
    yield* io.close(fd)
  }
}

export function* writeCommitted(parts: LogParts, end: number): Procedure<void> {
  const file = path.join(parts.directory, COMMITTED_FILE)
  const slot = { end, epoch: parts.manifest.state.epoch }
  const fd = yield* io.open(file, constants.O_RDWR | constants.O_CREAT)
  try {
    yield* io.write(fd, 0, encodeCommitted(slot, slot, parts.logSeed, parts.environment.kernels.crc32c), file)
  } finally {
    yield* io.close(fd)
  }
}

/** Removes temporaries, files of removed segments and of generations that are not live; returns the unclosed segments in order. */
function* sweep(parts: LogParts, names: readonly string[]): Procedure<Segment[]> {
  const { directory, manifest } = parts
  const folder = path.join(directory, SEGMENTS_DIRECTORY)
  const { closed, startOffset } = manifest.state
  const closedEnd = closed.at(-1)?.end
  // What was given up has no file here: one that is left over goes.
  const kept = closed.filter((segment) => segment.local !== false)
  const live = new Map(kept.map((segment) => [segment.base, segment.generation]))
  const present = new Set<number>()
  const unclosed: Segment[] = []
  for (const name of names) {
    const segment = parseSegmentFile(name)
    if (segment === undefined) {
      if (name.endsWith('.tmp')) yield* io.unlink(path.join(folder, name))
    } else if (live.get(segment.base) === segment.generation) {
      present.add(segment.base)
    } else if (
      live.has(segment.base) ||
      segment.generation > 0 ||
      segment.base < (closedEnd ?? 0) ||
      (closedEnd === undefined && segment.base < startOffset && hasLater(names, segment.base, startOffset))
    ) {
      const stale = new Segment(directory, segment.base, segment.generation, 0, 0, true)
      yield* io.unlink(stale.path)
      yield* io.unlink(stale.indexPath)
    } else {
      unclosed.push(new Segment(directory, segment.base, 0, segment.base, SEGMENT_HEADER_BYTES, false))
    }
  }
  for (const segment of kept) {
    if (!present.has(segment.base)) {
      const missing = new Segment(directory, segment.base, segment.generation, segment.end, 0, true)
      throw corrupt(missing, 0, segment.base, 'the segment file is missing', segment.end)
    }
  }
  // A power loss can take a segment and leave its index.
  const indexed = new Set([...kept, ...unclosed].map((segment) => indexFile(segment.base, segment.generation)))
  for (const name of names) if (parseIndexFile(name) !== undefined && !indexed.has(name)) yield* io.unlink(path.join(folder, name))
  for (const name of (yield* io.list(directory)) ?? []) if (name.endsWith('.tmp')) yield* io.unlink(path.join(directory, name))
  return unclosed.sort((a, b) => a.base - b.base)
}

/** Is there a segment that begins above `base` and still at or below the start of the log? Then `base` was removed. */
function hasLater(names: readonly string[], base: number, startOffset: number): boolean {
  return names.some((name) => {
    const other = parseSegmentFile(name)
    return other !== undefined && other.base > base && other.base <= startOffset
  })
}

function checkContinuity(parts: LogParts, unclosed: readonly Segment[]): void {
  const { closed, startOffset } = parts.manifest.state
  const first = closed[0]?.base ?? unclosed[0]?.base
  if (first !== undefined && first > startOffset) {
    throw new LogError('ERR_SEALOG_CORRUPT', `${parts.directory}: the segments of offsets ${startOffset} to ${first - 1} are missing`, {
      offset: startOffset,
      endOffset: first,
      file: parts.directory,
      position: 0,
    })
  }
  for (let i = 1; i < closed.length; i++) {
    if (closed[i].base !== closed[i - 1].end) {
      throw new LogError('ERR_SEALOG_MANIFEST', `MANIFEST has a gap between offsets ${closed[i - 1].end} and ${closed[i].base}`, {
        offset: closed[i - 1].end,
        file: parts.directory,
      })
    }
  }
}

function logEnd(parts: LogParts, tail: Tail): LogEnd {
  const last = tail.parts.at(-1)
  if (last !== undefined) {
    return {
      offset: last.state[k.STATE_NEXT_OFFSET],
      chain: last.state[k.STATE_CHAIN],
      runningTime: last.state[k.STATE_RUNNING_TIME],
      chunkSequence: (last.segment.header?.firstChunkSequence ?? 0) + (last.footer?.chunks ?? 0),
      syncedOffset: last.state[k.STATE_NEXT_OFFSET],
    }
  }
  const closed = parts.manifest.state.closed.at(-1)
  const offset = Math.max(closed?.end ?? 0, parts.manifest.state.startOffset)
  return {
    offset,
    chain: closed?.linkChain ?? 0,
    runningTime: closed?.runningTime ?? -1,
    chunkSequence: closed === undefined ? 0 : closed.firstChunkSequence + closed.chunks,
    syncedOffset: offset,
  }
}

/**
 * Rule 7: what was recovered beyond the last proven sync is written once more in place (the page cache may hold lost, clean pages), everything unclosed
 * is synced, directories too. After a clean end there is nothing to do.
 */
function* makeDurable(parts: LogParts, tail: Tail, cleanly: boolean): Procedure<void> {
  const end = tail.parts.at(-1)?.state[k.STATE_NEXT_OFFSET] ?? 0
  const repaired = tail.parts.some((part) => part.damagedMarks.length > 0)
  if (cleanly && !repaired && tail.provenSynced >= end) return
  for (const part of tail.parts) {
    const { segment, state } = part
    for (const mark of part.damagedMarks) {
      yield* io.write(segment.fd, mark.position, mark.bytes, segment.path)
      warn('SEALOG_DAMAGED_MARK', `${segment.path}: a damaged idle mark at position ${mark.position} was written anew; no record is affected`)
    }
    const entry = segment.index === undefined || tail.provenSynced < segment.base ? -1 : segment.index.find(tail.provenSynced)
    const from = entry < 0 || segment.index === undefined ? SEGMENT_HEADER_BYTES : segment.index.position(entry)
    const to = state[k.STATE_POSITION] + (part.footer === undefined ? 0 : FOOTER_FRAME_BYTES)
    const buffer = new Uint8Array(Math.max(1, Math.min(COPY_BYTES, to - from)))
    for (let at = from; at < to; ) {
      const length = yield* io.read(segment.fd, at, buffer.subarray(0, Math.min(buffer.length, to - at)), segment.path)
      if (length === 0) break
      yield* io.write(segment.fd, at, buffer.subarray(0, length), segment.path)
      at += length
    }
    yield* io.datasync(segment.fd, segment.path)
    state[k.STATE_SYNCED_OFFSET] = end
  }
  yield* io.syncDirectory(path.join(parts.directory, SEGMENTS_DIRECTORY))
  yield* io.syncDirectory(parts.directory)
}
