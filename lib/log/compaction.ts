import { ChecksumError, LogError } from '../errors.js'
import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import type { SegmentHeader } from '../format/segment-header.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import { SparseFile } from '../segment/sparse-file.js'
import { type NextGeneration, nameGeneration, nextHeader, type RewrittenLog, removeReplaced, switchGenerations, temporaryPath } from './generations.js'
import type { ClosedSegment } from './manifest.js'

/** Bytes read by one request; between two of them the pass waits, or ends. */
const SLICE_BYTES = 8 * 1024 * 1024

/** What decides about the records of a pass over the log. */
export interface CompactionRules {
  /** A version of the key index that nobody changes: its records are kept, and all that is not below `through` is none of the pass's business. */
  readonly index: k.IndexHandle
  /** Further versions that somebody still reads by, asked for before every slice. */
  readonly views: () => readonly k.IndexHandle[]
  /** The last record that the version knows; all below it is durable. */
  readonly through: number
  /** A segment of whose records a smaller share of bytes is dead is left as it is; 0: one dead record suffices. */
  readonly minDeadRatio: number
  /** Called with the bytes read since the last call: waits as long as the rate limit asks, throws when the pass is to end. */
  readonly pace: (bytes: number) => Promise<void>
}

/** What became of a segment. `clean`: nothing in it is dead; `left`: too little is. */
export interface CompactedSegment {
  readonly kind: 'clean' | 'left' | 'rewritten'
  readonly recordsRemoved: number
  readonly bytesBefore: number
  readonly bytesAfter: number
}

/**
 * The closed segments that a pass may look at, oldest first: those that end at or below `limit` and what is durable, without the newest, which hold the last
 * `keepCompleteChunks` complete chunks (of a log that seals nothing: as many bytes). Among them may be some that cannot be replaced (`isReplaceable`).
 */
export function compactableSegments(log: RewrittenLog, limit: number, keepCompleteChunks: number): readonly ClosedSegment[] {
  const { parts, writer } = log.commitDriver()
  const { closed } = parts.manifest.state
  const { form, chunkBytes } = parts.settings
  const sealed = form !== 'none'
  const wanted = sealed ? keepCompleteChunks : keepCompleteChunks * chunkBytes
  let kept = sealed && writer.active !== undefined ? writer.state()[k.STATE_CHUNKS] : 0
  let count = closed.length
  while (count > 0 && kept < wanted) {
    count--
    kept += sealed ? closed[count].chunks : closed[count].bytes
  }
  const end = Math.min(limit, log.durableOffset)
  return closed.slice(0, count).filter((facts) => facts.end <= end)
}

/**
 * Rewrites one closed segment without its dead records and switches to the new generation. `tombstonesBefore`: tombstones older than this time (ms) go too; −1: none.
 * A crash at any step leaves one generation or the other whole. Throws ChecksumError for damage, ERR_SEALOG_NO_SPACE, and what `pace` throws; the segment is as it was then.
 */
export async function compactSegment(log: RewrittenLog, facts: ClosedSegment, rules: CompactionRules, tombstonesBefore: number): Promise<CompactedSegment> {
  const { runner } = log.environment
  const { parts } = log.commitDriver()
  const segment = parts.segments.find(facts.base)
  if (segment === undefined || segment.base !== facts.base || segment.generation !== facts.generation)
    throw new LogError('ERR_SEALOG_CONFLICT', `${log.directory}: the segment at offset ${facts.base} was changed while it was compacted`)
  const unchanged = { recordsRemoved: 0, bytesBefore: facts.bytes, bytesAfter: facts.bytes }
  let generation: NextGeneration
  let recordsRemoved: number
  // Pinned, it is open until the switch, so that nobody in this thread opens a file that is about to go.
  segment.pins++
  try {
    const header = await runner.run(openHeader(log, segment, parts.manifest.logId))
    const dry = await copyRecords(log, segment, header, rules, tombstonesBefore, undefined)
    const removed = dry[k.COMPACT_READ_RECORDS] - dry[k.COMPACT_KEPT_RECORDS]
    if (removed === 0) return { kind: 'clean', ...unchanged }
    if (dry[k.COMPACT_READ_BYTES] - dry[k.COMPACT_KEPT_BYTES] < rules.minDeadRatio * dry[k.COMPACT_READ_BYTES]) return { kind: 'left', ...unchanged }
    const file = new SparseFile(temporaryPath(log.directory, facts), nextHeader(parts, header, facts), log.environment.kernels.crc32c)
    try {
      await runner.run(file.begin())
      const numbers = await copyRecords(log, segment, header, rules, tombstonesBefore, file)
      const bytes = await runner.run(file.finish(contentOf(numbers), facts.end, facts.linkChain, facts.closedAt))
      const next = await runner.run(nameGeneration(log, segment, facts, bytes))
      await parts.tasks.add(() => switchGenerations(log, parts, [next], rules.through))
      generation = next
      recordsRemoved = numbers[k.COMPACT_READ_RECORDS] - numbers[k.COMPACT_KEPT_RECORDS]
    } catch (error) {
      await removeUnfinished(log, file)
      throw error
    }
  } finally {
    segment.pins--
    if (segment.retired) await runner.run(segment.release())
  }
  await runner.run(removeReplaced(log, [generation]))
  return { kind: 'rewritten', recordsRemoved, bytesBefore: facts.bytes, bytesAfter: generation.facts.bytes }
}

/** Closes the temporary file of a rewriting that failed, and removes it unless the log is closed: it may be another writer's by now, and the next open removes it. */
export async function removeUnfinished(log: RewrittenLog, file: { readonly path: string; abandon(): Procedure<void> }): Promise<void> {
  const { runner } = log.environment
  // What keeps it from going is what made the rewriting fail, and that is being reported.
  await runner.run(file.abandon()).catch(() => {})
  if (!log.closed) await runner.run(io.unlink(file.path)).catch(() => {})
}

function* openHeader({ environment }: RewrittenLog, segment: Segment, logId: Uint8Array): Procedure<SegmentHeader> {
  yield* segment.open(environment.kernels, logId)
  environment.touch(segment)
  if (segment.header === undefined) throw new Error('the segment is not open')
  return segment.header
}

/** All slices of a segment, to `file` or, without one, only counted. Resolves to the COMPACT_… numbers. */
async function copyRecords(
  log: RewrittenLog,
  segment: Segment,
  header: SegmentHeader,
  rules: CompactionRules,
  tombstonesBefore: number,
  file: SparseFile | undefined,
): Promise<Float64Array> {
  let numbers = firstNumbers(header, rules, tombstonesBefore, file)
  await rules.pace(0)
  for (let position = SEGMENT_HEADER_BYTES; ; ) {
    numbers = withViews(numbers, rules.views())
    await log.environment.runner.run(slice(segment, position, numbers))
    const next = numbers[k.COMPACT_NEXT_POSITION]
    const stop = numbers[k.COMPACT_STOP]
    if (stop !== k.STOP_END && stop !== k.STOP_FULL) throw new ChecksumError(segment.path, next, numbers[k.COMPACT_NEXT_OFFSET], stopWord(stop), segment.end)
    await rules.pace(next - position)
    if (stop === k.STOP_END) return numbers
    position = next
  }
}

function* slice(segment: Segment, position: number, numbers: Float64Array): Procedure<void> {
  io.check(yield { operation: k.FILE_COMPACT, fd: segment.fd, a: position, b: segment.endPosition, numbers }, k.FILE_COMPACT, segment.path)
}

function firstNumbers(header: SegmentHeader, rules: CompactionRules, tombstonesBefore: number, file: SparseFile | undefined): Float64Array {
  const numbers = new Float64Array(k.COMPACT_LENGTH)
  numbers[k.COMPACT_INDEX] = rules.index
  numbers[k.COMPACT_SEED] = header.seed
  numbers[k.COMPACT_MAX_RECORD] = header.maxRecordBytes
  numbers[k.COMPACT_SPARSE] = header.sparse ? 1 : 0
  numbers[k.COMPACT_OFFSET] = header.sparse ? -1 : header.base
  numbers[k.COMPACT_SLICE_BYTES] = SLICE_BYTES
  numbers[k.COMPACT_TOMBSTONES_BEFORE] = tombstonesBefore
  numbers[k.COMPACT_OUT_FD] = file?.fd ?? -1
  numbers[k.COMPACT_OUT_SEED] = file?.seed ?? 0
  numbers[k.COMPACT_OUT_EPOCH] = file?.epoch ?? 0
  numbers[k.COMPACT_OUT_POSITION] = SEGMENT_HEADER_BYTES
  numbers[k.COMPACT_RUNNING_TIME] = header.runningTime
  numbers[k.COMPACT_FIRST_OFFSET] = -1
  numbers[k.COMPACT_LAST_OFFSET] = -1
  numbers[k.COMPACT_MIN_TIME] = Number.POSITIVE_INFINITY
  numbers[k.COMPACT_MAX_TIME] = -1
  return numbers
}

function withViews(numbers: Float64Array, views: readonly k.IndexHandle[]): Float64Array {
  const all = new Float64Array(k.COMPACT_LENGTH + views.length)
  all.set(numbers.subarray(0, k.COMPACT_LENGTH))
  all.set(views, k.COMPACT_LENGTH)
  return all
}

function contentOf(numbers: Float64Array) {
  return {
    position: numbers[k.COMPACT_OUT_POSITION],
    chain: numbers[k.COMPACT_OUT_CHAIN],
    count: numbers[k.COMPACT_KEPT_RECORDS],
    firstOffset: numbers[k.COMPACT_FIRST_OFFSET],
    lastOffset: numbers[k.COMPACT_LAST_OFFSET],
    minTime: numbers[k.COMPACT_MIN_TIME],
    maxTime: numbers[k.COMPACT_MAX_TIME],
  }
}
