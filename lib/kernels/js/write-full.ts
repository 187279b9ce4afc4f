import { constants } from 'node:os'
import { slice, writeCall } from './io.js'
import type { Task } from './task.js'

/** Writes all of `bytes`, short writes continued → bytes written or −errno. */
export function* writeFull(fd: number, bytes: Uint8Array, position: number): Task {
  for (let written = 0; written < bytes.length; ) {
    const result = yield writeCall(fd, slice([bytes], written, Infinity), position + written)
    if (result < 0) return result
    if (result === 0) return -constants.errno.EIO
    written += result
  }
  return bytes.length
}
