import { viewOf } from '../../format/bytes.js'
import { FRAME_HEADER_BYTES, FRAME_TOMBSTONE } from '../../format/constants.js'
import * as s from '../kernels.js'
import { FRAME_GOOD, type Frame, FrameOrder, type FrameRules, frameRules, orderOf } from './frame-check.js'
import type { OrderedIndex } from './ordered-index.js'
import { SparseWriter } from './sparse-writer.js'
import type { Task } from './task.js'
import { FrameWindow, NOT_LOADED, readFull } from './window.js'

/** Read at a time: the event loop has its turn between two pieces. */
const PIECE_BYTES = 256 * 1024

/** FILE_COMPACT; `indexes`: COMPACT_INDEX and the further ones, which nobody changes or uses otherwise. */
export function* compactFrames(fd: number, from: number, end: number, numbers: Float64Array, indexes: readonly OrderedIndex[]): Task {
  const sliceBytes = numbers[s.COMPACT_SLICE_BYTES] > 0 ? numbers[s.COMPACT_SLICE_BYTES] : Infinity
  const rules = frameRules(numbers[s.COMPACT_SEED], numbers[s.COMPACT_SPARSE] !== 0, numbers[s.COMPACT_MAX_RECORD])
  const order = new FrameOrder(rules.sparse, numbers[s.COMPACT_OFFSET], -1)
  const piece = Buffer.alloc(PIECE_BYTES)
  const window = new FrameWindow(fd, end, piece, rules)
  const { frame } = window
  const versions = new Versions(indexes, numbers[s.COMPACT_TOMBSTONES_BEFORE])
  const writer = new SparseWriter(numbers)
  let position = from
  let records = 0
  let recordBytes = 0
  let stop = FRAME_GOOD
  while (stop === FRAME_GOOD) {
    const continued = order.open
    let verdict = window.check(position)
    if (verdict === NOT_LOADED) verdict = yield* window.load(position)
    if (verdict === FRAME_GOOD) verdict = orderOf(order, frame, window.commit, position)
    let bytes = piece
    if (verdict === FRAME_GOOD && frame.size > piece.length) {
      bytes = Buffer.alloc(frame.size)
      verdict = yield* readWhole(fd, position, bytes, frame, rules)
    }
    if (verdict < 0) return verdict
    if (verdict !== FRAME_GOOD) {
      stop = verdict
      break
    }
    if (frame.isRecord) {
      const at = bytes === piece ? window.at(position) : 0
      records++
      recordBytes += frame.size
      if (versions.need(frame, bytes, at)) {
        if (!writer.hasRoom(frame)) {
          const status = yield* writer.makeRoom(frame)
          if (status < 0) return status
        }
        const batched = continued || frame.continuesBatch || frame.batchIndex >= 0
        writer.add(frame, bytes, at, batched ? frame.offset - order.batchFirst : -1)
      }
      if (!frame.continuesBatch) writer.endBatch()
    }
    position += frame.size
    if (frame.isRecord && !frame.continuesBatch && position - from >= sliceBytes && position < end) stop = s.STOP_FULL
  }
  // Whoever cuts a segment there has lost the rest of a batch.
  if (stop === s.STOP_END && order.open) stop = s.STOP_ORDER
  if (stop === s.STOP_END || stop === s.STOP_FULL) {
    const status = yield* writer.finish()
    if (status < 0) return status
    writer.report(numbers)
    numbers[s.COMPACT_READ_RECORDS] += records
    numbers[s.COMPACT_READ_BYTES] += recordBytes
    numbers[s.COMPACT_OFFSET] = order.nextOffset
  }
  numbers[s.COMPACT_STOP] = stop
  numbers[s.COMPACT_NEXT_POSITION] = position
  numbers[s.COMPACT_NEXT_OFFSET] = order.nextOffset
  return 0
}

/** A record larger than a piece, verified piece by piece already; what is copied is what is verified now. FRAME_GOOD, STOP_… or −errno. */
function* readWhole(fd: number, position: number, bytes: Uint8Array, frame: Frame, rules: FrameRules): Task {
  const got = yield* readFull(fd, bytes, position)
  if (got < 0) return got
  if (got < bytes.length) return s.STOP_FRAMING
  const view = viewOf(bytes)
  frame.load(view, 0)
  return frame.size === bytes.length ? frame.check(rules, view, 0) : s.STOP_FRAMING
}

/** What somebody still reads. */
class Versions {
  readonly #newest: OrderedIndex
  readonly #further: readonly OrderedIndex[]
  readonly #tombstonesBefore: number

  constructor(indexes: readonly OrderedIndex[], tombstonesBefore: number) {
    this.#newest = indexes[0]
    this.#further = indexes.slice(1)
    this.#tombstonesBefore = tombstonesBefore
  }

  need(frame: Frame, bytes: Buffer, at: number): boolean {
    if (frame.keyLength < 0) return true
    const valueStart = at + FRAME_HEADER_BYTES + frame.prefix
    const key = bytes.toString('latin1', valueStart - frame.keyLength, valueStart)
    const { offset } = frame
    const newest = this.#newest.get(key)
    if (newest === offset) return true
    if (frame.type === FRAME_TOMBSTONE && newest <= offset && (newest >= 0 || frame.timestamp >= this.#tombstonesBefore)) return true
    return this.#further.some((index) => index.get(key) === offset)
  }
}
