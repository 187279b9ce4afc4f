import { constants } from 'node:fs'
import { LogError } from '../errors.js'
import {
  chainSnapshotBlock,
  decodeSnapshotBlock,
  decodeSnapshotHeader,
  encodeSnapshotBlock,
  encodeSnapshotFooter,
  encodeSnapshotHeader,
  isSnapshotFooter,
  SNAPSHOT_BLOCK_ENTRIES,
  SNAPSHOT_BLOCK_HEADER_BYTES,
  SNAPSHOT_BLOCK_LIMIT,
  SNAPSHOT_FOOTER_BYTES,
  SNAPSHOT_HEADER_BYTES,
  type SnapshotHeader,
  sizeOfSnapshotBlock,
  snapshotBlockBytes,
  snapshotSeed,
} from '../format/snapshot-file.js'
import { INDEX_COLUMNS, type Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { OffsetRange } from '../log/manifest.js'
import type { KeyIndex } from './key-index.js'
import { encodeRange } from './key-range.js'

/** Bytes written in one step: the event loop waits for the encoding of so many, in code that has not run before. */
const WRITE_BYTES = 32 * 1024
/** Bytes read in one step. */
const READ_BYTES = 512 * 1024
const SMALLEST_ENTRY = 11

/** A snapshot file that is no use: ignored with a warning, the log is replayed. */
export class UnusableSnapshot extends Error {}

/**
 * Writes the index to `file`, synced, under that name; the bytes written. The index must not change meanwhile. `stopped` is asked between the steps:
 * when it says so, ERR_SEALOG_CLOSED is thrown.
 */
export function* writeSnapshot(file: string, header: SnapshotHeader, index: KeyIndex, kernels: Kernels, stopped: () => boolean): Procedure<number> {
  yield* io.unlink(file)
  // Exclusively: when it is finished synchronously, the twin must not create it later after all.
  const fd = yield* io.open(file, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
  try {
    const start = encodeSnapshotHeader(header, kernels.crc32c)
    const seed = snapshotSeed(start)
    const scan = index.scan(encodeRange({}))
    const buffer = new Uint8Array(WRITE_BYTES + SNAPSHOT_BLOCK_LIMIT)
    buffer.set(start)
    let used = start.length
    let position = 0
    let entries = 0
    let chain = seed
    for (;;) {
      if (stopped()) throw new LogError('ERR_SEALOG_CLOSED', `${file} was not finished: the store is closed`)
      const { count, bytes, table } = scan.next(SNAPSHOT_BLOCK_ENTRIES)
      if (count === 0) break
      const block = { count, keys: bytes, table }
      encodeSnapshotBlock(block, buffer.subarray(used), seed, kernels.crc32c)
      const size = snapshotBlockBytes(block)
      chain = chainSnapshotBlock(chain, buffer.subarray(used, used + size), kernels.crc32c)
      used += size
      entries += count
      if (used >= WRITE_BYTES) {
        yield* io.write(fd, position, buffer.subarray(0, used), file)
        position += used
        used = 0
      }
    }
    if (entries !== header.entries) throw new Error(`an index of ${header.entries} keys has ${entries}`)
    buffer.set(encodeSnapshotFooter(entries, chain, seed, kernels.crc32c), used)
    used += SNAPSHOT_FOOTER_BYTES
    yield* io.write(fd, position, buffer.subarray(0, used), file)
    yield* io.sync(fd, file)
    return position + used
  } finally {
    yield* io.close(fd)
  }
}

/** The header of a snapshot and the bytes of the file; undefined: there is none. Throws UnusableSnapshot. */
export function* readSnapshotHeader(file: string, kernels: Kernels): Procedure<{ header: SnapshotHeader; bytes: number } | undefined> {
  const fd = yield* io.openExisting(file, constants.O_RDONLY)
  if (fd === undefined) return undefined
  try {
    const { size } = yield* io.stat(fd, file)
    const buffer = new Uint8Array(SNAPSHOT_HEADER_BYTES)
    const length = yield* io.read(fd, 0, buffer, file)
    const header = decodeSnapshotHeader(buffer.subarray(0, length), kernels.crc32c)
    if (header === 'newer') throw new UnusableSnapshot('it was written by a newer version of sealog')
    if (typeof header === 'string') throw damaged(0)
    if (header.entries * SMALLEST_ENTRY > size) throw damaged(SNAPSHOT_HEADER_BYTES)
    return { header, bytes: size }
  } finally {
    yield* io.close(fd)
  }
}

/** Puts the entries at or above `startOffset` of a snapshot into an empty index. Throws UnusableSnapshot; the index may hold some of them then. */
export function* readSnapshotEntries(file: string, index: KeyIndex, startOffset: number, kernels: Kernels): Procedure<void> {
  const fd = yield* io.open(file, constants.O_RDONLY)
  try {
    const { size } = yield* io.stat(fd, file)
    const buffer = new Uint8Array(READ_BYTES + SNAPSHOT_BLOCK_LIMIT)
    const table = new Float64Array(SNAPSHOT_BLOCK_ENTRIES * INDEX_COLUMNS)
    let filled = yield* io.read(fd, 0, buffer, file)
    let position = filled
    const header = decodeSnapshotHeader(buffer.subarray(0, Math.min(filled, SNAPSHOT_HEADER_BYTES)), kernels.crc32c)
    if (typeof header === 'string') throw damaged(0)
    const seed = snapshotSeed(buffer)
    let chain = seed
    let entries = 0
    let at = SNAPSHOT_HEADER_BYTES
    while (entries < header.entries) {
      if (filled - at < SNAPSHOT_BLOCK_LIMIT && position < size) {
        buffer.copyWithin(0, at, filled)
        filled -= at
        at = 0
        const length = yield* io.read(fd, position, buffer.subarray(filled), file)
        if (length === 0) throw damaged(position)
        position += length
        filled += length
        continue
      }
      const start = position - filled + at
      const bytes = filled - at < SNAPSHOT_BLOCK_HEADER_BYTES ? -1 : sizeOfSnapshotBlock(buffer.subarray(at, filled))
      if (bytes < 0 || bytes > filled - at) throw damaged(start)
      const block = buffer.subarray(at, at + bytes)
      const decoded = decodeSnapshotBlock(block, table, header.end, seed, kernels.crc32c)
      if (decoded === undefined) throw damaged(start)
      chain = chainSnapshotBlock(chain, block, kernels.crc32c)
      const { count, keys } = decoded
      index.putPage({ count, bytes: Buffer.from(keys.buffer, keys.byteOffset, keys.byteLength), table: withoutOld(table, count, startOffset) })
      entries += count
      at += bytes
    }
    const footer = buffer.subarray(at, filled)
    const start = position - filled + at
    if (position !== size || !isSnapshotFooter(footer, header.entries, chain, seed, kernels.crc32c)) throw damaged(start)
  } finally {
    yield* io.close(fd)
  }
}

/** Stands for the ranges below `end` that repair gave up: a snapshot from before that may know other versions than the log. */
export function lostRangesCrc(lost: readonly OffsetRange[], end: number, kernels: Kernels): number {
  const below = lost.filter((range) => range.from < end)
  return below.length === 0 ? 0 : kernels.crc32c(Buffer.from(JSON.stringify(below.map(({ from, to }) => [from, to]))), 0)
}

/** Records below the start of the log are not there any more; the value −1 takes a key out. */
function withoutOld(table: Float64Array, count: number, startOffset: number): Float64Array {
  for (let i = 0; i < count; i++) if (table[i * INDEX_COLUMNS + 1] < startOffset) table[i * INDEX_COLUMNS + 1] = -1
  return table
}

function damaged(position: number): UnusableSnapshot {
  return new UnusableSnapshot(`it is damaged at position ${position}`)
}
