import { allZero, type Checksum, getU64, setU64, viewOf } from './bytes.js'
import { FORMAT_VERSION, RECORD_BYTES_LIMIT, SEGMENT_FEATURE_SPARSE, SEGMENT_FEATURES_KNOWN, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC } from './constants.js'

export const FORMS = ['none', 'json', 'ndjson', 'raw'] as const
export const CODECS = ['bytes', 'json'] as const

/** The 128 bytes at the start of a segment, docs/format.md. */
export interface SegmentHeader {
  readonly sparse: boolean
  /** 16 bytes. */
  readonly logId: Uint8Array
  readonly base: number
  /** ms since the epoch. */
  readonly createdAt: number
  readonly epoch: number
  readonly generation: number
  /** Chain at the end of the segment before. */
  readonly prevChain: number
  readonly maxRecordBytes: number
  readonly chunkBytes: number
  readonly form: (typeof FORMS)[number]
  readonly codec: (typeof CODECS)[number]
  readonly firstChunkSequence: number
  readonly syncedOffset: number
  /** Running maximum of timestamps before this segment; −1: none. */
  readonly runningTime: number
  /** CRC of the header: the seed of every frame CRC in the file. */
  readonly seed: number
}

/** As it is encoded. */
export interface NewSegmentHeader extends Omit<SegmentHeader, 'seed'> {
  /** 8 bytes, random: so that no other header has the same seed. */
  readonly salt: Uint8Array
}

export type HeaderProblem = 'short' | 'magic' | 'checksum' | 'newer' | 'fields'

export function encodeSegmentHeader(header: NewSegmentHeader, crc32c: Checksum): { bytes: Uint8Array; seed: number } {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES)
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) bytes[i] = SEGMENT_MAGIC.charCodeAt(i)
  view.setUint16(8, FORMAT_VERSION, true)
  view.setUint16(10, SEGMENT_HEADER_BYTES, true)
  view.setUint32(12, header.sparse ? SEGMENT_FEATURE_SPARSE : 0, true)
  bytes.set(header.logId, 16)
  bytes.set(header.salt, 32)
  setU64(view, 40, header.base)
  setU64(view, 48, header.createdAt)
  view.setUint32(56, header.epoch, true)
  view.setUint32(60, header.generation, true)
  view.setUint32(64, header.prevChain, true)
  view.setUint32(68, header.maxRecordBytes, true)
  view.setUint32(72, header.chunkBytes, true)
  view.setUint8(76, FORMS.indexOf(header.form))
  view.setUint8(77, CODECS.indexOf(header.codec))
  setU64(view, 80, header.firstChunkSequence)
  setU64(view, 88, header.syncedOffset)
  setU64(view, 96, header.runningTime + 1)
  const seed = crc32c(bytes.subarray(0, 124), 0)
  view.setUint32(124, seed, true)
  return { bytes, seed }
}

/** `knownId`: taken in the place of an equal log id, so that the segments of a log share one. */
export function decodeSegmentHeader(bytes: Uint8Array, crc32c: Checksum, knownId?: Uint8Array): SegmentHeader | HeaderProblem {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'short'
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) if (bytes[i] !== SEGMENT_MAGIC.charCodeAt(i)) return 'magic'
  const seed = view.getUint32(124, true)
  if (crc32c(bytes.subarray(0, 124), 0) !== seed) return 'checksum'
  const features = view.getUint32(12, true)
  if (view.getUint16(8, true) !== FORMAT_VERSION || (features & ~SEGMENT_FEATURES_KNOWN) !== 0) return 'newer'
  const form = FORMS[view.getUint8(76)]
  const codec = CODECS[view.getUint8(77)]
  const base = getU64(view, 40)
  const runningTime = getU64(view, 96) - 1
  const maxRecordBytes = view.getUint32(68, true)
  if (form === undefined || codec === undefined || view.getUint16(10, true) !== SEGMENT_HEADER_BYTES) return 'newer'
  if (
    Number.isNaN(base) ||
    Number.isNaN(runningTime) ||
    maxRecordBytes > RECORD_BYTES_LIMIT ||
    view.getUint16(78, true) !== 0 ||
    !allZero(bytes.subarray(104, 124))
  )
    return 'fields'
  const logId = bytes.subarray(16, 32)
  return {
    sparse: (features & SEGMENT_FEATURE_SPARSE) !== 0,
    logId: knownId !== undefined && Buffer.compare(logId, knownId) === 0 ? knownId : logId.slice(),
    base,
    createdAt: getU64(view, 48),
    epoch: view.getUint32(56, true),
    generation: view.getUint32(60, true),
    prevChain: view.getUint32(64, true),
    maxRecordBytes,
    chunkBytes: view.getUint32(72, true),
    form,
    codec,
    firstChunkSequence: getU64(view, 80),
    syncedOffset: getU64(view, 88),
    runningTime,
    seed,
  }
}
