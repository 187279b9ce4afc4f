import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import type { SegmentHeader } from '../format/segment-header.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { check } from '../kernels/requests.js'
import type { Segment } from './segment.js'

const WORK_BYTES = 1024 * 1024

export interface WalkResult {
  readonly stop: number
  readonly stopPosition: number
  readonly groups: number
  readonly marks: number
  /** syncedOffset of the last good commit frame, −1: none. */
  readonly lastSynced: number
  /** Largest syncedOffset of all good commit frames. */
  readonly maxSynced: number
  /** Rows of ENTRY_WIDTH numbers. */
  readonly entries: Float64Array
  readonly newerType: number
}

/** State vector (with room for the results of a walk) at the start of a segment. */
export function startState(header: SegmentHeader, fd: number, intervalBytes: number): Float64Array {
  const numbers = new Float64Array(k.WALK_LENGTH)
  numbers[k.STATE_FD] = fd
  numbers[k.STATE_COMMITTED_FD] = -1
  numbers[k.STATE_SEED] = header.seed
  numbers[k.STATE_POSITION] = SEGMENT_HEADER_BYTES
  numbers[k.STATE_ALLOCATED] = SEGMENT_HEADER_BYTES
  numbers[k.STATE_NEXT_OFFSET] = header.base
  numbers[k.STATE_CHAIN] = header.sparse ? 0 : header.prevChain
  numbers[k.STATE_EPOCH] = header.epoch
  numbers[k.STATE_SYNCED_OFFSET] = header.syncedOffset
  numbers[k.STATE_RUNNING_TIME] = header.runningTime
  numbers[k.STATE_MIN_TIME] = Number.POSITIVE_INFINITY
  numbers[k.STATE_MAX_TIME] = -1
  numbers[k.STATE_CHUNK_BYTES] = header.form === 'none' ? 0 : header.chunkBytes
  numbers[k.STATE_LAST_INDEXED] = -1
  numbers[k.STATE_INDEX_INTERVAL] = intervalBytes
  numbers[k.STATE_BASE_OFFSET] = header.base
  numbers[k.STATE_MAX_RECORD_BYTES] = header.maxRecordBytes
  numbers[k.STATE_SPARSE] = header.sparse ? 1 : 0
  return numbers
}

/** Follows groups from where `numbers` stands to `end`; `numbers` stands behind the last good commit frame afterwards. */
export function* walk(segment: Segment, numbers: Float64Array, end: number, intervalBytes: number): Procedure<WalkResult> {
  const room = Math.max(0, end - numbers[k.STATE_POSITION])
  const entries = new Float64Array(k.ENTRY_WIDTH * (Math.ceil(room / intervalBytes) + 2))
  const work = new Uint8Array(Math.max(64 * 1024, Math.min(WORK_BYTES, Math.ceil(room / 4096) * 4096)))
  check(yield { operation: k.FILE_WALK, fd: segment.fd, a: numbers[k.STATE_POSITION], b: end, bytes: work, numbers, table: entries }, k.FILE_WALK, segment.path)
  return {
    stop: numbers[k.WALK_STOP],
    stopPosition: numbers[k.WALK_STOP_POSITION],
    groups: numbers[k.WALK_GROUPS],
    marks: numbers[k.WALK_MARKS],
    lastSynced: numbers[k.WALK_LAST_SYNCED],
    maxSynced: numbers[k.WALK_MAX_SYNCED],
    entries: entries.subarray(0, numbers[k.WALK_ENTRIES] * k.ENTRY_WIDTH),
    newerType: numbers[k.WALK_NEWER],
  }
}

export interface FoundGroup {
  readonly start: number
  readonly commitPosition: number
  readonly firstOffset: number
  readonly records: number
  readonly syncedOffset: number
  readonly epoch: number
  readonly prevChain: number
  readonly chain: number
  readonly endOffset: number
}

/** The first group at or behind `from` that verifies entirely; undefined when there is none before `to`. */
export function* findGroup(segment: Segment, from: number, to: number): Procedure<FoundGroup | undefined> {
  if (from >= to || segment.header === undefined) return undefined
  const numbers = new Float64Array(k.FIND_LENGTH)
  numbers[k.FIND_SEED] = segment.seed
  numbers[k.FIND_MAX_RECORD] = segment.header.maxRecordBytes
  const status = check(yield { operation: k.FILE_FIND_GROUP, fd: segment.fd, a: from, b: to, numbers }, k.FILE_FIND_GROUP, segment.path)
  if (status === 0) return undefined
  return {
    start: numbers[k.FIND_GROUP_START],
    commitPosition: numbers[k.FIND_COMMIT_POSITION],
    firstOffset: numbers[k.FIND_FIRST_OFFSET],
    records: numbers[k.FIND_RECORDS],
    syncedOffset: numbers[k.FIND_SYNCED_OFFSET],
    epoch: numbers[k.FIND_EPOCH],
    prevChain: numbers[k.FIND_PREV_CHAIN],
    chain: numbers[k.FIND_CHAIN],
    endOffset: numbers[k.FIND_END_OFFSET],
  }
}
