import { type Checksum, getU64, setU64, viewOf } from './bytes.js'
import { COMMITTED_BYTES, COMMITTED_SLOT, DURABLE_SLOT } from './constants.js'

export interface EndSlot {
  readonly end: number
  readonly epoch: number
}

/** The 128 bytes of COMMITTED; an undefined slot is zeroes. `logSeed` is the CRC of the log id. */
export function encodeCommitted(committed: EndSlot | undefined, durable: EndSlot | undefined, logSeed: number, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(COMMITTED_BYTES)
  if (committed !== undefined) encodeSlot(bytes, COMMITTED_SLOT, committed, logSeed, crc32c)
  if (durable !== undefined) encodeSlot(bytes, DURABLE_SLOT, durable, logSeed, crc32c)
  return bytes
}

export function decodeCommitted(bytes: Uint8Array, logSeed: number, crc32c: Checksum): { committed: EndSlot | undefined; durable: EndSlot | undefined } {
  return { committed: decodeSlot(bytes, COMMITTED_SLOT, logSeed, crc32c), durable: decodeSlot(bytes, DURABLE_SLOT, logSeed, crc32c) }
}

function encodeSlot(bytes: Uint8Array, at: number, slot: EndSlot, logSeed: number, crc32c: Checksum): void {
  const view = viewOf(bytes)
  setU64(view, at, slot.end)
  view.setUint32(at + 8, slot.epoch, true)
  view.setUint32(at + 12, crc32c(bytes.subarray(at, at + 12), logSeed), true)
}

function decodeSlot(bytes: Uint8Array, at: number, logSeed: number, crc32c: Checksum): EndSlot | undefined {
  if (bytes.length < at + 16) return undefined
  const view = viewOf(bytes)
  if (view.getUint32(at + 12, true) !== crc32c(bytes.subarray(at, at + 12), logSeed)) return undefined
  const end = getU64(view, at)
  return Number.isNaN(end) ? undefined : { end, epoch: view.getUint32(at + 8, true) }
}
