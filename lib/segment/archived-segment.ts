import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import {
  ARCHIVE_HEADER_BYTES,
  ARCHIVE_TRAILER_BYTES,
  type ArchiveBlock,
  type ArchiveHeader,
  decodeArchiveHeader,
  decodeArchiveIndex,
  decodeArchiveTrailer,
} from '../format/archive-file.js'
import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { dictionaryFile } from '../format/names.js'
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { ENOENT, systemError } from '../kernels/system-error.js'
import { OffsetIndex } from './offset-index.js'

/** What MANIFEST says about an archive. */
export interface ArchiveFileFacts {
  readonly file: string
  readonly bytes: number
  readonly dictionary: number
}

/** The segment that an archive has to be of. */
interface SegmentPlace {
  readonly base: number
  readonly generation: number
  readonly end: number
  readonly endPosition: number
}

/** What opening an archive gives. */
export interface OpenedArchive {
  readonly fd: number
  readonly header: SegmentHeader
  readonly index: OffsetIndex
}

let lastId = 0

/** An archive that stands for its segment, whose own file was given up. What it holds is known after the first open. */
export class ArchivedSegment {
  /** Tells it from every other one of this process, also of the same name. */
  readonly id = ++lastId
  readonly directory: string
  readonly file: string
  readonly bytes: number
  readonly dictionary: number
  header: ArchiveHeader | undefined
  blocks: readonly ArchiveBlock[] = []
  blocksCrc = 0

  constructor(directory: string, facts: ArchiveFileFacts) {
    this.directory = directory
    this.file = facts.file
    this.bytes = facts.bytes
    this.dictionary = facts.dictionary
  }

  get path(): string {
    return path.join(this.directory, this.file)
  }

  get dictionaryPath(): string {
    return path.join(this.directory, dictionaryFile(this.dictionary))
  }

  /** Opens the file and reads header and index. ERR_SEALOG_ARCHIVE when it is missing, damaged, or not the archive of this segment. */
  *open(place: SegmentPlace, kernels: Kernels, logId: Uint8Array): Procedure<OpenedArchive> {
    const fd = yield* io.openExisting(this.path, constants.O_RDONLY)
    if (fd === undefined) {
      const cause = systemError(ENOENT, 'open', this.path)
      throw new LogError('ERR_SEALOG_ARCHIVE', `the archive ${this.path} is missing; it holds offsets ${place.base} to ${place.end - 1}`, {
        cause,
        file: this.path,
        offset: place.base,
        endOffset: place.end,
      })
    }
    try {
      const header = yield* this.#load(fd, place, kernels, logId)
      return { fd, header, index: this.#index(place.base) }
    } catch (error) {
      yield* io.close(fd)
      throw error
    }
  }

  /** The number of the block that holds a segment position. */
  blockAt(position: number): number {
    let low = 0
    let high = this.blocks.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (this.blocks[middle].position <= position) low = middle
      else high = middle
    }
    return low
  }

  damaged(why: string, position = 0): LogError {
    return new LogError('ERR_SEALOG_ARCHIVE', `the archive ${this.path} is damaged at position ${position} (${why})`, { file: this.path, position })
  }

  *#load(fd: number, place: SegmentPlace, kernels: Kernels, logId: Uint8Array): Procedure<SegmentHeader> {
    const { size } = yield* io.stat(fd, this.path)
    const header = decodeArchiveHeader(yield* this.#read(fd, 0, ARCHIVE_HEADER_BYTES), kernels.crc32c)
    if ('kind' in header) {
      if (header.kind === 'damaged') throw this.damaged(header.why)
      throw new LogError('ERR_SEALOG_FORMAT_NEWER', `${this.path} was written by a newer version of sealog (${header.why})`, { file: this.path, position: 0 })
    }
    if (Buffer.compare(header.logId, logId) !== 0)
      throw new LogError('ERR_SEALOG_ARCHIVE', `${this.path} is an archive of another log`, { file: this.path, position: 0 })
    const segmentHeader = decodeSegmentHeader(header.segmentHeader, kernels.crc32c, logId)
    if (typeof segmentHeader === 'string') throw this.damaged(`segment header: ${segmentHeader}`)
    const isThis =
      header.base === place.base &&
      header.end === place.end &&
      header.generation === place.generation &&
      header.segmentBytes === place.endPosition + FOOTER_FRAME_BYTES &&
      segmentHeader.base === place.base &&
      segmentHeader.generation === place.generation
    if (!isThis) throw new LogError('ERR_SEALOG_ARCHIVE', `${this.path} is not the archive that belongs here`, { file: this.path, position: 0 })
    if (size !== this.bytes) throw this.damaged(`it has ${size} bytes instead of ${this.bytes}`, Math.min(size, this.bytes))
    const trailerPosition = size - ARCHIVE_TRAILER_BYTES
    const trailer = decodeArchiveTrailer(yield* this.#read(fd, Math.max(0, trailerPosition), ARCHIVE_TRAILER_BYTES), size, kernels.crc32c)
    if (trailer === undefined) throw this.damaged('trailer', Math.max(0, trailerPosition))
    const blocks = decodeArchiveIndex(yield* this.#read(fd, trailer.indexPosition, trailer.indexBytes), header, trailer, kernels.crc32c)
    if (blocks === undefined) throw this.damaged('index', trailer.indexPosition)
    if (header.dictionary !== this.dictionary) throw this.damaged('dictionary of the header')
    this.header = header
    this.blocks = blocks
    this.blocksCrc = trailer.blocksCrc
    return segmentHeader
  }

  *#read(fd: number, position: number, length: number): Procedure<Uint8Array> {
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, yield* io.read(fd, position, bytes, this.path))
  }

  #index(base: number): OffsetIndex {
    const index = new OffsetIndex(base)
    for (const { offset, position, batchFirst, runningTime } of this.blocks) {
      const first = Math.max(base, offset)
      index.add(first, position, batchFirst < 0 ? first : batchFirst, runningTime)
    }
    return index
  }
}
