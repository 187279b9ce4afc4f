import { constants } from 'node:os'
import { setU64, viewOf } from '../../format/bytes.js'
import { FRAME_HEADER_BYTES, FRAME_TOMBSTONE } from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrc } from './crc32c.js'
import { FRAME_GOOD, type Frame, FrameOrder, frameRules, orderOf } from './frame-check.js'
import type { Task } from './task.js'
import { FrameWindow, NOT_LOADED, readFull } from './window.js'
import { writeFull } from './write-full.js'

/** Read, and written, at a time: the event loop has its turn between two pieces. */
const PIECE_BYTES = 256 * 1024
const POSITION_BYTES = 8
/** A comma or bracket before an element and a line feed or bracket behind it. */
const PUNCTUATION_BYTES = 2

const BRACKET_OPEN = 0x5b
const BRACKET_CLOSE = 0x5d
const COMMA = 0x2c
const LINE_FEED = 0x0a
const NULL = Uint8Array.of(0x6e, 0x75, 0x6c, 0x6c)

/** FILE_RENDER */
export function* renderChunk(fd: number, from: number, end: number, numbers: Float64Array): Task {
  if (![s.FORM_JSON, s.FORM_NDJSON, s.FORM_RAW].includes(numbers[s.RENDER_FORM])) return -constants.errno.EINVAL
  const chunkBytes = numbers[s.RENDER_CHUNK_BYTES] > 0 ? numbers[s.RENDER_CHUNK_BYTES] : Infinity
  const rules = frameRules(numbers[s.RENDER_SEED], numbers[s.RENDER_SPARSE] !== 0, numbers[s.RENDER_MAX_RECORD])
  const order = new FrameOrder(rules.sparse, numbers[s.RENDER_OFFSET], numbers[s.RENDER_BATCH_FIRST])
  const bytes = new Uint8Array(PIECE_BYTES)
  const window = new FrameWindow(fd, end, bytes, rules)
  const chunk = new Chunk(numbers, rules.sparse)
  const { frame } = window
  let position = from
  let stop = FRAME_GOOD
  while (stop === FRAME_GOOD) {
    let verdict = window.check(position)
    if (verdict === NOT_LOADED) verdict = yield* window.load(position)
    if (verdict === FRAME_GOOD) verdict = orderOf(order, frame, window.commit, position)
    if (verdict < 0) return verdict
    if (verdict !== FRAME_GOOD) {
      stop = verdict
      break
    }
    const size = frame.size
    if (frame.isRecord && frame.offset >= numbers[s.RENDER_FROM]) {
      const valueStart = FRAME_HEADER_BYTES + frame.prefix
      if (size > bytes.length && frame.type !== FRAME_TOMBSTONE) {
        const status = yield* chunk.addFrom(fd, position + valueStart, frame)
        if (status < 0) return status
        if (status > 0) {
          stop = status
          break
        }
      } else {
        if (!chunk.hasRoom(Math.min(size, bytes.length))) {
          const status = yield* chunk.flush()
          if (status < 0) return status
        }
        chunk.add(bytes, window.at(position) + valueStart, frame)
      }
      if (!frame.continuesBatch && chunk.payload >= chunkBytes) stop = s.STOP_FULL
    }
    position += size
  }
  const status = yield* chunk.end()
  numbers[s.RENDER_STOP] = stop
  numbers[s.RENDER_NEXT_POSITION] = position
  numbers[s.RENDER_NEXT_OFFSET] = order.nextOffset
  return status
}

/** The two files of a chunk that grow side by side. */
class Chunk {
  /** Bytes of values. */
  payload = 0
  readonly #numbers: Float64Array
  readonly #sparse: boolean
  readonly #form: number
  readonly #content: OutputFile
  readonly #positions: OutputFile
  #count = 0
  #last = -1

  constructor(numbers: Float64Array, sparse: boolean) {
    this.#numbers = numbers
    this.#sparse = sparse
    this.#form = numbers[s.RENDER_FORM]
    this.#content = new OutputFile(numbers[s.RENDER_CONTENT_FD], 0)
    this.#positions = new OutputFile(numbers[s.RENDER_POSITIONS_FD], s.RENDER_POSITIONS_START)
  }

  /** For an element whose frame has this size, which is more than its value has. */
  hasRoom(size: number): boolean {
    return this.#content.room >= size && this.#positions.room >= 2 * POSITION_BYTES
  }

  /** An element whose value lies in `bytes`; there has to be room. */
  add(bytes: Uint8Array, valueStart: number, frame: Frame): void {
    this.#begin(frame)
    const length = frame.bodyLength - frame.prefix
    if (frame.type !== FRAME_TOMBSTONE) this.#content.put(bytes, valueStart, valueStart + length)
    else if (this.#form !== s.FORM_RAW) this.#content.put(NULL, 0, NULL.length)
    this.#finish(frame, length)
  }

  /** A large one: its value, verified piece by piece already, is read again. 0, STOP_… or −errno. */
  *addFrom(fd: number, valuePosition: number, frame: Frame): Task {
    let status = yield* this.flush()
    if (status < 0) return status
    this.#begin(frame)
    const length = frame.bodyLength - frame.prefix
    for (let copied = 0; copied < length; ) {
      if (this.#content.room === 0) status = yield* this.#content.flush()
      if (status < 0) return status
      const wanted = Math.min(this.#content.room, length - copied)
      status = yield* readFull(fd, this.#content.grow(wanted), valuePosition + copied)
      if (status < 0) return status
      if (status < wanted) return s.STOP_FRAMING
      copied += wanted
    }
    status = yield* this.#content.flush()
    if (status < 0) return status
    this.#finish(frame, length)
    return 0
  }

  *flush(): Task {
    const status = yield* this.#content.flush()
    return status < 0 ? status : yield* this.#positions.flush()
  }

  /** Closes the content and tells what there is. */
  *end(): Task {
    if (this.#form === s.FORM_JSON) {
      if (this.#content.room < PUNCTUATION_BYTES) {
        const status = yield* this.#content.flush()
        if (status < 0) return status
      }
      if (this.#count === 0) this.#content.putByte(BRACKET_OPEN)
      this.#content.putByte(BRACKET_CLOSE)
    }
    const status = yield* this.flush()
    const numbers = this.#numbers
    numbers[s.RENDER_COUNT] = this.#count
    numbers[s.RENDER_LAST] = this.#last
    numbers[s.RENDER_BYTES] = this.#content.length
    numbers[s.RENDER_CRC] = this.#content.crc
    numbers[s.RENDER_POSITIONS_CRC] = this.#positions.crc
    numbers[s.RENDER_PAYLOAD] = this.payload
    return status
  }

  #begin(frame: Frame): void {
    if (this.#form === s.FORM_JSON) this.#content.putByte(this.#count === 0 ? BRACKET_OPEN : COMMA)
    this.#positions.putU64(this.#content.length)
    if (this.#sparse) this.#positions.putU64(frame.offset)
  }

  #finish(frame: Frame, length: number): void {
    if (this.#form === s.FORM_NDJSON) this.#content.putByte(LINE_FEED)
    this.payload += length
    this.#last = frame.offset
    this.#count++
  }
}

/** A file written from `start` on through a buffer; its checksum grows with what is flushed. */
class OutputFile {
  crc = 0
  readonly #fd: number
  readonly #start: number
  readonly #bytes = new Uint8Array(PIECE_BYTES)
  readonly #view = viewOf(this.#bytes)
  #flushed = 0
  #filled = 0

  constructor(fd: number, start: number) {
    this.#fd = fd
    this.#start = start
  }

  /** Bytes put so far. */
  get length(): number {
    return this.#flushed + this.#filled
  }

  get room(): number {
    return PIECE_BYTES - this.#filled
  }

  putByte(byte: number): void {
    this.#bytes[this.#filled++] = byte
  }

  putU64(value: number): void {
    setU64(this.#view, this.#filled, value)
    this.#filled += 8
  }

  put(bytes: Uint8Array, from: number, to: number): void {
    this.#bytes.set(bytes.subarray(from, to), this.#filled)
    this.#filled += to - from
  }

  /** The next `length` bytes, for the caller to fill. */
  grow(length: number): Uint8Array {
    this.#filled += length
    return this.#bytes.subarray(this.#filled - length, this.#filled)
  }

  *flush(): Task {
    const status = yield* writeFull(this.#fd, this.#bytes.subarray(0, this.#filled), this.#start + this.#flushed)
    if (status < 0) return status
    this.crc = extendCrc(this.crc, this.#view, 0, this.#filled)
    this.#flushed += this.#filled
    this.#filled = 0
    return 0
  }
}
