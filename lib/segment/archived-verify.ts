import type { ArchiveHeader } from '../format/archive-file.js'
import { ARCHIVE_HEADER_BYTES } from '../format/archive-file.js'
import { getU64, viewOf } from '../format/bytes.js'
import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { decodeFooter, type Footer } from '../format/frames.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { ArchivedBlocks } from './archived-blocks.js'
import type { ArchivedSegment } from './archived-segment.js'
import { stopWord } from './recovery.js'
import type { Segment } from './segment.js'

/** Blocks that are unpacked and looked at in one go: every request costs the event loop a turn. */
const VERIFY_BYTES = 1024 * 1024
const SCAN_ROWS = 8192

/** What an archive was found to hold. */
export interface VerifiedArchive {
  readonly header: ArchiveHeader
  readonly footer: Footer
  /** CRC-32C of the whole file. */
  readonly crc: number
}

/** Counts what the frames of a segment hold, piece by piece. */
class FrameCount {
  readonly #segment: Segment
  readonly #numbers = new Float64Array(k.SCAN_LENGTH)
  readonly #table = new Uint32Array(SCAN_ROWS * k.SCAN_COLUMNS)
  records = 0
  first = -1
  last = -1
  /** Offset and batch first expected next. */
  next: number
  #batchFirst = -1

  constructor(segment: Segment) {
    this.#segment = segment
    this.next = segment.sparse ? -1 : segment.base
  }

  /** Verifies the frames in `bytes`, which lie at `position` of the segment. Throws what `damaged` makes. */
  *add(bytes: Uint8Array, position: number, damaged: (why: string, position: number) => Error): Procedure<void> {
    const { header } = this.#segment
    if (header === undefined) throw new Error('the segment is not open')
    const numbers = this.#numbers
    const end = position + bytes.length
    const view = viewOf(bytes)
    for (let at = position; at < end; ) {
      numbers[k.SCAN_SEED] = header.seed
      numbers[k.SCAN_OFFSET] = this.next
      numbers[k.SCAN_BATCH_FIRST] = this.#batchFirst
      numbers[k.SCAN_FROM] = 0
      numbers[k.SCAN_MAX_RECORD] = header.maxRecordBytes
      numbers[k.SCAN_SPARSE] = header.sparse ? 1 : 0
      const piece = bytes.subarray(at - position)
      io.check(yield { operation: k.FILE_SCAN_BYTES, fd: -1, a: at, b: end, bytes: piece, numbers, table: this.#table }, k.FILE_SCAN_BYTES)
      const count = numbers[k.SCAN_COUNT]
      if (count > 0) {
        const offsetAt = (row: number) => getU64(view, at - position + this.#table[row * k.SCAN_COLUMNS] + 8)
        if (this.first < 0) this.first = offsetAt(0)
        this.last = offsetAt(count - 1)
        this.records += count
      }
      const stop = numbers[k.SCAN_STOP]
      const footer =
        stop === k.STOP_FOOTER && numbers[k.SCAN_NEXT_POSITION] === end - FOOTER_FRAME_BYTES && end === this.#segment.endPosition + FOOTER_FRAME_BYTES
      if (!footer && stop !== k.STOP_END && stop !== k.STOP_TABLE_FULL) throw damaged(stopWord(stop), numbers[k.SCAN_NEXT_POSITION])
      if (numbers[k.SCAN_NEXT_OFFSET] >= 0) this.next = numbers[k.SCAN_NEXT_OFFSET]
      this.#batchFirst = numbers[k.SCAN_NEXT_BATCH_FIRST]
      if (footer) return
      if (numbers[k.SCAN_NEXT_POSITION] <= at) throw damaged('framing', at)
      at = numbers[k.SCAN_NEXT_POSITION]
    }
  }
}

/**
 * Reads a whole archive back: unpacks every block, verifies every frame, and compares number and offsets of the records, footer and the CRC of all segment bytes
 * with its header. `crc`: what the CRC of the file must be. Throws ERR_SEALOG_ARCHIVE. Blocks go past the cache.
 */
export function* verifyArchive(
  segment: Segment,
  archive: ArchivedSegment,
  blocks: ArchivedBlocks,
  kernels: k.Kernels,
  logId: Uint8Array,
  crc: number | undefined,
): Procedure<VerifiedArchive> {
  let buffer = blocks.borrow()
  segment.pins++
  try {
    yield* segment.open(kernels, logId)
    const { header } = archive
    if (header === undefined) throw new Error('the archive is not open')
    const fileCrc = yield* checksum(segment.fd, 0, archive.bytes, archive.path)
    if (crc !== undefined && fileCrc !== crc) throw archive.damaged('checksum of the file')
    const blocksEnd = ARCHIVE_HEADER_BYTES + archive.blocks.reduce((sum, block) => sum + block.archiveBytes, 0)
    if ((yield* checksum(segment.fd, ARCHIVE_HEADER_BYTES, blocksEnd, archive.path)) !== archive.blocksCrc)
      throw archive.damaged('checksum of the blocks', ARCHIVE_HEADER_BYTES)
    const count = new FrameCount(segment)
    let segmentCrc = kernels.crc32c(header.segmentHeader, 0)
    let footer: Footer | undefined
    const damaged = (why: string, position: number) => archive.damaged(why, archive.blocks.findLast((block) => block.position <= position)?.archivePosition)
    for (let first = 0, end = 0; first < archive.blocks.length; first = end) {
      let length = 0
      do {
        length += archive.blocks[end++].bytes
      } while (end < archive.blocks.length && length + archive.blocks[end].bytes <= VERIFY_BYTES)
      if (buffer.length < length) buffer = new Uint8Array(length)
      const bytes = buffer.subarray(0, length)
      yield* blocks.unpack(segment, archive, first, bytes, end - first)
      segmentCrc = kernels.crc32c(bytes, segmentCrc)
      yield* count.add(bytes, archive.blocks[first].position, damaged)
      footer = decodeFooter(bytes.subarray(Math.max(0, bytes.length - FOOTER_FRAME_BYTES)), segment.seed, kernels.crc32c)
    }
    if (segmentCrc !== header.segmentCrc) throw archive.damaged('checksum of the segment', ARCHIVE_HEADER_BYTES)
    if (footer === undefined || !agrees(header, footer, count)) throw archive.damaged('the footer does not agree with the records')
    return { header, footer, crc: fileCrc }
  } finally {
    segment.pins--
    blocks.giveBack(buffer)
  }
}

function agrees(header: ArchiveHeader, footer: Footer, count: FrameCount): boolean {
  const { records, first, last } = count
  return (
    footer.fileBytes === header.segmentBytes &&
    footer.nextOffset === header.end &&
    footer.count === records &&
    header.count === records &&
    footer.firstOffset === header.firstOffset &&
    footer.lastOffset === header.lastOffset &&
    (records === 0 || (first === header.firstOffset && last === header.lastOffset))
  )
}

/** CRC-32C of the bytes from … to of a file. */
export function* checksum(fd: number, from: number, to: number, file: string): Procedure<number> {
  const numbers = new Float64Array(2)
  io.check(yield { operation: k.FILE_CHECKSUM, fd, a: from, b: to, numbers }, k.FILE_CHECKSUM, file)
  return numbers[0]
}
