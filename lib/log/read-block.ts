import { ChecksumError, LogError } from '../errors.js'
import { COMMIT_FRAME_BYTES, frameBytes, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { check } from '../kernels/requests.js'
import type { CodecName } from '../options.js'
import { stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import { findGroup } from '../segment/walk.js'
import { RecordBatch } from './record-batch.js'

const NO_BYTES = new Uint8Array(0)
const NO_ROWS = new Uint32Array(0)

/** Where the next block of a segment begins. */
interface Resume {
  readonly segment: Segment
  readonly position: number
  readonly offset: number
  /** −1: a batch begins here. */
  readonly batchFirst: number
}

/** Reading blocks one after the other: what is asked for, the scan table they share, where to go on, and the last result. */
export class BlockRequest {
  readonly codec: CodecName
  maxBytes: number
  /** Records at or above are not listed. */
  limit = Number.POSITIVE_INFINITY
  /** Only the first record is wanted: batches may be cut. */
  single = false
  result: RecordBatch<unknown> | undefined
  resume: Resume | undefined
  table: Uint32Array
  readonly numbers = new Float64Array(k.SCAN_LENGTH)
  readonly #reuse: boolean
  #buffer: Uint8Array = NO_BYTES
  #otherBuffer: Uint8Array = NO_BYTES
  #otherTable: Uint32Array

  /** `reuse`: there are two buffers, and two tables, that take turns: a batch lasts until the block after the next is begun. */
  constructor(codec: CodecName, maxBytes: number, rows: number, reuse = false) {
    this.codec = codec
    this.maxBytes = maxBytes
    this.table = new Uint32Array(rows * k.SCAN_COLUMNS)
    this.#reuse = reuse
    this.#otherTable = reuse ? new Uint32Array(this.table.length) : NO_ROWS
  }

  /** What to read the next `length` bytes into. Not zeroed: it is filled before anybody sees it. */
  room(length: number): Uint8Array {
    if (!this.#reuse) return uninitialized(length)
    if (this.#buffer.length < length) this.#buffer = uninitialized(length)
    return this.#buffer.length === length ? this.#buffer : this.#buffer.subarray(0, length)
  }

  /** The first rows of the table, which together with the buffer belong to a batch from now on. */
  takeRows(count: number): Uint32Array {
    const { table } = this
    const length = count * k.SCAN_COLUMNS
    if (!this.#reuse) return table.slice(0, length)
    const buffer = this.#buffer
    this.#buffer = this.#otherBuffer
    this.#otherBuffer = buffer
    this.table = this.#otherTable.length < table.length ? new Uint32Array(table.length) : this.#otherTable
    this.#otherTable = table
    return table.subarray(0, length)
  }
}

function uninitialized(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
}

/**
 * Reads the block at `offset` of an open segment into a fresh buffer; `request.result` is undefined at the end of the segment.
 * Whole batches of the writer, unless one batch is larger than the block: then the buffer grows to hold it.
 */
export function* readBlock(segment: Segment, offset: number, request: BlockRequest): Procedure<void> {
  request.result = undefined
  const { numbers } = request
  let { position, next, batchFirst } = startAt(segment, offset, request.resume)
  let buffer = request.room(Math.max(64, Math.min(request.maxBytes, segment.endPosition - position)))
  const header = segment.header
  if (header === undefined) throw new Error('the segment is not open')
  while (position < segment.endPosition) {
    numbers[k.SCAN_SEED] = header.seed
    numbers[k.SCAN_OFFSET] = next
    numbers[k.SCAN_BATCH_FIRST] = batchFirst
    numbers[k.SCAN_FROM] = offset
    numbers[k.SCAN_MAX_RECORD] = header.maxRecordBytes
    numbers[k.SCAN_SPARSE] = header.sparse ? 1 : 0
    check(
      yield { operation: k.FILE_SCAN, fd: segment.fd, a: position, b: segment.endPosition, bytes: buffer, numbers, table: request.table },
      k.FILE_SCAN,
      segment.path,
    )
    const count = numbers[k.SCAN_COUNT]
    const stop = numbers[k.SCAN_STOP]
    const whole = numbers[k.SCAN_BATCH_END]
    if (count > 0) {
      const cut = whole < count && !request.single
      if (cut && whole === 0 && (stop === k.STOP_END || stop === k.STOP_TABLE_FULL) && numbers[k.SCAN_NEXT_POSITION] < segment.endPosition) {
        // One batch of the writer is larger than the block.
        if (stop === k.STOP_TABLE_FULL) request.table = new Uint32Array(request.table.length * 4)
        else buffer = request.room(Math.min(buffer.length * 2, segment.endPosition - position))
        continue
      }
      finish(segment, request, buffer, position, cut && whole > 0 ? whole : count, count)
      return
    }
    if (stop === k.STOP_LARGE) {
      buffer = request.room(numbers[k.SCAN_NEEDED])
      continue
    }
    if (stop === k.STOP_FOOTER) break
    if (stop !== k.STOP_END && stop !== k.STOP_TABLE_FULL) {
      const bad = numbers[k.SCAN_NEXT_POSITION]
      const expected = numbers[k.SCAN_NEXT_OFFSET] < 0 ? next : numbers[k.SCAN_NEXT_OFFSET]
      if (!(yield* passDamagedMark(segment, bad, expected, numbers))) throw yield* locateDamage(segment, bad, expected, stop)
      position = bad + COMMIT_FRAME_BYTES
      next = expected
      batchFirst = -1
      continue
    }
    if (numbers[k.SCAN_NEXT_POSITION] <= position) break
    position = numbers[k.SCAN_NEXT_POSITION]
    next = numbers[k.SCAN_NEXT_OFFSET]
    batchFirst = numbers[k.SCAN_NEXT_BATCH_FIRST]
  }
  if (segment.closed && !header.sparse && next < segment.end && offset < segment.end) throw yield* locateDamage(segment, position, next, k.STOP_FOOTER)
}

/** The batch whose frames the tail cache has copied to `bytes` and listed in the request. */
export function cachedBatch(bytes: Uint8Array, request: BlockRequest): RecordBatch<unknown> {
  const { numbers } = request
  const count = numbers[k.SCAN_COUNT]
  return new RecordBatch(bytes, request.takeRows(count), count, numbers[k.SCAN_NEXT_OFFSET], request.codec)
}

function startAt(segment: Segment, offset: number, resume: Resume | undefined): { position: number; next: number; batchFirst: number } {
  if (resume !== undefined && resume.segment === segment && resume.offset === offset)
    return { position: resume.position, next: resume.offset, batchFirst: resume.batchFirst }
  const index = segment.index
  const entry = index === undefined ? -1 : index.find(offset)
  if (index === undefined || entry < 0) return { position: SEGMENT_HEADER_BYTES, next: segment.sparse ? -1 : segment.base, batchFirst: -1 }
  return { position: index.position(entry), next: index.offset(entry), batchFirst: index.batchFirst(entry) }
}

/** Makes the first `taken` of `count` listed records the result. `shared`: the buffer is not theirs, they get bytes of their own. */
export function finish(segment: Segment, request: BlockRequest, window: Uint8Array, position: number, taken: number, count: number, shared = false): void {
  const { numbers, table } = request
  const rows = request.takeRows(taken)
  const buffer = shared ? ownBytes(window, rows) : window
  const all = new RecordBatch<unknown>(buffer, rows, taken, 0, request.codec)
  const nextOffset = taken === count ? numbers[k.SCAN_NEXT_OFFSET] : all.offset(taken - 1) + 1
  request.resume =
    taken === count
      ? { segment, position: numbers[k.SCAN_NEXT_POSITION], offset: nextOffset, batchFirst: numbers[k.SCAN_NEXT_BATCH_FIRST] }
      : { segment, position: position + table[taken * k.SCAN_COLUMNS], offset: nextOffset, batchFirst: -1 }
  let length = taken
  while (length > 0 && all.offset(length - 1) >= request.limit) length--
  request.result =
    length === taken
      ? new RecordBatch(buffer, rows, taken, nextOffset, request.codec)
      : length === 0
        ? undefined
        : new RecordBatch(buffer, rows, length, all.offset(length - 1) + 1, request.codec)
}

/** Copies the frames that the rows list, and makes the rows those of the copy. */
function ownBytes(window: Uint8Array, rows: Uint32Array): Uint8Array {
  const start = rows[0]
  const last = rows[rows.length - k.SCAN_COLUMNS]
  const end = last + frameBytes(new DataView(window.buffer, window.byteOffset).getUint32(last + 4, true))
  for (let row = 0; row < rows.length; row += k.SCAN_COLUMNS) {
    rows[row] -= start
    rows[row + 1] -= start
  }
  return Uint8Array.prototype.slice.call(window, start, end)
}

/** A damaged mark costs nothing (format.md rule 4): the frame behind it carries on with the very offset that is expected. */
function* passDamagedMark(segment: Segment, bad: number, expected: number, numbers: Float64Array): Procedure<boolean> {
  const position = bad + COMMIT_FRAME_BYTES
  if (position >= segment.endPosition || segment.sparse) return false
  const probe = numbers.slice()
  probe[k.SCAN_OFFSET] = expected
  probe[k.SCAN_BATCH_FIRST] = -1
  probe[k.SCAN_FROM] = Number.MAX_SAFE_INTEGER
  const table = new Uint32Array(k.SCAN_COLUMNS)
  const buffer = new Uint8Array(Math.min(64 * 1024, segment.endPosition - position))
  check(yield { operation: k.FILE_SCAN, fd: segment.fd, a: position, b: segment.endPosition, bytes: buffer, numbers: probe, table }, k.FILE_SCAN, segment.path)
  return probe[k.SCAN_STOP] === k.STOP_LARGE || probe[k.SCAN_NEXT_POSITION] > position
}

/** The error for damage that a read met at `position`, where `offset` was expected; looks for the first offset that is good again. */
export function* locateDamage(segment: Segment, position: number, offset: number, stop: number): Procedure<LogError> {
  if (stop === k.STOP_NEWER) {
    return new LogError('ERR_SEALOG_FORMAT_NEWER', `${segment.path}, position ${position}: a frame was written by a newer version of sealog`, {
      file: segment.path,
      position,
      offset,
    })
  }
  const group = yield* findGroup(segment, position, segment.endPosition)
  const endOffset = group === undefined ? (segment.closed ? segment.end : undefined) : group.firstOffset
  return new ChecksumError(segment.path, position, offset, stopWord(stop), endOffset !== undefined && endOffset > offset ? endOffset : undefined)
}

/** The segment file or archive went away under a reader. */
export function isGone(error: unknown): boolean {
  return (
    error instanceof LogError &&
    (error.code === 'ERR_SEALOG_IO' || error.code === 'ERR_SEALOG_ARCHIVE') &&
    (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
  )
}
