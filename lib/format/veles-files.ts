/**
 * Files of VelesDB that sealog imports; little-endian, CRC-32/IEEE over all bytes before it.
 *
 * `payloads.log`: store `C3 | id u64 | length u32 | payload | crc u32`, delete `C4 | id u64 | crc u32`; of older versions `01 | id | length | payload` and `02 | id`, without crc.
 * `payloads.snapshot`: `"VSNP" | version u8 = 1 | log position u64 | count u64 | count × (id u64, offset u64) | crc u32`.
 */
import { crc32 } from 'node:zlib'

export const VELES_LOG_FILE = 'payloads.log'
export const VELES_SNAPSHOT_FILE = 'payloads.snapshot'

const STORE = 0xc3
const DELETE = 0xc4
const STORE_UNCHECKED = 0x01
const DELETE_UNCHECKED = 0x02
const ID_BYTES = 8
const LENGTH_BYTES = 4
const CRC_BYTES = 4
const WORD = 2 ** 32

/** What stands before the payload of a record, and what follows from it. */
export interface VelesHead {
  readonly deletes: boolean
  /** The record has a crc. */
  readonly checked: boolean
  readonly id: number | bigint
  /** Where the payload begins and ends in the record. */
  readonly payloadStart: number
  readonly payloadEnd: number
  /** Of the whole record. */
  readonly bytes: number
}

/** Most bytes of a head. */
export const VELES_HEAD_BYTES = 1 + ID_BYTES + LENGTH_BYTES

/** The head at `at`; a number when it takes so many bytes and `bytes` ends before; undefined: no record begins with this byte. */
export function decodeVelesHead(bytes: Buffer, at: number): VelesHead | number | undefined {
  const marker = bytes[at]
  const deletes = marker === DELETE || marker === DELETE_UNCHECKED
  if (!deletes && marker !== STORE && marker !== STORE_UNCHECKED) return undefined
  const payloadStart = 1 + ID_BYTES + (deletes ? 0 : LENGTH_BYTES)
  if (bytes.length - at < payloadStart) return payloadStart
  const payloadEnd = payloadStart + (deletes ? 0 : bytes.readUInt32LE(at + 1 + ID_BYTES))
  const checked = marker === STORE || marker === DELETE
  return { deletes, checked, id: readInteger(bytes, at + 1), payloadStart, payloadEnd, bytes: payloadEnd + (checked ? CRC_BYTES : 0) }
}

/** Whether the bytes of the record at `at`, which are all there, are those that were written; those without crc cannot tell. */
export function isVelesRecord(bytes: Buffer, at: number, { checked, payloadEnd }: VelesHead): boolean {
  return !checked || crc32(bytes.subarray(at, at + payloadEnd)) === bytes.readUInt32LE(at + payloadEnd)
}

export const VELES_SNAPSHOT_HEAD_BYTES = 21
const SNAPSHOT_ENTRY_BYTES = 16
export const VELES_SNAPSHOT_CRC_BYTES = CRC_BYTES

/** Where a snapshot with this head, in a file of this size, says the log ended, or what is wrong with it. */
export function decodeVelesSnapshotHead(head: Buffer, fileBytes: number): number | bigint | string {
  if (head.length < VELES_SNAPSHOT_HEAD_BYTES || fileBytes < VELES_SNAPSHOT_HEAD_BYTES + CRC_BYTES) return 'it is too short'
  if (head.toString('latin1', 0, 4) !== 'VSNP') return 'it does not begin with VSNP'
  if (head[4] !== 1) return `it has version ${head[4]}`
  const entries = (fileBytes - VELES_SNAPSHOT_HEAD_BYTES - CRC_BYTES) / SNAPSHOT_ENTRY_BYTES
  const count = readInteger(head, 13)
  if (count !== entries) return `it says ${count} entries and has room for ${entries}`
  return readInteger(head, 5)
}

/** CRC-32/IEEE of `bytes`, continued from `start` (0: fresh). */
export function velesCrc(bytes: Uint8Array, start: number): number {
  return crc32(bytes, start)
}

/** A u64: a number where that is safe, else a bigint. */
function readInteger(bytes: Buffer, at: number): number | bigint {
  const number = bytes.readUInt32LE(at + 4) * WORD + bytes.readUInt32LE(at)
  return number <= Number.MAX_SAFE_INTEGER ? number : bytes.readBigUInt64LE(at)
}
