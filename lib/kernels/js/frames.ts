import * as f from '../../format/constants.js'
import { extendCrc } from './crc32c.js'

const TWO_32 = 2 ** 32

/** Header, body and padding; the offset and the CRC are stamped when the frame's group is cut. */
export function writeFrameHeader(view: DataView, at: number, bodyLength: number, timestamp: number, meta: number): void {
  view.setUint32(at + 4, bodyLength, true)
  view.setUint32(at + 16, timestamp, true)
  view.setUint32(at + 20, (timestamp / TWO_32) | (meta << 16), true)
}

export function padFrame(bytes: Uint8Array, at: number, bodyLength: number): void {
  const end = at + f.frameBytes(bodyLength)
  for (let byte = at + f.FRAME_HEADER_BYTES + bodyLength; byte < end; byte++) bytes[byte] = 0
}

/** Offset and CRC of the frame at `at`; returns the CRC. */
export function stampFrame(view: DataView, at: number, bodyLength: number, offset: number, seed: number): number {
  writeU64(view, at + 8, offset)
  const crc = extendCrc(seed, view, at + 4, at + f.FRAME_HEADER_BYTES + bodyLength)
  view.setUint32(at, crc, true)
  return crc
}

export function writeCommitFrame(
  view: DataView,
  at: number,
  seed: number,
  offset: number,
  timestamp: number,
  groupStart: number,
  syncedOffset: number,
  recordCount: number,
  epoch: number,
  prevChain: number,
  chain: number,
): void {
  writeFrameHeader(view, at, f.COMMIT_BODY_BYTES, timestamp, f.FRAME_COMMIT)
  writeU64(view, at + 24, groupStart)
  writeU64(view, at + 32, syncedOffset)
  view.setUint32(at + 40, recordCount, true)
  view.setUint32(at + 44, epoch, true)
  view.setUint32(at + 48, prevChain, true)
  view.setUint32(at + 52, chain, true)
  stampFrame(view, at, f.COMMIT_BODY_BYTES, offset, seed)
}

export function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32
}

export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true)
  view.setUint32(at + 4, value / TWO_32, true)
}
