import { viewOf } from '../../format/bytes.js'
import { FRAME_HEADER_BYTES } from '../../format/constants.js'
import { STOP_CHECKSUM, STOP_END, STOP_FRAMING } from '../kernels.js'
import { extendCrc } from './crc32c.js'
import { Commit, FRAME_GOOD, Frame, type FrameRules } from './frame-check.js'
import { readCall } from './io.js'
import type { Task } from './task.js'

/** Any frame but a record fits into a window of this size, and so do the parts of a record that are looked at. */
export const MIN_WINDOW_BYTES = 128
/** The frame is not in memory: `load` it. */
export const NOT_LOADED = 1001

/** Reads until `into` is full or the file ends → bytes read or −errno. */
export function* readFull(fd: number, into: Uint8Array, position: number): Task {
  let filled = 0
  while (filled < into.length) {
    const got = yield readCall(fd, filled === 0 ? into : into.subarray(filled), position + filled)
    if (got < 0) return got
    if (got === 0) break
    filled += got
  }
  return filled
}

/** Frames of a file, seen through a buffer of fixed size, whatever their own. Bytes at `end` and behind it do not exist. */
export class FrameWindow {
  readonly frame = new Frame()
  readonly commit = new Commit()
  readonly #fd: number
  readonly #end: number
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #rules: FrameRules
  #start = 0
  #filled = 0

  constructor(fd: number, end: number, bytes: Uint8Array, rules: FrameRules) {
    this.#fd = fd
    this.#end = end
    this.#bytes = bytes
    this.#view = viewOf(bytes)
    this.#rules = rules
  }

  /** FRAME_GOOD, STOP_… or NOT_LOADED. No generator: this is the loop over frames in memory. */
  check(position: number): number {
    if (position >= this.#end) return STOP_END
    const at = position - this.#start
    if (at < 0 || at + FRAME_HEADER_BYTES > this.#filled) return NOT_LOADED
    this.frame.load(this.#view, at)
    const length = this.frame.checkLength(this.#rules, this.#end - position)
    if (length !== FRAME_GOOD) return length
    if (at + this.frame.size > this.#filled) return NOT_LOADED
    if (this.frame.isCommit) this.commit.load(this.#view, at)
    return this.frame.check(this.#rules, this.#view, at)
  }

  /** Where `position`, which is visible, lies in the buffer. */
  at(position: number): number {
    return position - this.#start
  }

  /** Moves the window to `position` and checks the frame there; one that is larger than the window piece by piece. FRAME_GOOD, STOP_… or −errno. */
  *load(position: number): Task {
    const status = yield* this.#fill(position)
    if (status < 0) return status
    const verdict = this.check(position)
    if (verdict !== NOT_LOADED) return verdict
    const cut = this.#filled < FRAME_HEADER_BYTES || this.frame.size <= this.#bytes.length
    return cut ? STOP_FRAMING : yield* this.#checkInPieces(position)
  }

  *#checkInPieces(position: number): Task {
    if (this.#filled < MIN_WINDOW_BYTES) return STOP_FRAMING
    const { frame } = this
    const bodyStart = viewOf(new Uint8Array(this.#bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + 8)))
    const end = position + FRAME_HEADER_BYTES + frame.bodyLength
    let crc = this.#rules.seed
    for (let at = position + 4; at < end; ) {
      if (at >= this.#start + this.#filled) {
        const status = yield* this.#fill(at)
        if (status < 0) return status
        if (status === 0) return STOP_FRAMING
      }
      const to = Math.min(end, this.#start + this.#filled)
      crc = extendCrc(crc, this.#view, at - this.#start, to - this.#start)
      at = to
    }
    if (crc !== frame.crc) return STOP_CHECKSUM
    if (position + frame.size > this.#start + this.#filled) {
      const status = yield* this.#fill(end)
      if (status < 0) return status
      if (position + frame.size > this.#start + this.#filled) return STOP_FRAMING
    }
    if (!frame.paddingIsZero(this.#view, end - this.#start)) return STOP_FRAMING
    return frame.checkBody(this.#rules, bodyStart, 0)
  }

  *#fill(position: number): Task {
    this.#start = position
    this.#filled = 0
    const got = yield* readFull(this.#fd, this.#bytes.subarray(0, Math.min(this.#bytes.length, Math.max(0, this.#end - position))), position)
    if (got > 0) this.#filled = got
    return got
  }
}
