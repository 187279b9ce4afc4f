import { constants } from 'node:os'
import { viewOf } from '../../format/bytes.js'
import { FRAME_HEADER_BYTES, frameBytes } from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrc } from './crc32c.js'
import type { Task } from './task.js'
import { readFull } from './window.js'
import { compressBound, contentBytes, decompress, hasZstd } from './zstd.js'

const CRC_BYTES = 4

/** FILE_UNPACK */
export function* unpackBlocks(
  fd: number,
  position: number,
  packedBytes: number,
  bytes: Uint8Array,
  numbers: Float64Array,
  entries: Float64Array | undefined,
  dictionary: Uint8Array | undefined,
): Task {
  const rows = entries !== undefined && entries.length > 0 ? entries : Float64Array.of(bytes.length, packedBytes)
  numbers[s.UNPACK_COUNT] = 0
  let from = position
  let to = 0
  for (let at = 0; at + s.UNPACK_COLUMNS <= rows.length; at += s.UNPACK_COLUMNS) {
    const [length, packed] = rows.subarray(at, at + s.UNPACK_COLUMNS)
    if (!(length >= 0 && length <= bytes.length - to)) return s.UNPACK_DAMAGED
    const status = yield* unpackBlock(fd, from, packed, bytes.subarray(to, to + length), numbers[s.UNPACK_SEED], dictionary)
    if (status !== 0) return status
    numbers[s.UNPACK_COUNT]++
    from += packed
    to += length
  }
  return to === bytes.length ? 0 : s.UNPACK_DAMAGED
}

function* unpackBlock(fd: number, position: number, packedBytes: number, bytes: Uint8Array, seed: number, dictionary: Uint8Array | undefined): Task {
  if (!hasZstd) return -constants.errno.ENOSYS
  if (!(packedBytes <= compressBound(bytes.length))) return s.UNPACK_DAMAGED
  const packed = new Uint8Array(packedBytes)
  const got = yield* readFull(fd, packed, position)
  if (got < 0) return got
  if (got < packedBytes) return s.UNPACK_DAMAGED
  const size = contentBytes(packed)
  if (size === undefined || size > bytes.length - CRC_BYTES) return s.UNPACK_DAMAGED
  const content = decompress(packed, size, dictionary)
  return content !== undefined && restoreFrames(content, seed, bytes) ? 0 : s.UNPACK_DAMAGED
}

/** Frames with their CRCs from frames without; false when they are none, or do not fill `into`. */
function restoreFrames(content: Uint8Array, seed: number, into: Uint8Array): boolean {
  const view = viewOf(content)
  const target = viewOf(into)
  let to = 0
  for (let at = 0; at < content.length; ) {
    if (content.length - at < FRAME_HEADER_BYTES - CRC_BYTES) return false
    const bodyLength = view.getUint32(at, true)
    const size = frameBytes(bodyLength)
    if (size - CRC_BYTES > content.length - at || size > into.length - to) return false
    target.setUint32(to, extendCrc(seed, view, at, at + FRAME_HEADER_BYTES - CRC_BYTES + bodyLength), true)
    into.set(content.subarray(at, at + size - CRC_BYTES), to + CRC_BYTES)
    at += size - CRC_BYTES
    to += size
  }
  return to === into.length
}
