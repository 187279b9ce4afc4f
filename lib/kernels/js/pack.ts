import { constants } from 'node:os'
import { viewOf } from '../../format/bytes.js'
import { FRAME_FOOTER, FRAME_HEADER_BYTES } from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrc } from './crc32c.js'
import { FRAME_GOOD, type Frame, FrameOrder, frameRules } from './frame-check.js'
import type { Task } from './task.js'
import { FrameWindow, NOT_LOADED, readFull } from './window.js'
import { writeFull } from './write-full.js'
import { compress, hasZstd } from './zstd.js'

const WINDOW_BYTES = 256 * 1024
const CRC_BYTES = 4
const BLOCK_BYTES_LIMIT = 2 ** 30
const LEVEL_LIMIT = 22

/** FILE_PACK */
export function* packFrames(fd: number, from: number, end: number, numbers: Float64Array, table: Float64Array, dictionary: Uint8Array | undefined): Task {
  if (!hasZstd) return -constants.errno.ENOSYS
  const blockBytes = numbers[s.PACK_BLOCK_BYTES]
  const level = numbers[s.PACK_LEVEL]
  if (!(blockBytes >= 1 && blockBytes <= BLOCK_BYTES_LIMIT && level >= 1 && level <= LEVEL_LIMIT)) return -constants.errno.EINVAL
  const rows = Math.floor(table.length / s.PACK_COLUMNS)
  const rules = frameRules(numbers[s.PACK_SEED], numbers[s.PACK_SPARSE] !== 0, numbers[s.PACK_MAX_RECORD])
  const order = new FrameOrder(rules.sparse, numbers[s.PACK_OFFSET], numbers[s.PACK_BATCH_FIRST])
  const bytes = new Uint8Array(WINDOW_BYTES)
  const window = new FrameWindow(fd, end, bytes, rules)
  const block = new Block(numbers, table, dictionary)
  const { frame } = window
  let position = from
  let records = 0
  let stop = FRAME_GOOD
  while (stop === FRAME_GOOD) {
    let verdict = window.check(position)
    if (verdict === NOT_LOADED) verdict = yield* window.load(position)
    if (verdict < 0) return verdict
    if (block.frameBytes > 0 && (verdict === s.STOP_END || (verdict === FRAME_GOOD && block.frameBytes + frame.size > blockBytes))) {
      const status = yield* block.write()
      if (status < 0) return status
    }
    if (verdict === FRAME_GOOD && block.count === rows) verdict = s.STOP_TABLE_FULL
    if (verdict !== FRAME_GOOD) {
      stop = verdict
      break
    }
    const expected = order.nextOffset < 0 ? frame.offset : order.nextOffset
    const batchFirst = order.open ? order.batchFirst : -1
    if (frame.isRecord) {
      if (!order.acceptRecord(frame)) stop = s.STOP_ORDER
    } else if (!order.acceptEnd(frame) || (frame.isCommit && !window.commit.isSane(frame.offset, position))) {
      stop = s.STOP_ORDER
    } else if (frame.type === FRAME_FOOTER && position + frame.size !== end) {
      stop = s.STOP_FOOTER
    }
    if (stop !== FRAME_GOOD) break
    const content = block.add(position, frame.size, expected, batchFirst)
    if (frame.size <= bytes.length) {
      const at = window.at(position)
      content.set(bytes.subarray(at + CRC_BYTES, at + frame.size))
    } else {
      // It was verified piece by piece, and is verified again as it goes in.
      const got = yield* readFull(fd, content, position + CRC_BYTES)
      if (got < 0) return got
      if (got < content.length) stop = s.STOP_FRAMING
      else if (extendCrc(rules.seed, viewOf(content), 0, bodyEnd(frame)) !== frame.crc) stop = s.STOP_CHECKSUM
      else if (!frame.paddingIsZero(viewOf(content), bodyEnd(frame))) stop = s.STOP_FRAMING
      if (stop !== FRAME_GOOD) break
    }
    if (frame.isRecord) records++
    position += frame.size
  }
  numbers[s.PACK_OFFSET] = order.nextOffset
  numbers[s.PACK_BATCH_FIRST] = order.open ? order.batchFirst : -1
  numbers[s.PACK_RECORDS] += records
  numbers[s.PACK_COUNT] = block.count
  numbers[s.PACK_NEXT_POSITION] = position
  numbers[s.PACK_STOP] = stop
  return 0
}

/** Within a frame without its CRC. */
function bodyEnd(frame: Frame): number {
  return FRAME_HEADER_BYTES - CRC_BYTES + frame.bodyLength
}

/** The block that is being filled; those before it are written and have their rows in the table. */
class Block {
  /** Blocks written. */
  count = 0
  /** Of the frames in it, as they are in the segment. */
  frameBytes = 0
  readonly #numbers: Float64Array
  readonly #table: Float64Array
  readonly #dictionary: Uint8Array | undefined
  #content: Uint8Array
  #used = 0

  constructor(numbers: Float64Array, table: Float64Array, dictionary: Uint8Array | undefined) {
    this.#numbers = numbers
    this.#table = table
    this.#dictionary = dictionary
    this.#content = new Uint8Array(Math.min(numbers[s.PACK_BLOCK_BYTES], WINDOW_BYTES))
  }

  /** Room for a frame without its CRC, for the caller to fill. */
  add(position: number, size: number, offset: number, batchFirst: number): Uint8Array {
    if (this.frameBytes === 0) this.#table.set([position, 0, offset, batchFirst], this.count * s.PACK_COLUMNS)
    const start = this.#used
    this.#used += size - CRC_BYTES
    this.frameBytes += size
    if (this.#used > this.#content.length) {
      const larger = new Uint8Array(Math.max(this.#used, Math.min(2 * this.#content.length, this.#numbers[s.PACK_BLOCK_BYTES])))
      larger.set(this.#content.subarray(0, start))
      this.#content = larger
    }
    return this.#content.subarray(start, this.#used)
  }

  *write(): Task {
    const numbers = this.#numbers
    const packed = compress(this.#content.subarray(0, this.#used), numbers[s.PACK_LEVEL], this.#dictionary)
    const position = numbers[s.PACK_OUT_POSITION]
    const status = yield* writeFull(numbers[s.PACK_OUT_FD], packed, position)
    if (status < 0) return status
    const row = this.count * s.PACK_COLUMNS
    this.#table[row + 1] = this.frameBytes
    this.#table[row + 4] = position
    this.#table[row + 5] = packed.length
    numbers[s.PACK_OUT_POSITION] = position + packed.length
    numbers[s.PACK_CRC] = extendCrc(numbers[s.PACK_CRC], viewOf(packed), 0, packed.length)
    this.count++
    this.frameBytes = 0
    this.#used = 0
    return 0
  }
}
