import { viewOf } from '../../format/bytes.js'
import * as f from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrcWord } from './crc32c.js'
import type { Frame } from './frame-check.js'
import { stampFrame, writeCommitFrame, writeFrameHeader } from './frames.js'
import type { Task } from './task.js'
import { writeFull } from './write-full.js'

/** A group ends with the batch that brings its frames to this. */
const GROUP_BYTES = 1024 * 1024
/** Most groups are written at once. */
const BUFFER_BYTES = GROUP_BYTES + 128 * 1024
const INDEX_BYTES = 4
/** What a record needs besides its own bytes: padded room for a batch index, and the commit frame that may follow. */
const EXTRA_BYTES = f.FRAME_ALIGNMENT + f.COMMIT_FRAME_BYTES

/** Copies records to a sparse segment, in groups of whole batches, and counts what it copies: the COMPACT_… numbers about the file that is written. */
export class SparseWriter {
  readonly #fd: number
  readonly #seed: number
  readonly #epoch: number
  #bytes = new Uint8Array(BUFFER_BYTES)
  #view = viewOf(this.#bytes)
  #used = 0
  /** Where the buffer begins in the file. */
  #position: number
  /** The last record of the batch under way, −1: none. Whether another one follows is not known yet. */
  #last = -1
  #groupStart: number
  #groupBytes = 0
  #groupRecords = 0
  #chainBefore: number
  /** Over the sealed frames of the group. */
  #chain: number
  #runningTime: number
  #records = 0
  #recordBytes = 0
  #tombstones = 0
  #firstOffset: number
  #lastOffset: number
  #minTime: number
  #maxTime: number

  constructor(numbers: Float64Array) {
    this.#fd = numbers[s.COMPACT_OUT_FD]
    this.#seed = numbers[s.COMPACT_OUT_SEED]
    this.#epoch = numbers[s.COMPACT_OUT_EPOCH]
    this.#position = this.#groupStart = numbers[s.COMPACT_OUT_POSITION]
    this.#chainBefore = numbers[s.COMPACT_OUT_CHAIN]
    this.#chain = extendCrcWord(0, this.#chainBefore)
    this.#runningTime = numbers[s.COMPACT_RUNNING_TIME]
    this.#firstOffset = numbers[s.COMPACT_FIRST_OFFSET]
    this.#lastOffset = numbers[s.COMPACT_LAST_OFFSET]
    this.#minTime = numbers[s.COMPACT_MIN_TIME]
    this.#maxTime = numbers[s.COMPACT_MAX_TIME]
  }

  hasRoom(frame: Frame): boolean {
    return this.#bytes.length - this.#used >= frame.size + EXTRA_BYTES
  }

  /** Writes what there is; the record to come continues the batch under way. */
  *makeRoom(frame: Frame): Task {
    if (this.#last >= 0) this.#seal(true)
    const status = yield* this.#flush()
    if (status < 0) return status
    if (!this.hasRoom(frame)) {
      this.#bytes = new Uint8Array(frame.size + EXTRA_BYTES)
      this.#view = viewOf(this.#bytes)
    }
    return 0
  }

  /** The record at `at` of `bytes`; there has to be room. `batchIndex` −1: it was appended alone. */
  add(frame: Frame, bytes: Uint8Array, at: number, batchIndex: number): void {
    if (this.#last >= 0) this.#seal(true)
    const indexed = batchIndex >= 0
    // An index that it had is replaced.
    const bodyStart = at + f.FRAME_HEADER_BYTES + (frame.batchIndex >= 0 ? INDEX_BYTES : 0)
    const bodyEnd = at + f.FRAME_HEADER_BYTES + frame.bodyLength
    const bodyLength = bodyEnd - bodyStart + (indexed ? INDEX_BYTES : 0)
    const flags = (frame.flags & f.FLAG_KEY) | (indexed ? f.FLAG_BATCH_INDEX : 0)
    const to = this.#used
    const size = f.frameBytes(bodyLength)
    writeFrameHeader(this.#view, to, bodyLength, frame.timestamp, frame.type | (flags << 8))
    if (indexed) this.#view.setUint32(to + f.FRAME_HEADER_BYTES, batchIndex, true)
    this.#bytes.set(bytes.subarray(bodyStart, bodyEnd), to + f.FRAME_HEADER_BYTES + (indexed ? INDEX_BYTES : 0))
    this.#bytes.fill(0, to + f.FRAME_HEADER_BYTES + bodyLength, to + size)
    this.#last = to
    this.#lastOffset = frame.offset
    this.#used += size
    this.#groupBytes += size
    this.#groupRecords++
    this.#count(frame, size)
  }

  /** No further record of the batch under way. */
  endBatch(): void {
    if (this.#last >= 0) this.#seal(false)
    if (this.#groupBytes >= GROUP_BYTES) this.#commit()
  }

  /** Ends the group under way, if there is one, and writes what there is. */
  *finish(): Task {
    if (this.#groupRecords > 0) this.#commit()
    return yield* this.#flush()
  }

  /** After `finish`. */
  report(numbers: Float64Array): void {
    numbers[s.COMPACT_OUT_POSITION] = this.#position
    numbers[s.COMPACT_OUT_CHAIN] = this.#chainBefore
    numbers[s.COMPACT_RUNNING_TIME] = this.#runningTime
    numbers[s.COMPACT_KEPT_RECORDS] += this.#records
    numbers[s.COMPACT_KEPT_BYTES] += this.#recordBytes
    numbers[s.COMPACT_KEPT_TOMBSTONES] += this.#tombstones
    numbers[s.COMPACT_FIRST_OFFSET] = this.#firstOffset
    numbers[s.COMPACT_LAST_OFFSET] = this.#lastOffset
    numbers[s.COMPACT_MIN_TIME] = this.#minTime
    numbers[s.COMPACT_MAX_TIME] = this.#maxTime
  }

  #count(frame: Frame, size: number): void {
    this.#records++
    this.#recordBytes += size
    if (frame.type === f.FRAME_TOMBSTONE) this.#tombstones++
    if (this.#firstOffset < 0) this.#firstOffset = frame.offset
    this.#runningTime = Math.max(this.#runningTime, frame.timestamp)
    this.#minTime = Math.min(this.#minTime, frame.timestamp)
    this.#maxTime = Math.max(this.#maxTime, frame.timestamp)
  }

  #seal(continues: boolean): void {
    const at = this.#last
    const bodyLength = this.#view.getUint32(at + 4, true)
    if (continues) this.#bytes[at + 23] |= f.FLAG_BATCH_CONTINUES
    this.#chain = extendCrcWord(this.#chain, stampFrame(this.#view, at, bodyLength, this.#lastOffset, this.#seed))
    this.#last = -1
  }

  #commit(): void {
    writeCommitFrame(
      this.#view,
      this.#used,
      this.#seed,
      this.#lastOffset + 1,
      Math.max(0, this.#runningTime),
      this.#groupStart,
      // The file is synced as a whole before it has a name.
      0,
      this.#groupRecords,
      this.#epoch,
      this.#chainBefore,
      this.#chain,
    )
    this.#used += f.COMMIT_FRAME_BYTES
    this.#groupStart = this.#position + this.#used
    this.#groupBytes = this.#groupRecords = 0
    this.#chainBefore = this.#chain
    this.#chain = extendCrcWord(0, this.#chainBefore)
  }

  *#flush(): Task {
    if (this.#fd >= 0) {
      const status = yield* writeFull(this.#fd, this.#bytes.subarray(0, this.#used), this.#position)
      if (status < 0) return status
    }
    this.#position += this.#used
    this.#used = 0
    return 0
  }
}
