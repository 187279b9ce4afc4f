import { type Checksum, getU64, setU64, viewOf } from './bytes.js'
import { SEGMENT_HEADER_BYTES } from './constants.js'

/**
 * An archive is one valid zstd file: a skippable frame with the header, blocks (each a zstd frame), a skippable frame with the index of the blocks, one with
 * the trailer that finds the index. The prose twin is docs/format.md.
 */
export const ARCHIVE_MAGIC = 'SEALOGA1'
export const ARCHIVE_INDEX_MAGIC = 'SEALOGAI'
export const ARCHIVE_TRAILER_MAGIC = 'SEALOGAE'
export const ARCHIVE_VERSION = 1
export const ARCHIVE_HEADER_BYTES = 256
export const ARCHIVE_TRAILER_BYTES = 48
export const ARCHIVE_ROW_BYTES = 56
/** The only compression there is: zstd. */
const COMPRESSION_ZSTD = 1
const SKIPPABLE = 0x184d2a5e
const FRAME_HEADER = 8
/** Behind the magic: CRC-32C of everything behind it. In front of what it covers, so that the CRC of the whole file depends on that too. */
const CRC_AT = 16
const INDEX_ROWS_AT = 24
const SEGMENT_HEADER_AT = 128

/** What an archive says about the segment it holds. */
export interface ArchiveHeader {
  /** 16 bytes. */
  readonly logId: Uint8Array
  readonly base: number
  /** Offset behind it. */
  readonly end: number
  readonly count: number
  /** As in the footer of the segment. */
  readonly firstOffset: number
  readonly lastOffset: number
  /** Infinity and −1 when there are no records. */
  readonly minTime: number
  readonly maxTime: number
  /** Size of the segment file and CRC-32C of all its bytes. */
  readonly segmentBytes: number
  readonly segmentCrc: number
  readonly generation: number
  readonly level: number
  /** Id of the dictionary, 0: none. */
  readonly dictionary: number
  /** Segment bytes that were aimed at for a block. */
  readonly blockBytes: number
  /** The 128 bytes that the segment begins with. */
  readonly segmentHeader: Uint8Array
}

/** Where an archive is no good, or what of it is too new. */
export type ArchiveProblem = { readonly kind: 'damaged' | 'newer'; readonly why: string }

export function encodeArchiveHeader(header: ArchiveHeader, crc32c: Checksum): Uint8Array {
  const bytes = skippable(ARCHIVE_HEADER_BYTES, ARCHIVE_MAGIC)
  const view = viewOf(bytes)
  view.setUint16(20, ARCHIVE_VERSION, true)
  view.setUint16(22, ARCHIVE_HEADER_BYTES, true)
  bytes.set(header.logId, 24)
  const numbers = [header.base, header.end, header.count, header.firstOffset, header.lastOffset]
  for (const [i, number] of numbers.entries()) setU64(view, 40 + 8 * i, number)
  setU64(view, 80, header.count === 0 ? 0 : header.minTime)
  setU64(view, 88, header.count === 0 ? 0 : header.maxTime)
  setU64(view, 96, header.segmentBytes)
  view.setUint32(104, header.segmentCrc, true)
  view.setUint32(108, header.generation, true)
  view.setUint8(112, COMPRESSION_ZSTD)
  view.setUint8(113, header.level)
  view.setUint32(116, header.dictionary, true)
  view.setUint32(120, header.blockBytes, true)
  bytes.set(header.segmentHeader, SEGMENT_HEADER_AT)
  return sealed(bytes, crc32c)
}

export function decodeArchiveHeader(bytes: Uint8Array, crc32c: Checksum): ArchiveHeader | ArchiveProblem {
  if (!isFrame(bytes, ARCHIVE_HEADER_BYTES, ARCHIVE_MAGIC)) return damaged('it does not begin like an archive')
  if (!isSealed(bytes, crc32c)) return damaged('checksum of the header')
  const view = viewOf(bytes)
  const version = view.getUint16(20, true)
  if (version !== ARCHIVE_VERSION || view.getUint16(22, true) !== ARCHIVE_HEADER_BYTES) return { kind: 'newer', why: `version ${version}` }
  if (view.getUint32(124, true) !== 0) return { kind: 'newer', why: `features ${view.getUint32(124, true)}` }
  if (view.getUint8(112) !== COMPRESSION_ZSTD) return { kind: 'newer', why: `compression ${view.getUint8(112)}` }
  const numbers = Array.from({ length: 8 }, (_, i) => getU64(view, 40 + 8 * i))
  if (numbers.some(Number.isNaN) || view.getUint16(114, true) !== 0) return damaged('fields of the header')
  const [base, end, count, firstOffset, lastOffset, minTime, maxTime, segmentBytes] = numbers
  return {
    logId: bytes.slice(24, 40),
    base,
    end,
    count,
    firstOffset,
    lastOffset,
    minTime: count === 0 ? Number.POSITIVE_INFINITY : minTime,
    maxTime: count === 0 ? -1 : maxTime,
    segmentBytes,
    segmentCrc: view.getUint32(104, true),
    generation: view.getUint32(108, true),
    level: view.getUint8(113),
    dictionary: view.getUint32(116, true),
    blockBytes: view.getUint32(120, true),
    segmentHeader: bytes.slice(SEGMENT_HEADER_AT, SEGMENT_HEADER_AT + SEGMENT_HEADER_BYTES),
  }
}

/** One block: a run of whole frames of the segment. */
export interface ArchiveBlock {
  /** Position and bytes in the segment. */
  readonly position: number
  readonly bytes: number
  /** Offset expected at its first frame, and first offset of the batch that goes on there; −1: unknown, and a batch begins. */
  readonly offset: number
  readonly batchFirst: number
  /** No timestamp of a record before it is larger; −1: there is none. */
  readonly runningTime: number
  /** Position and bytes in the archive. */
  readonly archivePosition: number
  readonly archiveBytes: number
}

const ROW_FIELDS = ['position', 'bytes', 'offset', 'batchFirst', 'runningTime', 'archivePosition', 'archiveBytes'] as const
/** Fields that may be −1 are stored plus one. */
const SHIFTED: ReadonlySet<string> = new Set(['offset', 'batchFirst', 'runningTime'])

/** The skippable frame of the index. */
export function encodeArchiveIndex(blocks: readonly ArchiveBlock[], crc32c: Checksum): Uint8Array {
  const bytes = skippable(INDEX_ROWS_AT + blocks.length * ARCHIVE_ROW_BYTES, ARCHIVE_INDEX_MAGIC)
  const view = viewOf(bytes)
  view.setUint32(20, blocks.length, true)
  for (const [i, block] of blocks.entries()) {
    for (const [j, field] of ROW_FIELDS.entries()) setU64(view, INDEX_ROWS_AT + i * ARCHIVE_ROW_BYTES + 8 * j, block[field] + (SHIFTED.has(field) ? 1 : 0))
  }
  return sealed(bytes, crc32c)
}

/** The blocks, which follow each other without gaps in the segment and in the archive; undefined when anything about them is wrong. */
export function decodeArchiveIndex(bytes: Uint8Array, header: ArchiveHeader, trailer: ArchiveTrailer, crc32c: Checksum): readonly ArchiveBlock[] | undefined {
  const view = viewOf(bytes)
  if (!isFrame(bytes, INDEX_ROWS_AT + trailer.blocks * ARCHIVE_ROW_BYTES, ARCHIVE_INDEX_MAGIC) || !isSealed(bytes, crc32c)) return undefined
  if (view.getUint32(20, true) !== trailer.blocks) return undefined
  const blocks: ArchiveBlock[] = []
  let position = SEGMENT_HEADER_BYTES
  let archivePosition = ARCHIVE_HEADER_BYTES
  for (let at = INDEX_ROWS_AT; at < bytes.length; at += ARCHIVE_ROW_BYTES) {
    const block = Object.fromEntries(ROW_FIELDS.map((field, j) => [field, getU64(view, at + 8 * j) - (SHIFTED.has(field) ? 1 : 0)])) as unknown as ArchiveBlock
    if (Object.values(block).some(Number.isNaN) || block.position !== position || block.archivePosition !== archivePosition) return undefined
    if (block.bytes === 0 || block.archiveBytes === 0) return undefined
    position += block.bytes
    archivePosition += block.archiveBytes
    blocks.push(block)
  }
  return position === header.segmentBytes && archivePosition === trailer.indexPosition ? blocks : undefined
}

/** The last bytes of an archive. */
export interface ArchiveTrailer {
  readonly indexPosition: number
  readonly indexBytes: number
  readonly blocks: number
  /** CRC-32C of all blocks, as they lie in the archive. */
  readonly blocksCrc: number
}

export function encodeArchiveTrailer(trailer: ArchiveTrailer, crc32c: Checksum): Uint8Array {
  const bytes = skippable(ARCHIVE_TRAILER_BYTES, ARCHIVE_TRAILER_MAGIC)
  const view = viewOf(bytes)
  view.setUint32(20, trailer.blocks, true)
  setU64(view, 24, trailer.indexPosition)
  setU64(view, 32, trailer.indexBytes)
  view.setUint32(40, trailer.blocksCrc, true)
  return sealed(bytes, crc32c)
}

/** undefined when the archive, of `fileBytes` in all, does not end like one. */
export function decodeArchiveTrailer(bytes: Uint8Array, fileBytes: number, crc32c: Checksum): ArchiveTrailer | undefined {
  if (!isFrame(bytes, ARCHIVE_TRAILER_BYTES, ARCHIVE_TRAILER_MAGIC) || !isSealed(bytes, crc32c)) return undefined
  const view = viewOf(bytes)
  const indexPosition = getU64(view, 24)
  const indexBytes = getU64(view, 32)
  if (indexPosition + indexBytes + ARCHIVE_TRAILER_BYTES !== fileBytes || view.getUint32(44, true) !== 0) return undefined
  return { indexPosition, indexBytes, blocks: view.getUint32(20, true), blocksCrc: view.getUint32(40, true) }
}

/** A skippable frame of `size` bytes in all. */
function skippable(size: number, magic: string): Uint8Array {
  const bytes = new Uint8Array(size)
  const view = viewOf(bytes)
  view.setUint32(0, SKIPPABLE, true)
  view.setUint32(4, size - FRAME_HEADER, true)
  for (let i = 0; i < magic.length; i++) bytes[FRAME_HEADER + i] = magic.charCodeAt(i)
  return bytes
}

function isFrame(bytes: Uint8Array, size: number, magic: string): boolean {
  if (bytes.length !== size) return false
  const view = viewOf(bytes)
  if (view.getUint32(0, true) !== SKIPPABLE || view.getUint32(4, true) !== size - FRAME_HEADER) return false
  for (let i = 0; i < magic.length; i++) if (bytes[FRAME_HEADER + i] !== magic.charCodeAt(i)) return false
  return true
}

function sealed(bytes: Uint8Array, crc32c: Checksum): Uint8Array {
  viewOf(bytes).setUint32(CRC_AT, crc32c(bytes.subarray(CRC_AT + 4), 0), true)
  return bytes
}

function isSealed(bytes: Uint8Array, crc32c: Checksum): boolean {
  return crc32c(bytes.subarray(CRC_AT + 4), 0) === viewOf(bytes).getUint32(CRC_AT, true)
}

function damaged(why: string): ArchiveProblem {
  return { kind: 'damaged', why }
}
