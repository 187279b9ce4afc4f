import { markAsUntransferable } from 'node:worker_threads'

const CHUNK_BYTES = 8192
const LARGEST = CHUNK_BYTES / 4

let chunk = new ArrayBuffer(0)
let used = 0

/**
 * A copy of `from[start … end)`. An ArrayBuffer of its own costs several times as much as a small copy, so small
 * copies are cut from a common chunk, as Node's own small Buffers are: nobody else writes to the bytes, but `copy.buffer` is larger than the copy.
 */
export function copyBytes(from: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start
  if (length > LARGEST) return from.slice(start, end)
  // A chunk that somebody has detached has no bytes left either.
  if (chunk.byteLength === 0 || used + length > chunk.byteLength) {
    chunk = new ArrayBuffer(CHUNK_BYTES)
    markAsUntransferable(chunk)
    used = 0
  }
  const copy = new Uint8Array(chunk, used, length)
  copy.set(from.subarray(start, end))
  used += length + 7 - ((length + 7) % 8)
  return copy
}
