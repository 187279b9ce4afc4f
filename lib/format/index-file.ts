import { type Checksum, getU64, type RangeChecksum, setU64, viewOf } from './bytes.js'

export const INDEX_MAGIC = 'SEALOGI1'
export const INDEX_HEADER_BYTES = 32
export const INDEX_ENTRY_BYTES = 24

/** One place of a segment from which a reader can start. */
export interface IndexEntry {
  readonly offset: number
  readonly position: number
  /** First offset of the batch that `offset` belongs to. */
  readonly batchFirst: number
  /** Running maximum of all timestamps below `offset`, −1: none. */
  readonly runningTime: number
}

/** `end`: the position in the segment up to which the index was made; `entries`: how many follow. */
export function encodeIndexHeader(seed: number, intervalBytes: number, entries: number, end: number, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(INDEX_HEADER_BYTES)
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) bytes[i] = INDEX_MAGIC.charCodeAt(i)
  view.setUint32(8, seed, true)
  view.setUint32(12, intervalBytes, true)
  view.setUint32(16, entries, true)
  setU64(view, 20, end)
  view.setUint32(28, crc32c(bytes.subarray(0, 28), 0), true)
  return bytes
}

/** True when the bytes are the whole of an index that was made of this segment up to `end`; the entries are still to be checked. */
export function isIndexOf(bytes: Uint8Array, seed: number, end: number, crc32c: Checksum): boolean {
  if (bytes.length < INDEX_HEADER_BYTES) return false
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) if (bytes[i] !== INDEX_MAGIC.charCodeAt(i)) return false
  if (view.getUint32(8, true) !== seed || view.getUint32(28, true) !== crc32c(bytes.subarray(0, 28), 0)) return false
  return getU64(view, 20) === end && bytes.length === INDEX_HEADER_BYTES + view.getUint32(16, true) * INDEX_ENTRY_BYTES
}

export function encodeIndexEntry(view: DataView, at: number, entry: IndexEntry, base: number, seed: number, crc32c: RangeChecksum): void {
  view.setUint32(at, entry.offset - base, true)
  view.setUint32(at + 4, entry.position / 8, true)
  view.setUint32(at + 8, entry.batchFirst - base, true)
  setU64(view, at + 16, entry.runningTime + 1)
  view.setUint32(at + 12, entryChecksum(view, at, seed, crc32c), true)
}

export function decodeIndexEntry(view: DataView, at: number, base: number, seed: number, crc32c: RangeChecksum): IndexEntry | undefined {
  if (view.getUint32(at + 12, true) !== entryChecksum(view, at, seed, crc32c)) return undefined
  return {
    offset: base + view.getUint32(at, true),
    position: view.getUint32(at + 4, true) * 8,
    batchFirst: base + view.getUint32(at + 8, true),
    runningTime: getU64(view, at + 16) - 1,
  }
}

function entryChecksum(view: DataView, at: number, seed: number, crc32c: RangeChecksum): number {
  return crc32c(crc32c(seed, view, at, at + 12), view, at + 16, at + 24)
}
