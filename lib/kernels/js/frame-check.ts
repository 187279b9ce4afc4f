import * as f from '../../format/constants.js'
import { STOP_CHECKSUM, STOP_FOOTER, STOP_FRAMING, STOP_NEWER, STOP_ORDER, STOP_ZERO } from '../kernels.js'
import { extendCrc } from './crc32c.js'
import { readU64 } from './frames.js'

/** The verdict on a good frame; all others are the STOP_… numbers. */
export const FRAME_GOOD = 1000

const BATCH_INDEX_BYTES = 4
const KEY_LENGTH_BYTES = 2
/** What a body may hold besides the bytes that a record limit counts. */
const PREFIX_LIMIT = BATCH_INDEX_BYTES + KEY_LENGTH_BYTES + f.KEY_BYTES_LIMIT

/** What a segment says about its frames. */
export interface FrameRules {
  readonly seed: number
  readonly sparse: boolean
  readonly maxBody: number
}

export function frameRules(seed: number, sparse: boolean, maxRecordBytes: number): FrameRules {
  return { seed, sparse, maxBody: Math.min(maxRecordBytes, f.RECORD_BYTES_LIMIT) + PREFIX_LIMIT }
}

/**
 * The frame that a reader stands on, and the rules that make it valid, in the order of native/core/frame_check.h, so that both sides name the same
 * reason for the same damage: room for a header, zeros, length, CRC, padding, unknown type or flag, parts of the body; then the order of frames.
 * One object is loaded again and again.
 */
export class Frame {
  crc = 0
  bodyLength = 0
  /** Of commit and footer: the next offset. Beyond 2^53 it loses bits here; FrameOrder refuses it. */
  offset = 0
  timestamp = 0
  type = 0
  flags = 0
  /** Of the whole frame, padding included. */
  size = 0
  /** Of a record that was found good. −1: no key. */
  keyLength = -1
  /** Bytes of the body before the value. */
  prefix = 0
  /** −1: none. */
  batchIndex = -1

  load(view: DataView, at: number): void {
    this.crc = view.getUint32(at, true)
    this.bodyLength = view.getUint32(at + 4, true)
    this.offset = readU64(view, at + 8)
    const high = view.getUint32(at + 20, true)
    this.timestamp = view.getUint32(at + 16, true) + (high & 0xffff) * 2 ** 32
    this.type = (high >>> 16) & 0xff
    this.flags = high >>> 24
    this.size = f.frameBytes(this.bodyLength)
    this.keyLength = -1
    this.prefix = 0
    this.batchIndex = -1
  }

  get isRecord(): boolean {
    return this.type === f.FRAME_RECORD || this.type === f.FRAME_TOMBSTONE
  }

  get isCommit(): boolean {
    return this.type === f.FRAME_COMMIT
  }

  get continuesBatch(): boolean {
    return (this.flags & f.FLAG_BATCH_CONTINUES) !== 0
  }

  /** What the header alone can tell. `left`: bytes from the frame's start to the end of what exists. */
  checkLength(rules: FrameRules, left: number): number {
    if (this.type === 0 && this.crc === 0 && this.bodyLength === 0 && this.offset === 0 && this.timestamp === 0 && this.flags === 0) return STOP_ZERO
    if (this.bodyLength > rules.maxBody || this.size > left) return STOP_FRAMING
    if (this.type === f.FRAME_COMMIT && this.bodyLength !== f.COMMIT_BODY_BYTES) return STOP_FRAMING
    if (this.type === f.FRAME_FOOTER && this.bodyLength !== f.FOOTER_BODY_BYTES) return STOP_FRAMING
    return FRAME_GOOD
  }

  /** The rest for a frame that lies at `at` as a whole. */
  check(rules: FrameRules, view: DataView, at: number): number {
    const end = at + f.FRAME_HEADER_BYTES + this.bodyLength
    if (extendCrc(rules.seed, view, at + 4, end) !== this.crc) return STOP_CHECKSUM
    if (!this.paddingIsZero(view, end)) return STOP_FRAMING
    return this.checkBody(rules, view, at + f.FRAME_HEADER_BYTES)
  }

  paddingIsZero(view: DataView, from: number): boolean {
    const end = from + this.size - f.FRAME_HEADER_BYTES - this.bodyLength
    for (let at = from; at < end; at++) if (view.getUint8(at) !== 0) return false
    return true
  }

  /** For a frame whose CRC is good. Looks at the first six bytes of the body at most, and at none that it does not have. */
  checkBody(rules: FrameRules, view: DataView, at: number): number {
    if (this.#isNewer(rules.sparse)) return STOP_NEWER
    if (!this.isRecord) return FRAME_GOOD
    if ((this.flags & f.FLAG_BATCH_INDEX) !== 0) {
      if (this.bodyLength < BATCH_INDEX_BYTES) return STOP_FRAMING
      this.batchIndex = view.getUint32(at, true)
      this.prefix = BATCH_INDEX_BYTES
    }
    if ((this.flags & f.FLAG_KEY) === 0) return this.type === f.FRAME_TOMBSTONE ? STOP_FRAMING : FRAME_GOOD
    if (this.bodyLength < this.prefix + KEY_LENGTH_BYTES) return STOP_FRAMING
    this.keyLength = view.getUint16(at + this.prefix, true)
    this.prefix += KEY_LENGTH_BYTES + this.keyLength
    return this.prefix > this.bodyLength ? STOP_FRAMING : FRAME_GOOD
  }

  /** Commit and footer have no flags, dense segments no batch index. */
  #isNewer(sparse: boolean): boolean {
    if (this.isRecord) return (this.flags & ~(sparse ? f.FLAGS_KNOWN : f.FLAG_KEY | f.FLAG_BATCH_CONTINUES)) !== 0
    return (this.type !== f.FRAME_COMMIT && this.type !== f.FRAME_FOOTER) || this.flags !== 0
  }
}

/** The body of a commit frame. */
export class Commit {
  groupStart = 0
  syncedOffset = 0
  records = 0
  epoch = 0
  prevChain = 0
  chain = 0

  load(view: DataView, at: number): void {
    this.groupStart = readU64(view, at + 24)
    this.syncedOffset = readU64(view, at + 32)
    this.records = view.getUint32(at + 40, true)
    this.epoch = view.getUint32(at + 44, true)
    this.prevChain = view.getUint32(at + 48, true)
    this.chain = view.getUint32(at + 52, true)
  }

  /** What can be said about it without its group; `offset` is that of its frame. */
  isSane(offset: number, position: number): boolean {
    if (this.syncedOffset > offset || this.records > offset) return false
    if (this.records === 0) return this.groupStart === position && this.chain === this.prevChain
    return this.groupStart >= f.SEGMENT_HEADER_BYTES && this.groupStart < position && this.groupStart % f.FRAME_ALIGNMENT === 0
  }
}

/** Offsets and batches of frames that follow each other. */
export class FrameOrder {
  readonly #sparse: boolean
  /** −1: any will do. */
  nextOffset: number
  /** Meaningful inside a batch and for the record accepted last. */
  batchFirst: number
  /** A batch has begun and its last record has not come. */
  open: boolean

  /** `nextOffset` −1: unknown; `batchFirst` −1: the next record starts a batch. */
  constructor(sparse: boolean, nextOffset: number, batchFirst: number) {
    this.#sparse = sparse
    this.nextOffset = nextOffset
    this.batchFirst = batchFirst
    this.open = batchFirst >= 0
  }

  acceptRecord(frame: Frame): boolean {
    const { offset } = frame
    if (offset > f.OFFSET_LIMIT || !this.#follows(offset)) return false
    if (frame.batchIndex >= 0) {
      if (frame.batchIndex > offset) return false
      this.batchFirst = offset - frame.batchIndex
    } else if (!this.open) {
      this.batchFirst = offset
    }
    this.open = frame.continuesBatch
    this.nextOffset = offset + 1
    return true
  }

  /** Commit and footer carry the next offset and stand in no batch. */
  acceptEnd(frame: Frame): boolean {
    if (this.open || frame.offset > f.OFFSET_LIMIT + 1 || !this.#follows(frame.offset)) return false
    this.nextOffset = frame.offset
    return true
  }

  #follows(offset: number): boolean {
    return this.nextOffset < 0 || (this.#sparse ? offset >= this.nextOffset : offset === this.nextOffset)
  }
}

/** The verdict on the place of a frame that is good in itself. */
export function orderOf(order: FrameOrder, frame: Frame, commit: Commit, position: number): number {
  if (frame.isRecord) return order.acceptRecord(frame) ? FRAME_GOOD : STOP_ORDER
  if (!order.acceptEnd(frame) || (frame.isCommit && !commit.isSane(frame.offset, position))) return STOP_ORDER
  return frame.type === f.FRAME_FOOTER ? STOP_FOOTER : FRAME_GOOD
}
