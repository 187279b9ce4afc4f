import { constants } from 'node:fs'
import { viewOf } from '../format/bytes.js'
import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { decodeIndexEntry, encodeIndexEntry, encodeIndexHeader, INDEX_ENTRY_BYTES, INDEX_HEADER_BYTES, isIndexOf } from '../format/index-file.js'
// Of 20 bytes at a time: a call of the addon costs more than what it computes.
import { extendCrc } from '../kernels/js/crc32c.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { OffsetIndex } from './offset-index.js'
import type { Segment } from './segment.js'
import { findGroup, startState, walk } from './walk.js'

const INDEX_BYTES_LIMIT = 2 ** 30

/** Loads the index of a segment that is open, or builds it (and with `persist` writes it) on any doubt. The file is derived: it is never needed. */
export function* loadIndex(segment: Segment, kernels: k.Kernels, intervalBytes: number, persist: boolean): Procedure<OffsetIndex> {
  if (segment.index !== undefined) return segment.index
  const stored = yield* readIndex(segment, kernels)
  if (stored !== undefined) return (segment.index ??= stored)
  const built = yield* buildIndex(segment, intervalBytes)
  segment.index ??= built
  if (persist && segment.closed) yield* writeIndex(segment, kernels, intervalBytes)
  return segment.index
}

function* readIndex(segment: Segment, kernels: k.Kernels): Procedure<OffsetIndex | undefined> {
  let bytes: Uint8Array | undefined
  try {
    bytes = yield* io.readFile(segment.indexPath, constants.O_RDONLY, INDEX_BYTES_LIMIT)
  } catch {
    return undefined
  }
  if (bytes === undefined || !isIndexOf(bytes, segment.seed, segment.endPosition, kernels.crc32c)) return undefined
  const index = new OffsetIndex(segment.base)
  const view = viewOf(bytes)
  let last = 0
  for (let at = INDEX_HEADER_BYTES; at < bytes.length; at += INDEX_ENTRY_BYTES) {
    const entry = decodeIndexEntry(view, at, segment.base, segment.seed, extendCrc)
    if (entry === undefined || entry.position <= last || entry.position >= segment.endPosition || entry.offset >= segment.end) return undefined
    last = entry.position
    index.add(entry.offset, entry.position, entry.batchFirst, entry.runningTime)
  }
  if (segment.end > segment.base && (index.length === 0 || index.position(0) !== SEGMENT_HEADER_BYTES)) return undefined
  return index
}

/** Walks the segment. Behind damage it goes on at the next group that verifies, so that what is good stays readable. */
export function* buildIndex(segment: Segment, intervalBytes: number): Procedure<OffsetIndex> {
  const index = new OffsetIndex(segment.base)
  const header = segment.header
  if (header === undefined) throw new Error('the segment is not open')
  const numbers = startState(header, segment.fd, intervalBytes)
  for (;;) {
    const result = yield* walk(segment, numbers, segment.endPosition, intervalBytes)
    for (let i = 0; i < result.entries.length; i += k.ENTRY_WIDTH) {
      index.add(result.entries[i], result.entries[i + 1], result.entries[i + 2], result.entries[i + 3])
    }
    if (result.stop === k.STOP_END || result.stop === k.STOP_FOOTER || result.stop === k.STOP_NEWER) return index
    const group = yield* findGroup(segment, result.stopPosition + 8, segment.endPosition)
    if (group === undefined) return index
    numbers[k.STATE_POSITION] = group.start
    numbers[k.STATE_NEXT_OFFSET] = group.firstOffset
    numbers[k.STATE_CHAIN] = group.prevChain
    numbers[k.STATE_LAST_INDEXED] = -1
  }
}

/** Writes the whole index file, unsynced: power loss may take it, opening notices. */
export function* writeIndex(segment: Segment, kernels: k.Kernels, intervalBytes: number): Procedure<void> {
  const index = segment.index
  if (index === undefined || segment.header === undefined) return
  const bytes = new Uint8Array(INDEX_HEADER_BYTES + index.length * INDEX_ENTRY_BYTES)
  bytes.set(encodeIndexHeader(segment.seed, intervalBytes, index.length, segment.endPosition, kernels.crc32c))
  const view = viewOf(bytes)
  for (let i = 0; i < index.length; i++) {
    encodeIndexEntry(view, INDEX_HEADER_BYTES + i * INDEX_ENTRY_BYTES, index.entry(i), segment.base, segment.seed, extendCrc)
  }
  try {
    const fd = yield* io.open(segment.indexPath, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC)
    try {
      yield* io.write(fd, 0, bytes, segment.indexPath)
    } finally {
      yield* io.close(fd)
    }
  } catch {
    // Derived: without it the next open walks the segment.
  }
}
