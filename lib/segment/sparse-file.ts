import { constants } from 'node:fs'
import type { Checksum } from '../format/bytes.js'
import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { encodeFooter } from '../format/frames.js'
import { encodeSegmentHeader, type NewSegmentHeader } from '../format/segment-header.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'

/** What was written between header and footer. */
export interface SparseContent {
  /** Behind the last commit frame. */
  readonly position: number
  /** Of the last group, 0: there is none. */
  readonly chain: number
  readonly count: number
  /** Of the records, −1: there is none. */
  readonly firstOffset: number
  readonly lastOffset: number
  /** Infinity and −1: there is none. */
  readonly minTime: number
  readonly maxTime: number
}

/** The file of the next generation of a segment: header first, groups by somebody else, footer last. It is complete and synced when `finish` returns; renaming it is the caller's. */
export class SparseFile {
  readonly path: string
  readonly seed: number
  readonly epoch: number
  readonly #crc32c: Checksum
  readonly #header: Uint8Array
  #fd = -1

  constructor(path: string, header: NewSegmentHeader, crc32c: Checksum) {
    const encoded = encodeSegmentHeader({ ...header, sparse: true }, crc32c)
    this.path = path
    this.seed = encoded.seed
    this.epoch = header.epoch
    this.#crc32c = crc32c
    this.#header = encoded.bytes
  }

  /** −1: it is closed. */
  get fd(): number {
    return this.#fd
  }

  *begin(): Procedure<void> {
    this.#fd = yield* io.open(this.path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)
    yield* io.write(this.#fd, 0, this.#header, this.path)
  }

  /** Footer with the end of the range replaced and the link of what it replaces; then size and sync. The bytes of the file. */
  *finish(content: SparseContent, end: number, linkChain: number, closedAt: number): Procedure<number> {
    const { position, chain, count, firstOffset, lastOffset, minTime, maxTime } = content
    const bytes = position + FOOTER_FRAME_BYTES
    const footer = encodeFooter(
      {
        firstOffset: count === 0 ? end : firstOffset,
        lastOffset: count === 0 ? end : lastOffset,
        count,
        minTime,
        maxTime,
        fileBytes: bytes,
        contentChain: chain,
        linkChain,
        chunks: 0,
        nextOffset: end,
        closedAt,
      },
      this.seed,
      this.#crc32c,
    )
    yield* io.write(this.#fd, position, footer, this.path)
    yield* io.truncate(this.#fd, bytes, this.path)
    yield* io.sync(this.#fd, this.path)
    yield* this.abandon()
    return bytes
  }

  /** Closes the file, complete or not. */
  *abandon(): Procedure<void> {
    if (this.#fd < 0) return
    const fd = this.#fd
    this.#fd = -1
    yield* io.close(fd)
  }
}
