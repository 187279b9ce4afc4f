import { viewOf } from '../../format/bytes.js'
import { FRAME_FOOTER, FRAME_HEADER_BYTES } from '../../format/constants.js'
import * as s from '../kernels.js'
import { Commit, FRAME_GOOD, Frame, FrameOrder, frameRules } from './frame-check.js'
import type { Task } from './task.js'
import { readFull } from './window.js'

/** Rows of the table are 32-bit numbers. */
const SCAN_BYTES_LIMIT = 2 ** 31

/** FILE_SCAN */
export function* scanFrames(fd: number, position: number, end: number, bytes: Uint8Array, numbers: Float64Array, table: Uint32Array): Task {
  const exists = Math.max(0, end - position)
  const wanted = Math.min(exists, bytes.length, SCAN_BYTES_LIMIT)
  const filled = yield* readFull(fd, bytes.subarray(0, wanted), position)
  if (filled < 0) return filled
  // A file that is shorter than the caller knows it to be has lost what is missing.
  listFrames(position, filled < wanted ? filled : exists, filled < wanted, filled, viewOf(bytes), numbers, table)
  return 0
}

/** FILE_SCAN_BYTES */
export function scanBytes(position: number, end: number, bytes: Uint8Array, numbers: Float64Array, table: Uint32Array): number {
  const exists = Math.max(0, end - position)
  const filled = Math.min(exists, bytes.length, SCAN_BYTES_LIMIT)
  listFrames(position, exists, false, filled, viewOf(bytes), numbers, table)
  return 0
}

function listFrames(position: number, exists: number, cutOff: boolean, filled: number, view: DataView, numbers: Float64Array, table: Uint32Array): void {
  const rules = frameRules(numbers[s.SCAN_SEED], numbers[s.SCAN_SPARSE] !== 0, numbers[s.SCAN_MAX_RECORD])
  const order = new FrameOrder(rules.sparse, numbers[s.SCAN_OFFSET], numbers[s.SCAN_BATCH_FIRST])
  const from = numbers[s.SCAN_FROM]
  const rows = Math.floor(table.length / s.SCAN_COLUMNS)
  const frame = new Frame()
  const commit = new Commit()
  let at = 0
  let count = 0
  let batchEnd = 0
  let needed = 0
  let stop = -1
  while (stop < 0) {
    const left = exists - at
    if (left < FRAME_HEADER_BYTES) {
      stop = left === 0 && !cutOff ? s.STOP_END : s.STOP_FRAMING
      break
    }
    if (filled - at < FRAME_HEADER_BYTES) {
      needed = FRAME_HEADER_BYTES
      break
    }
    frame.load(view, at)
    let verdict = frame.checkLength(rules, left)
    if (verdict === FRAME_GOOD && filled - at < frame.size) {
      needed = frame.size
      break
    }
    const listed = frame.isRecord && frame.offset >= from
    if (verdict === FRAME_GOOD && listed && count === rows) verdict = s.STOP_TABLE_FULL
    if (verdict === FRAME_GOOD) verdict = frame.check(rules, view, at)
    if (verdict !== FRAME_GOOD) {
      stop = verdict
      break
    }
    if (!frame.isRecord) {
      if (frame.isCommit) commit.load(view, at)
      if (!order.acceptEnd(frame) || (frame.isCommit && !commit.isSane(frame.offset, position + at))) stop = s.STOP_ORDER
      else if (frame.type === FRAME_FOOTER) stop = s.STOP_FOOTER
      else at += frame.size
      continue
    }
    if (!order.acceptRecord(frame)) {
      stop = s.STOP_ORDER
      break
    }
    if (listed) {
      const row = count++ * s.SCAN_COLUMNS
      const valueStart = at + FRAME_HEADER_BYTES + frame.prefix
      table[row] = at
      table[row + 1] = valueStart
      table[row + 2] = frame.bodyLength - frame.prefix
      table[row + 3] = frame.offset - order.batchFirst
      if (!order.open) batchEnd = count
    }
    at += frame.size
  }
  // A frame cut by the end of the buffer is left for the next call, unless the buffer cannot hold it at all.
  if (stop < 0) stop = at === 0 ? s.STOP_LARGE : s.STOP_END
  numbers[s.SCAN_COUNT] = count
  numbers[s.SCAN_NEXT_POSITION] = position + at
  numbers[s.SCAN_NEXT_OFFSET] = order.nextOffset
  numbers[s.SCAN_NEXT_BATCH_FIRST] = order.open ? order.batchFirst : -1
  numbers[s.SCAN_STOP] = stop
  numbers[s.SCAN_NEEDED] = stop === s.STOP_LARGE ? needed : 0
  numbers[s.SCAN_BATCH_END] = batchEnd
}
