import { constants } from 'node:fs'
import path from 'node:path'
import { LogError, warn } from '../errors.js'
import { ARCHIVE_HEADER_BYTES, decodeArchiveHeader } from '../format/archive-file.js'
import { parseArchiveFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { archiveDirectory, type RetentionPolicy, resolveRetention } from '../options.js'
import { removeChunks } from '../sealing/chunk-directory.js'
import type { Segment } from '../segment/segment.js'
import { consumerDrop, retentionDone } from '../telemetry/channels.js'
import { checkArchive, removeArchive } from './archive-moves.js'
import { closedSegment } from './closed-segment.js'
import type { CommitDriver } from './commit-driver.js'
import { type ConsumerFile, readConsumers, removeConsumer, slowestOf } from './consumer-files.js'
import { type LagSource, lagBytes } from './consumers.js'
import type { ClosedSegment } from './manifest.js'
import type { LogParts } from './parts.js'
import { planRetention, type RetentionHold, type RetentionPlan } from './retention-plan.js'

/** What a pass of retention did, or with `dryRun` would do. */
export interface RetentionResult {
  /** First offset kept. */
  readonly startOffset: number
  /** Segments that left the log or gave up their files. */
  readonly removedSegments: number
  /** Bytes of their files and of archives that were deleted. */
  readonly removedBytes: number
  /** What kept segments beyond the limits; undefined: nothing. */
  readonly heldBy: RetentionHold | undefined
  /** Consumers that lagged more than their `maxLagBytes`: they are deleted. */
  readonly droppedConsumers: readonly string[]
}

/** A log that is open for writing. */
export interface RetentionLog extends LagSource {
  readonly startOffset: number
  readonly committedOffset: number
  readonly closed: boolean
  readonly chunks: { forget(gone: (chunk: ChunkRange) => boolean): void }
  /** Throws when nothing may be written. */
  checkWritable(): void
  commitDriver(): CommitDriver
}

interface ChunkRange {
  readonly first: number
  readonly last: number
}

/** Files that MANIFEST does not name any more. */
interface GoneFiles {
  readonly segments: readonly Segment[]
  /** Paths. */
  readonly archives: readonly string[]
  readonly chunk: (chunk: ChunkRange) => boolean
}

/** One pass; what is decided is decided between two rolls, and files go one at a time, so that no append waits for more than one of them. */
export async function retain(log: RetentionLog, policy: RetentionPolicy): Promise<RetentionResult> {
  const settings = resolveRetention(policy)
  const { parts, tail } = log.commitDriver()
  const { result, gone, problem } = await parts.tasks.add(() => pass(log, parts, settings))
  if (gone !== undefined) {
    tail?.truncateBefore(log.startOffset)
    await removeFiles(log, parts, gone)
  }
  if (problem !== undefined) throw problem
  if (gone !== undefined && result.removedSegments > 0 && retentionDone.hasSubscribers)
    retentionDone.publish({ log: parts.directory, startOffset: result.startOffset, segments: result.removedSegments, bytes: result.removedBytes })
  return result
}

/**
 * Moves the start to `offset`, whoever may still want what is below. Closed segments wholly below go, up to the first that is quarantined and never the last.
 * ERR_SEALOG_CONFLICT when the log in which `offset` was looked up, that of `driver`, was or is being opened anew: the offset may be cut.
 */
export async function removeBefore(log: RetentionLog, driver: CommitDriver, offset: number): Promise<void> {
  const { parts, tail } = driver
  const gone = await parts.tasks.add(function* () {
    log.checkWritable()
    if (log.commitDriver() !== driver) throw new LogError('ERR_SEALOG_CONFLICT', `${parts.directory} was truncated or reopened meanwhile`, { offset })
    const { closed, startOffset } = parts.manifest.state
    if (offset <= startOffset) return undefined
    const kept = closed.findIndex((segment) => segment.end > offset || segment.quarantined !== undefined || segment.base === parts.segments.last?.base)
    return yield* leave(parts, offset, kept < 0 ? closed : closed.slice(0, kept), [])
  })
  if (gone === undefined) return
  tail?.truncateBefore(offset)
  await removeFiles(log, parts, gone)
}

function* pass(
  log: RetentionLog,
  parts: LogParts,
  settings: ReturnType<typeof resolveRetention>,
): Procedure<{ result: RetentionResult; gone: GoneFiles | undefined; problem: LogError | undefined }> {
  const { manifest, segments } = parts
  const consumers = settings.ignoreConsumers ? [] : yield* readConsumers(parts)
  const dropped = yield* dropLagging(log, parts, consumers, settings.dryRun)
  const { state } = manifest
  const facts = {
    state,
    lastBase: segments.last?.base ?? -1,
    committedOffset: log.committedOffset,
    openBytes: segments.all.reduce((sum, segment) => sum + (segment.closed ? 0 : segment.endPosition), 0),
    slowest: slowestOf(consumers.filter(({ name }) => !dropped.includes(name))),
    now: parts.sources.now(),
  }
  const planned = planRetention(settings, settings.archive, settings.force, facts)
  const { bad, problem } = yield* badArchives(parts, planned)
  // A segment whose archive is no good counts as one that has none.
  const closed = bad.length === 0 ? state.closed : state.closed.map((segment) => (bad.includes(segment) ? { ...segment, archive: undefined } : segment))
  const plan = bad.length === 0 ? planned : planRetention(settings, settings.archive, settings.force, { ...facts, state: { ...state, closed } })
  const files = [...plan.removed, ...plan.released].filter((segment) => segment.local !== false)
  const archives = [...plan.removed.filter((segment) => !plan.kept.includes(segment)), ...plan.historyRemoved]
  const result = {
    startOffset: plan.startOffset,
    removedSegments: plan.removed.length + plan.released.length,
    removedBytes: files.reduce((sum, { bytes }) => sum + bytes, 0) + archives.reduce((sum, { archive }) => sum + (archive?.bytes ?? 0), 0),
    heldBy: plan.heldBy,
    droppedConsumers: dropped,
  }
  if (settings.dryRun) return { result, gone: undefined, problem }
  const left: GoneFiles[] = []
  if (plan.historyRemoved.length > 0) {
    yield* manifest.append({ type: 'historyRemoved', bases: basesOf(plan.historyRemoved) })
    left.push({ segments: [], archives: archivePaths(parts, plan.historyRemoved), chunk: () => false })
  }
  if (plan.removed.length > 0 || plan.startOffset > state.startOffset) left.push(yield* leave(parts, plan.startOffset, plan.removed, plan.kept))
  if (plan.released.length > 0) left.push(yield* release(parts, plan.released))
  const gone = {
    segments: left.flatMap((part) => part.segments),
    archives: [...left.flatMap((part) => part.archives), ...(yield* forgottenArchives(parts))],
    chunk: (chunk: ChunkRange) => left.some((part) => part.chunk(chunk)),
  }
  return { result, gone, problem }
}

/** Segments whose files are to go because of an archive that is missing, damaged or of something else; and what is wrong with the first. */
function* badArchives(parts: LogParts, plan: RetentionPlan): Procedure<{ bad: readonly ClosedSegment[]; problem: LogError | undefined }> {
  const bad: ClosedSegment[] = []
  let problem: LogError | undefined
  for (const segment of [...plan.kept, ...plan.released]) {
    if (segment.local === false) continue
    try {
      yield* checkArchive(parts, segment)
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      bad.push(segment)
      problem ??= error
    }
  }
  return { bad, problem }
}

/** Names of the consumers that lag too far; they are deleted. */
function* dropLagging(log: RetentionLog, parts: LogParts, consumers: readonly ConsumerFile[], dryRun: boolean): Procedure<string[]> {
  const dropped: string[] = []
  for (const consumer of consumers) {
    const maxLagBytes = consumer.error === undefined ? consumer.slot.maxLagBytes : undefined
    if (consumer.error !== undefined || maxLagBytes === undefined) continue
    const lag = yield* lagBytes(log, consumer.slot.offset)
    if (lag <= maxLagBytes) continue
    dropped.push(consumer.name)
    if (dryRun) continue
    yield* removeConsumer(parts, consumer.name)
    if (consumerDrop.hasSubscribers) consumerDrop.publish({ log: parts.directory, consumer: consumer.name, lagBytes: lag, maxLagBytes })
    warn(
      'SEALOG_CONSUMER_DROPPED',
      `${parts.directory}: the consumer ${consumer.name}, at offset ${consumer.slot.offset}, lagged ${lag} bytes, more than the ${maxLagBytes} it may, and was dropped`,
    )
  }
  return dropped
}

/** MANIFEST first, then nobody finds the segments any more; reads under way keep their descriptors. `kept`: their archives stay as history. */
function* leave(parts: LogParts, offset: number, removed: readonly ClosedSegment[], kept: readonly ClosedSegment[]): Procedure<GoneFiles> {
  const { manifest, segments } = parts
  yield* manifest.append({ type: 'start', offset, removed: basesOf(removed), kept: basesOf(kept) })
  const bases = new Set(basesOf(removed))
  const gone = segments.remove((segment) => segment.closed && bases.has(segment.base))
  retire(parts, gone)
  const first = segments.all[0]?.base ?? offset
  const archives = archivePaths(
    parts,
    removed.filter((segment) => !kept.includes(segment)),
  )
  return { segments: gone, archives, chunk: (chunk) => removed.length > 0 && chunk.last < first }
}

/** The segment files of archived segments are given up: from here on they are read from their archives. */
export function* release(parts: LogParts, released: readonly ClosedSegment[]): Procedure<GoneFiles> {
  const { manifest, segments, directory, session } = parts
  const bases = new Set(basesOf(released))
  // Nothing is given up for an archive that is not where it should be.
  for (const facts of released) yield* checkArchive(parts, facts)
  yield* manifest.append({ type: 'released', bases: [...bases] })
  const folder = archiveDirectory(directory, session.archive)
  const gone = segments.all.filter((segment) => bases.has(segment.base) && segment.archive === undefined)
  segments.replace(manifest.state.closed.filter((facts) => bases.has(facts.base)).map((facts) => closedSegment(directory, facts, folder)))
  retire(parts, gone)
  return { segments: gone, archives: [], chunk: (chunk) => gone.some((segment) => chunk.first >= segment.base && chunk.last < segment.end) }
}

/** Unlinks what MANIFEST does not name any more. What a failure, a crash or the closing of the log leaves is removed when it is opened, or by the next pass. */
export async function removeFiles(log: RetentionLog, parts: LogParts, gone: GoneFiles): Promise<void> {
  const { tasks, directory, session } = parts
  log.chunks.forget(gone.chunk)
  const steps: Array<() => Procedure<void>> = []
  for (const segment of gone.segments) steps.push(() => removeSegmentFile(segment))
  if (gone.segments.length > 0) {
    steps.push(() => io.syncDirectory(path.join(directory, SEGMENTS_DIRECTORY)))
    steps.push(() => removeChunks(directory, gone.chunk))
  }
  for (const file of gone.archives) {
    steps.push(function* () {
      yield* removeArchive(parts, file)
    })
  }
  if (gone.archives.length > 0) steps.push(() => io.syncDirectory(archiveDirectory(directory, session.archive)))
  let problem: unknown
  for (const step of steps) {
    if (log.closed) break
    await tasks.add(step).catch((error: unknown) => {
      problem ??= error
    })
  }
  if (problem !== undefined) throw problem
}

/** Who reads them now closes them. */
function retire(parts: LogParts, segments: readonly Segment[]): void {
  for (const segment of segments) {
    segment.retired = true
    parts.environment.forget(segment)
  }
}

function* removeSegmentFile(segment: Segment): Procedure<void> {
  yield* segment.release()
  // Of one that was released before there is no file.
  if (segment.archive !== undefined) return
  yield* io.unlink(segment.path)
  yield* io.unlink(segment.indexPath)
}

/** Logs whose archives were looked through since they were opened. */
const lookedThrough = new WeakSet<LogParts>()

/** Archives of this log in front of its start that MANIFEST does not name: left when a session ended between MANIFEST and unlink, so one look in each is enough. */
function* forgottenArchives(parts: LogParts): Procedure<string[]> {
  if (lookedThrough.has(parts)) return []
  lookedThrough.add(parts)
  const { manifest, environment, directory, session } = parts
  const { closed, history = [], startOffset } = manifest.state
  const folder = archiveDirectory(directory, session.archive)
  const named = new Set(basesOf([...closed, ...history]))
  const forgotten: string[] = []
  for (const name of (yield* io.list(folder)) ?? []) {
    const range = parseArchiveFile(name)
    if (range === undefined || range.last >= startOffset || named.has(range.base)) continue
    const file = path.join(folder, name)
    const bytes = yield* io.readFile(file, constants.O_RDONLY, ARCHIVE_HEADER_BYTES)
    const header = bytes === undefined ? undefined : decodeArchiveHeader(bytes, environment.kernels.crc32c)
    if (header !== undefined && 'logId' in header && Buffer.compare(header.logId, manifest.logId) === 0) forgotten.push(file)
  }
  return forgotten
}

function basesOf(segments: readonly ClosedSegment[]): number[] {
  return segments.map((segment) => segment.base)
}

function archivePaths(parts: LogParts, segments: readonly ClosedSegment[]): string[] {
  const folder = archiveDirectory(parts.directory, parts.session.archive)
  return segments.flatMap(({ archive }) => (archive === undefined ? [] : [path.join(folder, archive.file)]))
}
