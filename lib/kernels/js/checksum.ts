import { viewOf } from '../../format/bytes.js'
import { extendCrc } from './crc32c.js'
import type { Task } from './task.js'
import { readFull } from './window.js'

/** Read at a time: the event loop has its turn between two pieces. */
const PIECE_BYTES = 256 * 1024

/** FILE_CHECKSUM */
export function* checksumFile(fd: number, from: number, end: number, numbers: Float64Array): Task {
  const bytes = new Uint8Array(Math.max(0, Math.min(PIECE_BYTES, end - from)))
  const view = viewOf(bytes)
  let crc = 0
  let position = from
  while (position < end) {
    const wanted = Math.min(bytes.length, end - position)
    const got = yield* readFull(fd, bytes.subarray(0, wanted), position)
    if (got < 0) return got
    crc = extendCrc(crc, view, 0, got)
    position += got
    if (got < wanted) break
  }
  numbers[0] = crc
  numbers[1] = position - from
  return 0
}
