import { allZero, type Checksum, getU64, setU64, viewOf } from './bytes.js'
import { CHUNK_INDEX_HEADER_BYTES, CHUNK_INDEX_MAGIC, CHUNK_POSITION_BYTES, CHUNK_SPARSE_POSITION_BYTES, FORMAT_VERSION } from './constants.js'

const CHUNK_FORMS = ['json', 'ndjson', 'raw'] as const
const FLAG_SPARSE = 1

/** The 128 bytes before the element positions of a chunk, docs/format.md. */
export interface ChunkIndexHeader {
  readonly form: (typeof CHUNK_FORMS)[number]
  /** Every position is followed by the offset of its record. */
  readonly sparse: boolean
  /** 16 bytes. */
  readonly logId: Uint8Array
  /** CRC of the header of the segment that was rendered: ties the chunk to that file. */
  readonly seed: number
  readonly generation: number
  readonly base: number
  readonly sequence: number
  /** First and last offset, inclusive. */
  readonly first: number
  readonly last: number
  readonly records: number
  /** Bytes and CRC-32C of the content. */
  readonly bytes: number
  readonly crc: number
  /** CRC-32C of the positions behind this header. */
  readonly positionsCrc: number
}

export function encodeChunkIndexHeader(header: ChunkIndexHeader, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(CHUNK_INDEX_HEADER_BYTES)
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) bytes[i] = CHUNK_INDEX_MAGIC.charCodeAt(i)
  view.setUint16(8, FORMAT_VERSION, true)
  view.setUint16(10, CHUNK_INDEX_HEADER_BYTES, true)
  view.setUint8(12, CHUNK_FORMS.indexOf(header.form) + 1)
  view.setUint8(13, header.sparse ? FLAG_SPARSE : 0)
  bytes.set(header.logId, 16)
  view.setUint32(32, header.seed, true)
  view.setUint32(36, header.generation, true)
  setU64(view, 40, header.base)
  setU64(view, 48, header.sequence)
  setU64(view, 56, header.first)
  setU64(view, 64, header.last)
  setU64(view, 72, header.records)
  setU64(view, 80, header.bytes)
  view.setUint32(88, header.crc, true)
  view.setUint32(92, header.positionsCrc, true)
  view.setUint32(124, crc32c(bytes.subarray(0, 124), 0), true)
  return bytes
}

/** undefined for anything that is not a whole, good header of this version: the file is derived and made anew. */
export function decodeChunkIndexHeader(bytes: Uint8Array, crc32c: Checksum): ChunkIndexHeader | undefined {
  if (bytes.length < CHUNK_INDEX_HEADER_BYTES) return undefined
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) if (bytes[i] !== CHUNK_INDEX_MAGIC.charCodeAt(i)) return undefined
  if (view.getUint32(124, true) !== crc32c(bytes.subarray(0, 124), 0)) return undefined
  if (view.getUint16(8, true) !== FORMAT_VERSION || view.getUint16(10, true) !== CHUNK_INDEX_HEADER_BYTES) return undefined
  const form = CHUNK_FORMS[view.getUint8(12) - 1]
  if (form === undefined || view.getUint8(13) > FLAG_SPARSE || view.getUint16(14, true) !== 0 || !allZero(bytes.subarray(96, 124))) return undefined
  const header = {
    form,
    sparse: view.getUint8(13) === FLAG_SPARSE,
    logId: bytes.slice(16, 32),
    seed: view.getUint32(32, true),
    generation: view.getUint32(36, true),
    base: getU64(view, 40),
    sequence: getU64(view, 48),
    first: getU64(view, 56),
    last: getU64(view, 64),
    records: getU64(view, 72),
    bytes: getU64(view, 80),
    crc: view.getUint32(88, true),
    positionsCrc: view.getUint32(92, true),
  }
  const range = header.last - header.first + 1
  const sane = header.first <= header.last && header.records > 0 && (header.sparse ? header.records <= range : header.records === range)
  return sane && Number.isSafeInteger(header.bytes) && Number.isSafeInteger(header.sequence) ? header : undefined
}

/** Size of the whole index file. */
export function chunkIndexBytes(header: { readonly sparse: boolean; readonly records: number }): number {
  return CHUNK_INDEX_HEADER_BYTES + header.records * (header.sparse ? CHUNK_SPARSE_POSITION_BYTES : CHUNK_POSITION_BYTES)
}
