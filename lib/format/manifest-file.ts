import { allZero, type Checksum, getU64, setU64, viewOf } from './bytes.js'
import { FORMAT_VERSION } from './constants.js'

export const MANIFEST_MAGIC = 'SEALOGM1'
export const MANIFEST_HEADER_BYTES = 64
export const MANIFEST_RECORD_HEADER_BYTES = 16
const SECTOR = 512
const LENGTH_CHECK = 0x5ea10600

/** Header: magic, u16 version, u16 header bytes, u32 features = 0, log id, u64 creation time, 20 zero bytes, u32 crc. */
export function encodeManifestHeader(logId: Uint8Array, createdAt: number, crc32c: Checksum): { bytes: Uint8Array; seed: number } {
  const bytes = new Uint8Array(MANIFEST_HEADER_BYTES)
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) bytes[i] = MANIFEST_MAGIC.charCodeAt(i)
  view.setUint16(8, FORMAT_VERSION, true)
  view.setUint16(10, MANIFEST_HEADER_BYTES, true)
  bytes.set(logId, 16)
  setU64(view, 32, createdAt)
  const seed = crc32c(bytes.subarray(0, 60), 0)
  view.setUint32(60, seed, true)
  return { bytes, seed }
}

/** A record: u32 length of the JSON text, u32 the same XOR a constant, u32 CRC (seeded by the header's) over text, u32 = 0, text, zeros to 8. */
export function encodeManifestRecord(record: object, seed: number, crc32c: Checksum): Uint8Array {
  const text = Buffer.from(JSON.stringify(record), 'utf8')
  const bytes = new Uint8Array(MANIFEST_RECORD_HEADER_BYTES + Math.ceil(text.length / 8) * 8)
  const view = viewOf(bytes)
  view.setUint32(0, text.length, true)
  view.setUint32(4, (text.length ^ LENGTH_CHECK) >>> 0, true)
  view.setUint32(8, crc32c(text, seed), true)
  bytes.set(text, MANIFEST_RECORD_HEADER_BYTES)
  return bytes
}

export type ManifestContent =
  | {
      readonly kind: 'good'
      readonly logId: Uint8Array
      readonly createdAt: number
      readonly seed: number
      readonly records: readonly unknown[]
      readonly end: number
      readonly torn: boolean
    }
  | { readonly kind: 'damaged'; readonly position: number; readonly why: string }
  | { readonly kind: 'newer' }

/**
 * Reads a whole MANIFEST. A last record that was not written to its end is torn and left out: bytes are missing, or one of the sectors it lies in
 * holds only zeros (JSON text has no zero byte, so this test is exact). Every other mismatch is damage.
 */
export function decodeManifest(bytes: Uint8Array, crc32c: Checksum): ManifestContent {
  if (bytes.length < MANIFEST_HEADER_BYTES) return { kind: 'damaged', position: 0, why: 'shorter than its header' }
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) if (bytes[i] !== MANIFEST_MAGIC.charCodeAt(i)) return { kind: 'damaged', position: 0, why: 'not a MANIFEST' }
  const seed = view.getUint32(60, true)
  if (crc32c(bytes.subarray(0, 60), 0) !== seed) return { kind: 'damaged', position: 0, why: 'checksum of the header' }
  if (view.getUint16(8, true) !== FORMAT_VERSION || view.getUint32(12, true) !== 0) return { kind: 'newer' }
  const records: unknown[] = []
  let at = MANIFEST_HEADER_BYTES
  let torn = false
  while (at < bytes.length) {
    const end = recordEnd(bytes, view, at, seed, crc32c)
    if (end === undefined) {
      if (!isTorn(bytes, view, at, seed, crc32c)) return { kind: 'damaged', position: at, why: 'checksum of a record' }
      torn = true
      break
    }
    const length = view.getUint32(at, true)
    records.push(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + at + MANIFEST_RECORD_HEADER_BYTES, length).toString('utf8')))
    at = end
  }
  return { kind: 'good', logId: bytes.slice(16, 32), createdAt: getU64(view, 32), seed, records, end: at, torn }
}

function recordEnd(bytes: Uint8Array, view: DataView, at: number, seed: number, crc32c: Checksum): number | undefined {
  const body = at + MANIFEST_RECORD_HEADER_BYTES
  if (body > bytes.length) return undefined
  const length = view.getUint32(at, true)
  if (view.getUint32(at + 4, true) !== (length ^ LENGTH_CHECK) >>> 0 || length === 0 || view.getUint32(at + 12, true) !== 0) return undefined
  const end = body + Math.ceil(length / 8) * 8
  if (end > bytes.length || !allZero(bytes.subarray(body + length, end))) return undefined
  return crc32c(bytes.subarray(body, body + length), seed) === view.getUint32(at + 8, true) ? end : undefined
}

/** The record at `at` is known bad: was it cut short by a crash? Then it is the last, and bytes or whole sectors of it are missing. */
function isTorn(bytes: Uint8Array, view: DataView, at: number, seed: number, crc32c: Checksum): boolean {
  for (let later = at + 8; later + MANIFEST_RECORD_HEADER_BYTES <= bytes.length; later += 8) {
    if (recordEnd(bytes, view, later, seed, crc32c) !== undefined) return false
  }
  if (at + MANIFEST_RECORD_HEADER_BYTES > bytes.length) return true
  const length = view.getUint32(at, true)
  const lengthKnown = view.getUint32(at + 4, true) === (length ^ LENGTH_CHECK) >>> 0
  const end = lengthKnown ? at + MANIFEST_RECORD_HEADER_BYTES + length : bytes.length
  if (end > bytes.length) return true
  for (let from = at; from < end; from = sectorEnd(from)) {
    if (allZero(bytes.subarray(from, Math.min(sectorEnd(from), end)))) return true
  }
  return false
}

function sectorEnd(at: number): number {
  return (Math.floor(at / SECTOR) + 1) * SECTOR
}
