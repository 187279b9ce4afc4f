import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { check } from '../kernels/requests.js'
import type { CodecName } from '../options.js'
import type { OffsetIndex } from '../segment/offset-index.js'
import type { Segment } from '../segment/segment.js'
import type { Record } from './record.js'
import { RecordBatch } from './record-batch.js'

/** Of the buffer for one record. */
const FIRST_ROOM = 16 * 1024
/** Records of one request. */
const REQUEST_RECORDS = 256
const BUFFER_BYTES = 128 * 1024

/** A record that is wanted, and where it goes. */
export interface WantedRecord<T> {
  readonly offset: number
  readonly found: (record: Record<T>) => void
}

/** Where the records end that are reached from an entry: the next one begins there. */
function endOf(segment: Segment, index: OffsetIndex, entry: number): number {
  return entry + 1 < index.length ? index.position(entry + 1) : segment.endPosition
}

/** Reads one record of an open segment and verifies it; undefined: it was not found this way. */
export function* readOne<T>(segment: Segment, offset: number, codec: CodecName): Procedure<Record<T> | undefined> {
  const { index } = segment
  const entry = index === undefined ? -1 : index.find(offset)
  if (index === undefined || entry < 0 || segment.archive !== undefined) return undefined
  const end = endOf(segment, index, entry)
  for (let room = FIRST_ROOM; ; room = Math.min(room * 8, end)) {
    const bytes = new Uint8Array(room)
    const numbers = Float64Array.of(segment.fd, segment.seed, index.position(entry), end, offset, index.batchFirst(entry), 0, 0, 0, 0)
    check(yield { operation: k.FILE_READ_MANY, fd: segment.fd, a: 1, b: 0, bytes, numbers }, k.FILE_READ_MANY, segment.path)
    const [, , , , , first, status, valueStart, valueLength, frameStart] = numbers
    if (status === k.READ_OK) {
      const row = Uint32Array.of(frameStart, valueStart, valueLength, offset - first)
      return new RecordBatch<T>(bytes, row, 1, offset + 1, codec).record(0)
    }
    if (status !== k.READ_NO_ROOM || room >= end) return undefined
  }
}

/**
 * Reads records at scattered offsets of one open segment, verified one by one, many with each request. What is not found this way (a large record, a gap, damage, an archived segment) is left
 * out: a single read tells what it is.
 */
export function* readMany<T>(segment: Segment, wanted: readonly WantedRecord<T>[], codec: CodecName): Procedure<void> {
  const { index } = segment
  if (index === undefined || segment.archive !== undefined) return
  const bytes = new Uint8Array(BUFFER_BYTES)
  const numbers = new Float64Array(Math.min(REQUEST_RECORDS, wanted.length) * k.MANY_WIDTH)
  for (let next = 0; next < wanted.length; ) {
    const count = Math.min(REQUEST_RECORDS, wanted.length - next)
    for (let i = 0; i < count; i++) {
      const { offset } = wanted[next + i]
      const entry = index.find(offset)
      // Without an entry: no bytes, not found.
      const end = entry < 0 ? 0 : endOf(segment, index, entry)
      const position = entry < 0 ? 0 : index.position(entry)
      numbers.set([segment.fd, segment.seed, position, end, offset, entry < 0 ? -1 : index.batchFirst(entry)], i * k.MANY_WIDTH)
    }
    check(yield { operation: k.FILE_READ_MANY, fd: segment.fd, a: count, b: 0, bytes, numbers }, k.FILE_READ_MANY, segment.path)
    next += take(bytes, numbers, wanted, next, count, codec)
  }
}

/** Hands on what a request has found; how many of its records are dealt with. */
function take<T>(bytes: Uint8Array, numbers: Float64Array, wanted: readonly WantedRecord<T>[], next: number, count: number, codec: CodecName): number {
  const table = new Uint32Array(count * k.SCAN_COLUMNS)
  const found: WantedRecord<T>[] = []
  let taken = 0
  for (; taken < count; taken++) {
    const at = taken * k.MANY_WIDTH
    const status = numbers[at + 6]
    // Where the buffer is full the next request begins; what does not fit an empty one is too large for it.
    if (status === k.READ_NO_ROOM && taken > 0) break
    if (status !== k.READ_OK) continue
    const row = found.push(wanted[next + taken]) - 1
    table[row * k.SCAN_COLUMNS] = numbers[at + 9]
    table[row * k.SCAN_COLUMNS + 1] = numbers[at + 7]
    table[row * k.SCAN_COLUMNS + 2] = numbers[at + 8]
    table[row * k.SCAN_COLUMNS + 3] = numbers[at + 4] - numbers[at + 5]
  }
  const batch = new RecordBatch<T>(bytes, table, found.length, 0, codec)
  for (const [row, record] of found.entries()) record.found(batch.record(row))
  return taken
}
