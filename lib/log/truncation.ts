import { constants } from 'node:fs'
import path from 'node:path'
import { ChecksumError, LogError } from '../errors.js'
import { getU48, getU64, viewOf } from '../format/bytes.js'
import { COMMIT_FRAME_BYTES, FLAG_BATCH_CONTINUES, FRAME_COMMIT, frameBytes } from '../format/constants.js'
import { chainOf, encodeCommit } from '../format/frames.js'
import { COMMITTED_FILE, parseSegmentFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { removeChunks } from '../sealing/chunk-directory.js'
import { Segment } from '../segment/segment.js'
import { startState, walk } from '../segment/walk.js'
import { removeArchives } from './archive-moves.js'
import { setBackConsumers } from './consumer-files.js'
import type { TruncateIntent } from './manifest.js'
import type { LogParts } from './parts.js'

/**
 * Plans the cut behind the batch that holds `offset`: where the file ends, and the commit frame of the group that becomes shorter.
 * `segment` holds the record; nothing is appended meanwhile.
 */
export function* planTruncation(parts: LogParts, segment: Segment, offset: number): Procedure<TruncateIntent> {
  const { environment, manifest } = parts
  const { kernels } = environment
  if (segment.sparse)
    throw new LogError('ERR_SEALOG_UNSUPPORTED', `${segment.path} was rewritten; truncateAfter cannot end inside it`, { file: segment.path, offset })
  const cut = yield* findCut(segment, offset, parts.session.indexIntervalBytes)
  const epoch = manifest.state.epoch + 1
  const intent = { kind: 'truncateAfter', base: segment.base, position: cut.position, end: cut.end, epoch } as const
  if (cut.crcs.length === 0) return { ...intent, commit: '' }
  const commit = encodeCommit(
    {
      groupStart: cut.groupStart,
      syncedOffset: cut.syncedOffset,
      recordCount: cut.crcs.length,
      epoch,
      prevChain: cut.prevChain,
      chain: chainOf(cut.prevChain, cut.crcs, kernels.crc32c),
      nextOffset: cut.end,
      timestamp: cut.runningTime,
    },
    segment.seed,
    kernels.crc32c,
  )
  return { ...intent, commit: Buffer.from(commit).toString('hex') }
}

/** Does what the intent says, from any half-done state, and clears it. Readers' files of the cut range are retired by the caller. */
export function* applyTruncation(parts: LogParts, intent: TruncateIntent): Procedure<void> {
  const { directory, manifest } = parts
  const folder = path.join(directory, SEGMENTS_DIRECTORY)
  const later = ((yield* io.list(folder)) ?? [])
    .map(parseSegmentFile)
    .filter((name) => name !== undefined)
    .filter((name) => name.base > intent.base)
    .sort((a, b) => b.base - a.base)
  for (const name of later) {
    const segment = new Segment(directory, name.base, name.generation, 0, 0, false)
    yield* io.unlink(segment.path)
    yield* io.unlink(segment.indexPath)
  }
  yield* removeChunks(directory, (chunk) => chunk.last >= intent.end)
  const segment = new Segment(directory, intent.base, 0, 0, 0, false)
  yield* io.unlink(segment.indexPath)
  yield* io.unlink(path.join(directory, COMMITTED_FILE))
  yield* io.syncDirectory(folder)
  yield* io.syncDirectory(directory)
  const fd = yield* io.open(segment.path, constants.O_RDWR)
  try {
    yield* io.truncate(fd, intent.position, segment.path)
    if (intent.commit !== '') yield* io.write(fd, intent.position, Buffer.from(intent.commit, 'hex'), segment.path)
    yield* io.sync(fd, segment.path)
  } finally {
    yield* io.close(fd)
  }
  yield* removeArchives(parts, (archived) => archived.base >= intent.base)
  yield* setBackConsumers(parts, intent.end)
  yield* manifest.append({ type: 'truncated', base: intent.base, epoch: intent.epoch })
}

interface Cut {
  /** Where the file ends, before a new commit frame. */
  readonly position: number
  /** Offset behind the batch. */
  readonly end: number
  readonly groupStart: number
  readonly prevChain: number
  readonly syncedOffset: number
  /** CRCs of the frames that stay of the shortened group; none when the cut lies on a group boundary. */
  readonly crcs: readonly number[]
  readonly runningTime: number
}

/** Walks to the last commit at or before the index entry of `offset`, then over frames to the end of the batch. */
function* findCut(segment: Segment, offset: number, intervalBytes: number): Procedure<Cut> {
  const { header, index } = segment
  const entry = index === undefined ? -1 : index.find(offset)
  if (header === undefined || index === undefined || entry < 0) throw new Error('the segment is not open')
  const state = startState(header, segment.fd, intervalBytes)
  yield* walk(segment, state, index.position(entry), intervalBytes)
  let groupStart = state[k.STATE_POSITION]
  let prevChain = state[k.STATE_CHAIN]
  let syncedOffset = state[k.STATE_SYNCED_OFFSET]
  let runningTime = Math.max(0, state[k.STATE_RUNNING_TIME])
  let crcs: number[] = []
  let end = -1
  const frames = new FrameHeaders(segment)
  for (let position = groupStart; position < segment.endPosition; ) {
    const frame = yield* frames.at(position)
    const next = position + frameBytes(frame.getUint32(4, true))
    if (frame.getUint8(22) === FRAME_COMMIT) {
      if (end >= 0) return { position: next, end, groupStart, prevChain, syncedOffset, crcs: [], runningTime }
      syncedOffset = getU64(frame, 32)
      prevChain = frame.getUint32(52, true)
      groupStart = next
      crcs = []
    } else {
      if (end >= 0) return { position, end, groupStart, prevChain, syncedOffset, crcs, runningTime }
      crcs.push(frame.getUint32(0, true))
      runningTime = Math.max(runningTime, getU48(frame, 16))
      const at = getU64(frame, 8)
      if (at >= offset && (frame.getUint8(23) & FLAG_BATCH_CONTINUES) === 0) end = at + 1
    }
    position = next
  }
  throw new ChecksumError(segment.path, segment.endPosition, offset, 'the record is missing')
}

/** Frame headers (and the 32 bytes behind them) of a segment, read in windows. */
class FrameHeaders {
  readonly #segment: Segment
  readonly #window = new Uint8Array(256 * 1024)
  readonly #view = viewOf(this.#window)
  #start = 0
  #end = 0

  constructor(segment: Segment) {
    this.#segment = segment
  }

  *at(position: number): Procedure<DataView> {
    if (position < this.#start || position + COMMIT_FRAME_BYTES > this.#end) {
      this.#start = position
      this.#end = position + (yield* io.read(this.#segment.fd, position, this.#window, this.#segment.path))
    }
    return new DataView(this.#view.buffer, position - this.#start, COMMIT_FRAME_BYTES)
  }
}
