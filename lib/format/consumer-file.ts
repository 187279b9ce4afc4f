import { allZero, type Checksum, getU64, setU64, viewOf } from './bytes.js'

/** Numbers of consumers/<name>: two slots, each in a block of its own, so that writing one never touches the other. */
const MAGIC = 'SEALOGN1'
const VERSION = 1
export const CONSUMER_SLOT_BYTES = 64
export const CONSUMER_SLOT_DISTANCE = 4096
export const CONSUMER_FILE_BYTES = CONSUMER_SLOT_DISTANCE + CONSUMER_SLOT_BYTES

/** A position as a consumer acknowledged it. */
export interface ConsumerSlot {
  /** Counts the writes of the file; the greater one of two good slots holds. */
  readonly sequence: number
  /** Everything below was acknowledged. */
  readonly offset: number
  /** Epoch of the log in which it was. */
  readonly epoch: number
  /** ms since the epoch. */
  readonly time: number
  /** Lag from which on retention drops the consumer; undefined: never. */
  readonly maxLagBytes: number | undefined
}

/** `damaged`: neither slot is good, or the file belongs to another log. */
export type ConsumerContent = { readonly slot: ConsumerSlot; readonly place: number } | 'damaged' | 'newer'

/** `logSeed` is the CRC of the log id. */
export function encodeConsumerSlot(slot: ConsumerSlot, logSeed: number, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(CONSUMER_SLOT_BYTES)
  const view = viewOf(bytes)
  bytes.set(Buffer.from(MAGIC, 'latin1'))
  view.setUint16(8, VERSION, true)
  view.setUint16(10, CONSUMER_SLOT_BYTES, true)
  view.setUint32(12, slot.epoch, true)
  setU64(view, 16, slot.sequence)
  setU64(view, 24, slot.offset)
  setU64(view, 32, slot.time)
  setU64(view, 40, slot.maxLagBytes ?? 0)
  view.setUint32(60, crc32c(bytes.subarray(0, 60), logSeed), true)
  return bytes
}

/** The slot that holds, and which one it is (0 or 1). */
export function decodeConsumer(bytes: Uint8Array, logSeed: number, crc32c: Checksum): ConsumerContent {
  const first = decodeSlot(bytes, 0, logSeed, crc32c)
  const second = decodeSlot(bytes, 1, logSeed, crc32c)
  if (first === 'newer' || second === 'newer') return 'newer'
  if (first === undefined && second === undefined) return 'damaged'
  const place = first === undefined || (second !== undefined && second.sequence > first.sequence) ? 1 : 0
  const slot = place === 0 ? first : second
  return slot === undefined ? 'damaged' : { slot, place }
}

function decodeSlot(file: Uint8Array, place: number, logSeed: number, crc32c: Checksum): ConsumerSlot | 'newer' | undefined {
  const start = place * CONSUMER_SLOT_DISTANCE
  if (file.length < start + CONSUMER_SLOT_BYTES) return undefined
  const bytes = file.subarray(start, start + CONSUMER_SLOT_BYTES)
  const view = viewOf(bytes)
  if (Buffer.from(bytes.subarray(0, 8)).toString('latin1') !== MAGIC || view.getUint32(60, true) !== crc32c(bytes.subarray(0, 60), logSeed)) return undefined
  if (view.getUint16(8, true) !== VERSION || view.getUint16(10, true) !== CONSUMER_SLOT_BYTES) return 'newer'
  const [sequence, offset, time, maxLagBytes] = [16, 24, 32, 40].map((at) => getU64(view, at))
  if ([sequence, offset, time, maxLagBytes].some(Number.isNaN) || !allZero(bytes.subarray(48, 60))) return undefined
  return { sequence, offset, epoch: view.getUint32(12, true), time, maxLagBytes: maxLagBytes === 0 ? undefined : maxLagBytes }
}
