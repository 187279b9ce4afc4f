import { constants } from 'node:fs'
import path from 'node:path'
import { ChecksumError, LogError } from '../errors.js'
import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { indexFile, SEGMENTS_DIRECTORY, segmentFile } from '../format/names.js'
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { ArchivedSegment } from './archived-segment.js'
import type { OffsetIndex } from './offset-index.js'

/**
 * One segment as readers see it: its file, or the archive that took its place. It is opened when first read and may be closed again when descriptors are short;
 * `pins` keep it open.
 */
export class Segment {
  readonly directory: string
  readonly base: number
  readonly generation: number
  /** Known after the first open; the writer knows it at once. */
  header: SegmentHeader | undefined
  /** Offset behind the last record; grows while the segment is appended to. */
  end: number
  /** File position behind the last commit frame; a closed segment's footer starts here. */
  endPosition: number
  /** MANIFEST calls it closed. */
  closed: boolean
  index: OffsetIndex | undefined
  /** Where its bytes are when its own file was given up; `fd` is the archive's then. */
  readonly archive: ArchivedSegment | undefined
  fd = -1
  pins = 0
  /** For the least-recently-used closing of descriptors. */
  lastUse = 0
  /** Its file is to be closed (or was unlinked) as soon as nobody reads it. */
  retired = false

  constructor(directory: string, base: number, generation: number, end: number, endPosition: number, closed: boolean, archive?: ArchivedSegment) {
    this.directory = directory
    this.base = base
    this.generation = generation
    this.end = end
    this.endPosition = endPosition
    this.closed = closed
    this.archive = archive
  }

  /** Of its own file, whether or not that is there. */
  get path(): string {
    return path.join(this.directory, SEGMENTS_DIRECTORY, segmentFile(this.base, this.generation))
  }

  get indexPath(): string {
    return path.join(this.directory, SEGMENTS_DIRECTORY, indexFile(this.base, this.generation))
  }

  get seed(): number {
    return this.header === undefined ? 0 : this.header.seed
  }

  get sparse(): boolean {
    return this.header?.sparse === true
  }

  /** Opens the file if it is not, and checks that it is the one that belongs here. */
  *open(kernels: Kernels, logId: Uint8Array, flags: number = constants.O_RDONLY): Procedure<void> {
    if (this.fd >= 0) return
    if (this.archive !== undefined) {
      const opened = yield* this.archive.open(this, kernels, logId)
      this.header = opened.header
      this.index = opened.index
      yield* this.#use(opened.fd)
      return
    }
    const fd = yield* io.open(this.path, flags)
    try {
      if (this.header === undefined) this.header = yield* readSegmentHeader(fd, this, kernels, logId)
    } catch (error) {
      yield* io.close(fd)
      throw error
    }
    yield* this.#use(fd)
  }

  /** Somebody else may have been faster. */
  *#use(fd: number): Procedure<void> {
    if (this.fd >= 0) yield* io.close(fd)
    else this.fd = fd
  }

  /** Closes the descriptor unless somebody uses it. */
  *release(): Procedure<void> {
    if (this.fd < 0 || this.pins > 0) return
    const fd = this.fd
    this.fd = -1
    yield* io.close(fd)
  }
}

export function* readSegmentHeader(
  fd: number,
  segment: { path: string; base: number; generation: number },
  kernels: Kernels,
  logId: Uint8Array,
): Procedure<SegmentHeader> {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES)
  const length = yield* io.read(fd, 0, bytes, segment.path)
  const header = decodeSegmentHeader(bytes.subarray(0, length), kernels.crc32c, logId)
  if (header === 'newer')
    throw new LogError('ERR_SEALOG_FORMAT_NEWER', `${segment.path} was written by a newer version of sealog`, { file: segment.path, position: 0 })
  if (typeof header === 'string') throw new ChecksumError(segment.path, 0, segment.base, `segment header: ${header}`)
  if (Buffer.compare(header.logId, logId) !== 0 || header.base !== segment.base || header.generation !== segment.generation) {
    throw new LogError('ERR_SEALOG_FORMAT', `${segment.path} belongs to another log or place`, { file: segment.path, position: 0 })
  }
  return header
}
