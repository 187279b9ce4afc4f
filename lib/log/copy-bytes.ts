import { markAsUntransferable } from 'node:worker_threads'

const CHUNK_BYTES = 16 * 1024
const LARGEST = CHUNK_BYTES / 8
/** A loop is faster than a call up to here. */
const LOOP_BYTES = 32

let chunk = new ArrayBuffer(0)
let used = 0

/** Where small copies go next, for kernels that write them there themselves: to be taken with `takeCopy` before anything else is copied. */
export function copyTarget(): ArrayBuffer {
  if (chunk.byteLength === 0) beginChunk()
  return chunk
}

export function copyPosition(): number {
  return used
}

export function takeCopy(length: number): Uint8Array {
  const copy = new Uint8Array(chunk, used, length)
  used += length + 7 - ((length + 7) % 8)
  return copy
}

/**
 * A copy of `from[start … end)`. An ArrayBuffer of its own costs several times as much as a small copy, so small
 * copies are cut from a common chunk, as Node's own small Buffers are: nobody else writes to the bytes, but `copy.buffer` is larger than the copy.
 */
export function copyBytes(from: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start
  if (length > LARGEST) return from.slice(start, end)
  // A chunk that somebody has detached has no bytes left either.
  if (chunk.byteLength === 0 || used + length > chunk.byteLength) beginChunk()
  const copy = takeCopy(length)
  copy.set(from.subarray(start, end))
  return copy
}

function beginChunk(): void {
  chunk = new ArrayBuffer(CHUNK_BYTES)
  markAsUntransferable(chunk)
  used = 0
}

/** Copies the first `length` bytes of `from` to `into` from `at` on. */
export function copyInto(into: Uint8Array, at: number, from: Uint8Array, length: number): void {
  if (length > LOOP_BYTES) into.set(from.subarray(0, length), at)
  else for (let i = 0; i < length; i++) into[at + i] = from[i]
}
