import { allZero, type Checksum, getU64, setU64, viewOf } from './bytes.js'
import { FORMAT_VERSION } from './constants.js'

const MAGIC = 'SEALOGK1'
const FOOTER_MAGIC = 'SEALOGKE'
export const SNAPSHOT_HEADER_BYTES = 96
export const SNAPSHOT_BLOCK_HEADER_BYTES = 12
export const SNAPSHOT_FOOTER_BYTES = 32
/** Most entries of a block, and most bytes. */
export const SNAPSHOT_BLOCK_ENTRIES = 512
export const SNAPSHOT_BLOCK_LIMIT = 256 * 1024
/** u64 offset, u16 length of the key. */
const ROW_BYTES = 10

/** What a snapshot of a key index says of itself, docs/format.md. */
export interface SnapshotHeader {
  /** 16 bytes. */
  readonly logId: Uint8Array
  readonly epoch: number
  /** The index holds the records below. */
  readonly end: number
  /** CRC that stands for the ranges below `end` that repair gave up; 0: none. */
  readonly lost: number
  /** CRC over the frame CRCs of the records from `proofFrom` to `end`: the log must still hold them. */
  readonly proof: number
  readonly proofFrom: number
  readonly entries: number
  /** ms. */
  readonly createdAt: number
}

export function encodeSnapshotHeader(header: SnapshotHeader, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(SNAPSHOT_HEADER_BYTES)
  const view = viewOf(bytes)
  setMagic(bytes, MAGIC)
  view.setUint16(8, FORMAT_VERSION, true)
  view.setUint16(10, SNAPSHOT_HEADER_BYTES, true)
  bytes.set(header.logId, 16)
  view.setUint32(32, header.epoch, true)
  view.setUint32(36, header.proof, true)
  setU64(view, 40, header.end)
  setU64(view, 48, header.proofFrom)
  setU64(view, 56, header.entries)
  setU64(view, 64, header.createdAt)
  view.setUint32(72, header.lost, true)
  view.setUint32(92, crc32c(bytes.subarray(0, 92), 0), true)
  return bytes
}

/** `'newer'`: a good header of a later version; another text: what is wrong with it. */
export function decodeSnapshotHeader(bytes: Uint8Array, crc32c: Checksum): SnapshotHeader | 'newer' | 'framing' | 'checksum' {
  if (bytes.length < SNAPSHOT_HEADER_BYTES || !hasMagic(bytes, MAGIC)) return 'framing'
  const view = viewOf(bytes)
  if (view.getUint32(92, true) !== crc32c(bytes.subarray(0, 92), 0)) return 'checksum'
  if (view.getUint16(8, true) !== FORMAT_VERSION || view.getUint16(10, true) !== SNAPSHOT_HEADER_BYTES) return 'newer'
  if (view.getUint32(12, true) !== 0 || !allZero(bytes.subarray(76, 92))) return 'newer'
  const header = {
    logId: bytes.slice(16, 32),
    epoch: view.getUint32(32, true),
    proof: view.getUint32(36, true),
    end: getU64(view, 40),
    proofFrom: getU64(view, 48),
    entries: getU64(view, 56),
    createdAt: getU64(view, 64),
    lost: view.getUint32(72, true),
  }
  return header.proofFrom <= header.end && header.entries <= header.end && header.createdAt >= 0 ? header : 'framing'
}

/** CRC-32C of a snapshot's header: the seed of everything behind it. */
export function snapshotSeed(header: Uint8Array): number {
  return viewOf(header).getUint32(92, true)
}

/** Entries of an index in order: `table` has for each where its key ends in `keys`, and its offset. */
export interface SnapshotEntries {
  readonly count: number
  readonly keys: Uint8Array
  readonly table: Float64Array
}

/** Bytes of the block that holds these entries. */
export function snapshotBlockBytes({ count, table }: SnapshotEntries): number {
  return SNAPSHOT_BLOCK_HEADER_BYTES + count * ROW_BYTES + (count === 0 ? 0 : table[2 * (count - 1)])
}

/** Writes the block to `into`; its CRC. */
export function encodeSnapshotBlock(entries: SnapshotEntries, into: Uint8Array, seed: number, crc32c: Checksum): number {
  const { count, keys, table } = entries
  const view = viewOf(into)
  let start = 0
  for (let i = 0, at = SNAPSHOT_BLOCK_HEADER_BYTES; i < count; i++, at += ROW_BYTES) {
    const end = table[2 * i]
    setU64(view, at, table[2 * i + 1])
    view.setUint16(at + 8, end - start, true)
    start = end
  }
  into.set(keys.subarray(0, start), SNAPSHOT_BLOCK_HEADER_BYTES + count * ROW_BYTES)
  const bytes = snapshotBlockBytes(entries)
  view.setUint32(0, bytes, true)
  view.setUint32(4, count, true)
  const crc = blockCrc(into.subarray(0, bytes), seed, crc32c)
  view.setUint32(8, crc, true)
  return crc
}

/** Bytes of the block that begins with `bytes` (at least its header); −1 when there can be none such. */
export function sizeOfSnapshotBlock(bytes: Uint8Array): number {
  const view = viewOf(bytes)
  const size = view.getUint32(0, true)
  const count = view.getUint32(4, true)
  if (count === 0 || count > SNAPSHOT_BLOCK_ENTRIES || size > SNAPSHOT_BLOCK_LIMIT) return -1
  return size < SNAPSHOT_BLOCK_HEADER_BYTES + count * (ROW_BYTES + 1) ? -1 : size
}

/** The entries of a whole block, `table` is filled; `keys` is a view of `block`. undefined: the block is damaged. Offsets are below `end`. */
export function decodeSnapshotBlock(block: Uint8Array, table: Float64Array, end: number, seed: number, crc32c: Checksum): SnapshotEntries | undefined {
  const view = viewOf(block)
  if (view.getUint32(8, true) !== blockCrc(block, seed, crc32c)) return undefined
  const count = view.getUint32(4, true)
  const keys = block.subarray(SNAPSHOT_BLOCK_HEADER_BYTES + count * ROW_BYTES)
  let keyEnd = 0
  for (let i = 0, at = SNAPSHOT_BLOCK_HEADER_BYTES; i < count; i++, at += ROW_BYTES) {
    const length = view.getUint16(at + 8, true)
    const offset = getU64(view, at)
    if (length === 0 || !(offset < end)) return undefined
    keyEnd += length
    table[2 * i] = keyEnd
    table[2 * i + 1] = offset
  }
  return keyEnd === keys.length ? { count, keys, table } : undefined
}

/** CRC over the CRCs of the blocks, continued; it begins with the seed. */
export function chainSnapshotBlock(chain: number, block: Uint8Array, crc32c: Checksum): number {
  return crc32c(block.subarray(8, 12), chain)
}

export function encodeSnapshotFooter(entries: number, chain: number, seed: number, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(SNAPSHOT_FOOTER_BYTES)
  const view = viewOf(bytes)
  setMagic(bytes, FOOTER_MAGIC)
  setU64(view, 8, entries)
  view.setUint32(16, chain, true)
  view.setUint32(28, crc32c(bytes.subarray(0, 28), seed), true)
  return bytes
}

export function isSnapshotFooter(bytes: Uint8Array, entries: number, chain: number, seed: number, crc32c: Checksum): boolean {
  return Buffer.compare(bytes, encodeSnapshotFooter(entries, chain, seed, crc32c)) === 0
}

function blockCrc(block: Uint8Array, seed: number, crc32c: Checksum): number {
  return crc32c(block.subarray(SNAPSHOT_BLOCK_HEADER_BYTES), crc32c(block.subarray(0, 8), seed))
}

function setMagic(bytes: Uint8Array, magic: string): void {
  for (let i = 0; i < 8; i++) bytes[i] = magic.charCodeAt(i)
}

function hasMagic(bytes: Uint8Array, magic: string): boolean {
  for (let i = 0; i < 8; i++) if (bytes[i] !== magic.charCodeAt(i)) return false
  return true
}
