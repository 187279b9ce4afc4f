import { viewOf } from '../../format/bytes.js'
import * as f from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrc } from './crc32c.js'
import { FRAME_GOOD, Frame, FrameOrder, type FrameRules, frameRules } from './frame-check.js'
import { type Io, readCall } from './io.js'
import { runSync, type Task } from './task.js'
import { FrameWindow, MIN_WINDOW_BYTES, NOT_LOADED, readFull } from './window.js'

/** Holds an index interval (4 KiB) and a record of the usual size behind it. */
const READ_WINDOW_BYTES = 8 * 1024

export interface RecordQuery {
  readonly fd: number
  readonly seed: number
  readonly sparse: boolean
  readonly position: number
  readonly end: number
  /** Of the frame at `position`; −1: unknown. */
  readonly entryOffset: number
  /** Of the batch of the frame at `position`; −1: it starts one. */
  readonly batchFirst: number
  readonly offset: number
}

/** Where a record was found: `frameAt` within the buffer that it was read into. */
class LocatedRecord {
  frame = new Frame()
  framePosition = 0
  frameAt = 0
  batchFirst = 0

  get valueStart(): number {
    return this.frameAt + f.FRAME_HEADER_BYTES + this.frame.prefix
  }

  get valueLength(): number {
    return this.frame.bodyLength - this.frame.prefix
  }
}

/** `Kernels.readRecord`: keeps its buffer and all that it needs to look into it from call to call. */
export class RecordReader {
  readonly #io: Io
  readonly #copyOut: Uint8Array
  readonly #view: DataView
  readonly #firstRead: Uint8Array
  readonly #out: Float64Array

  constructor(io: Io, copyOut: Uint8Array, out: Float64Array) {
    this.#io = io
    this.#copyOut = copyOut
    this.#view = viewOf(copyOut)
    this.#firstRead = copyOut.subarray(0, READ_WINDOW_BYTES)
    this.#out = out
  }

  read(query: RecordQuery): number {
    const record = new LocatedRecord()
    let status = this.#readOnce(query, record)
    if (status === NOT_LOADED) status = runSync(this.#io, locateRecord(query, READ_WINDOW_BYTES, this.#copyOut, this.#view, record))
    if (status !== s.READ_OK && status !== s.READ_LARGE) return status
    const { frame } = record
    const out = this.#out
    out[s.OUT_FRAME_POSITION] = record.framePosition
    out[s.OUT_FRAME_BYTES] = frame.size
    if (status === s.READ_LARGE) return status
    out[s.OUT_VALUE_START] = record.valueStart
    out[s.OUT_VALUE_LENGTH] = record.valueLength
    out[s.OUT_KEY_START] = record.valueStart - Math.max(0, frame.keyLength)
    out[s.OUT_KEY_LENGTH] = frame.keyLength
    out[s.OUT_TYPE] = frame.type
    out[s.OUT_TIMESTAMP] = frame.timestamp
    out[s.OUT_BATCH_FIRST] = record.batchFirst
    return status
  }

  /** Most records end within the first read; NOT_LOADED: this one does not. */
  #readOnce(query: RecordQuery, record: LocatedRecord): number {
    const exists = query.end - query.position
    if (exists <= 0) return s.READ_NOT_FOUND
    const into = exists < READ_WINDOW_BYTES ? this.#firstRead.subarray(0, exists) : this.#firstRead
    const filled = this.#io.call(readCall(query.fd, into, query.position))
    if (filled < 0) return filled
    return filled < into.length ? NOT_LOADED : examine(query, this.#view, filled, record)
  }
}

/** FILE_READ_MANY. Each row has a status of its own. */
export function* readMany(numbers: Float64Array, count: number, bytes: Uint8Array): Task {
  let used = 0
  for (let at = 0; at < count * s.MANY_WIDTH; at += s.MANY_WIDTH) {
    const [fd, seed, position, end, offset, batchFirst] = numbers.subarray(at, at + 6)
    // A row does not say whether its segment is sparse, so offsets may skip; the target is verified anyway.
    const query: RecordQuery = { fd, seed, sparse: true, position, end, entryOffset: -1, batchFirst, offset }
    const room = bytes.subarray(used)
    const record = new LocatedRecord()
    let status: number = s.READ_NO_ROOM
    if (room.length >= MIN_WINDOW_BYTES) status = yield* locateRecord(query, READ_WINDOW_BYTES, room, viewOf(room), record)
    if (status === s.READ_LARGE) status = s.READ_NO_ROOM
    numbers[at + 6] = status
    if (status !== s.READ_OK) continue
    numbers[at + 5] = record.batchFirst
    room.copyWithin(0, record.frameAt, record.frameAt + record.frame.size)
    numbers[at + 7] = used + record.valueStart - record.frameAt
    numbers[at + 8] = record.valueLength
    numbers[at + 9] = used
    used += record.frame.size
  }
  return 0
}

function* locateRecord(query: RecordQuery, windowBytes: number, into: Uint8Array, view: DataView, record: LocatedRecord): Task {
  const exists = query.end - query.position
  if (exists <= 0) return s.READ_NOT_FOUND
  const wanted = Math.min(exists, windowBytes, into.length)
  const filled = yield* readFull(query.fd, into.subarray(0, wanted), query.position)
  if (filled < 0) return filled
  const status = examine(query, view, filled, record)
  if (status !== NOT_LOADED) return status
  const { frame } = record
  if (frame.size === 0) {
    // What was read ends with the file, or goes on.
    return filled < wanted || filled === exists ? s.READ_NOT_FOUND : yield* locateFar(query, into, record)
  }
  const { size } = frame
  if (size > into.length) return s.READ_LARGE
  const more = yield* readFull(query.fd, into.subarray(0, size), record.framePosition)
  if (more < 0) return more
  // The file may have changed between the two reads.
  frame.load(view, 0)
  if (more < size || frame.size !== size || frame.offset !== query.offset || !frame.isRecord) return s.READ_CHECKSUM
  record.frameAt = 0
  return verify(query, view, record)
}

/**
 * Looks for the record in the first `filled` bytes from the query's position on. NOT_LOADED: it lies behind them (the record's frame has no size
 * then), or is cut by their end.
 */
function examine(query: RecordQuery, view: DataView, filled: number, record: LocatedRecord): number {
  const { frame } = record
  frame.size = 0
  const steps = new Steps(query, view, filled)
  const found = steps.find()
  if (found !== s.READ_OK) return found
  record.batchFirst = steps.batchFirst()
  frame.load(view, steps.at)
  record.framePosition = query.position + steps.at
  record.frameAt = steps.at
  if (frame.checkLength(rulesOf(query), query.end - record.framePosition) !== FRAME_GOOD) return s.READ_CHECKSUM
  return frame.size > filled - steps.at ? NOT_LOADED : verify(query, view, record)
}

function verify(query: RecordQuery, view: DataView, record: LocatedRecord): number {
  const { frame } = record
  const verdict = frame.check(rulesOf(query), view, record.frameAt)
  if (verdict !== FRAME_GOOD) return verdict === s.STOP_NEWER ? s.READ_NEWER : s.READ_CHECKSUM
  if (frame.batchIndex > query.offset) return s.READ_CHECKSUM
  if (frame.batchIndex >= 0) record.batchFirst = query.offset - frame.batchIndex
  return s.READ_OK
}

function rulesOf(query: RecordQuery): FrameRules {
  return frameRules(query.seed, query.sparse, f.RECORD_BYTES_LIMIT)
}

/** The target lies behind the first read: every frame on the way is verified, through a window that moves. */
function* locateFar(query: RecordQuery, into: Uint8Array, record: LocatedRecord): Task {
  if (into.length < MIN_WINDOW_BYTES) return s.READ_NO_ROOM
  const window = new FrameWindow(query.fd, query.end, into, rulesOf(query))
  const order = new FrameOrder(query.sparse, query.entryOffset, query.batchFirst)
  const { frame } = window
  for (let position = query.position; ; position += frame.size) {
    let verdict = window.check(position)
    if (verdict === NOT_LOADED) verdict = yield* window.load(position)
    if (verdict < 0) return verdict
    if (verdict === s.STOP_NEWER) return s.READ_NEWER
    if (verdict === s.STOP_END || verdict === s.STOP_ZERO) return s.READ_NOT_FOUND
    const isTarget = frame.isRecord && frame.offset === query.offset
    if (verdict !== FRAME_GOOD) return isTarget ? s.READ_CHECKSUM : s.READ_NOT_FOUND
    if (frame.type === f.FRAME_FOOTER) return s.READ_NOT_FOUND
    if (!frame.isRecord) {
      if (!order.acceptEnd(frame)) return s.READ_NOT_FOUND
      continue
    }
    if (frame.offset > query.offset || !order.acceptRecord(frame)) return s.READ_NOT_FOUND
    if (!isTarget) continue
    record.frame = frame
    record.framePosition = position
    if (frame.size > into.length) return s.READ_LARGE
    record.frameAt = window.at(position)
    record.batchFirst = order.batchFirst
    return s.READ_OK
  }
}

/** The frames from the start of the first read to the target, none of them verified. */
class Steps {
  readonly view: DataView
  /** Of the target's header once it is found. */
  at = 0
  readonly #query: RecordQuery
  readonly #rules: FrameRules
  readonly #length: number
  readonly #frame = new Frame()
  /** The last frame on the way behind which, by its bit, no batch is open. */
  #batchEdge = 0

  constructor(query: RecordQuery, view: DataView, length: number) {
    this.#query = query
    this.#rules = rulesOf(query)
    this.view = view
    this.#length = length
  }

  /** Steps by frame lengths. NOT_LOADED: the target's header lies behind what was read. */
  find(): number {
    const query = this.#query
    const frame = this.#frame
    let next = query.entryOffset
    for (;;) {
      if (this.#length - this.at < f.FRAME_HEADER_BYTES) return NOT_LOADED
      frame.load(this.view, this.at)
      const follows = next < 0 || (query.sparse ? frame.offset >= next : frame.offset === next)
      if (frame.isRecord) {
        if (!follows || frame.offset > query.offset) return s.READ_NOT_FOUND
        if (frame.offset === query.offset) return s.READ_OK
        next = frame.offset + 1
        if (!frame.continuesBatch) this.#batchEdge = this.at
      } else if (frame.isCommit && frame.bodyLength === f.COMMIT_BODY_BYTES) {
        if (!follows) return s.READ_NOT_FOUND
        next = frame.offset
        this.#batchEdge = this.at
      } else {
        return this.#isNewer() ? s.READ_NEWER : s.READ_NOT_FOUND
      }
      // The target starts behind this frame: one that claims more than there is leads nowhere.
      if (frame.size > query.end - query.position - this.at) return s.READ_NOT_FOUND
      if (frame.size > this.#length - this.at) return NOT_LOADED
      this.at += frame.size
    }
  }

  /** First offset of the target's batch, unless the target itself says. */
  batchFirst(): number {
    const frame = this.#frame
    const { batchFirst, offset } = this.#query
    const from = this.#batchEdge > 0 && this.#continues(this.#batchEdge) ? 0 : this.#batchEdge
    frame.load(this.view, from)
    let first = from === 0 && batchFirst >= 0 ? batchFirst : frame.offset
    let open = true
    for (let at = from; at < this.at; at += frame.size) {
      frame.load(this.view, at)
      if (frame.isRecord && !open) first = frame.offset
      open = this.#continues(at)
    }
    return open ? first : offset
  }

  /**
   * Whether the batch goes on behind the frame. A damaged neighbour must not make the target unreadable, nor may it be trusted: when its CRC is good
   * with the bit turned over, the bit is what was damaged.
   */
  #continues(at: number): boolean {
    const frame = this.#frame
    frame.load(this.view, at)
    if (!frame.isRecord) return false
    const end = at + f.FRAME_HEADER_BYTES + frame.bodyLength
    if (extendCrc(this.#rules.seed, this.view, at + 4, end) === frame.crc) return frame.continuesBatch
    const turned = new DataView(new ArrayBuffer(f.FRAME_HEADER_BYTES))
    for (let byte = 0; byte < f.FRAME_HEADER_BYTES; byte++) turned.setUint8(byte, this.view.getUint8(at + byte))
    turned.setUint8(23, frame.flags ^ f.FLAG_BATCH_CONTINUES)
    const crc = extendCrc(extendCrc(this.#rules.seed, turned, 4, f.FRAME_HEADER_BYTES), this.view, at + f.FRAME_HEADER_BYTES, end)
    return (crc === frame.crc) !== frame.continuesBatch
  }

  #isNewer(): boolean {
    const left = this.#query.end - this.#query.position - this.at
    if (this.#frame.checkLength(this.#rules, left) !== FRAME_GOOD || this.#frame.size > this.#length - this.at) return false
    return this.#frame.check(this.#rules, this.view, this.at) === s.STOP_NEWER
  }
}
