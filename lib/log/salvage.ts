import path from 'node:path'
import { getU64, viewOf } from '../format/bytes.js'
import {
  COMMIT_FRAME_BYTES,
  FLAG_BATCH_CONTINUES,
  FRAME_ALIGNMENT,
  FRAME_COMMIT,
  FRAME_HEADER_BYTES,
  frameBytes,
  SEGMENT_HEADER_BYTES,
} from '../format/constants.js'
import { SEGMENTS_DIRECTORY, segmentFile } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { Segment } from '../segment/segment.js'
import { SparseWriter, type Survivor } from '../segment/sparse-writer.js'
import { findGroup } from '../segment/walk.js'
import { nextHeader } from './generations.js'
import type { ClosedSegment, OffsetRange } from './manifest.js'
import type { LogParts } from './parts.js'
import { RecordBatch } from './record-batch.js'

const BLOCK_BYTES = 1024 * 1024

/**
 * Rewrites a damaged segment once, as the sparse file of the next generation: every whole batch that verifies is kept, the ranges that are lost go to
 * MANIFEST with the switch. `facts` tell the range and links of what is replaced.
 */
export function* salvageSegment(parts: LogParts, segment: Segment, facts: ClosedSegment): Procedure<{ records: number; lost: readonly OffsetRange[] }> {
  const { directory, environment, manifest, sources } = parts
  const { kernels } = environment
  if (segment.header === undefined) yield* segment.open(kernels, manifest.logId)
  const header = segment.header
  if (header === undefined) throw new Error('the segment is not open')
  const generation = facts.generation + 1
  const target = path.join(directory, SEGMENTS_DIRECTORY, segmentFile(segment.base, generation))
  const writer = new SparseWriter(`${target}.tmp`, nextHeader(parts, header, facts), kernels.crc32c)
  const lost: OffsetRange[] = []
  let expected = segment.base
  try {
    yield* writer.begin()
    const { size } = yield* io.stat(segment.fd, segment.path)
    const end = yield* lastCommit(segment, size)
    const reader = new SurvivorReader(segment, end)
    for (;;) {
      const batches = yield* reader.next()
      if (batches === undefined) break
      for (const batch of batches) {
        if (batch[0].offset > expected) lost.push({ from: expected, to: batch[0].offset })
        expected = batch[batch.length - 1].offset + 1
        yield* writer.addBatch(batch)
      }
    }
    if (facts.end > expected) lost.push({ from: expected, to: facts.end })
    const end2 = Math.max(facts.end, expected)
    const result = yield* writer.finish(end2, facts.linkChain, sources.now())
    yield* io.rename(`${target}.tmp`, target)
    yield* io.syncDirectory(path.join(directory, SEGMENTS_DIRECTORY))
    const closed: ClosedSegment = { ...facts, generation, end: end2, bytes: result.bytes, closedAt: sources.now() }
    if (!manifest.state.closed.some((other) => other.base === closed.base)) yield* manifest.append({ type: 'closed', segment: closed })
    yield* manifest.append({ type: 'swapped', segment: closed, lost })
    return { records: result.count, lost }
  } finally {
    yield* writer.abandon()
  }
}

/** Position behind the last commit frame that verifies with its whole group; nothing behind it was ever committed. */
function* lastCommit(segment: Segment, size: number): Procedure<number> {
  let end = SEGMENT_HEADER_BYTES
  for (let from = SEGMENT_HEADER_BYTES; ; ) {
    const group = yield* findGroup(segment, from, size)
    if (group === undefined) return segment.closed ? Math.max(end, segment.endPosition) : end
    end = group.commitPosition + COMMIT_FRAME_BYTES
    from = end
  }
}

/** Whole batches of a damaged segment, in order. Behind damage it goes on inside the group where the frame's length leads to a good frame, else at the next good group. */
class SurvivorReader {
  readonly #segment: Segment
  readonly #end: number
  readonly #table = new Uint32Array(8192 * k.SCAN_COLUMNS)
  #position = SEGMENT_HEADER_BYTES
  #offset: number
  #atBatchStart = true

  constructor(segment: Segment, end: number) {
    this.#segment = segment
    this.#end = end
    this.#offset = segment.sparse ? -1 : segment.base
  }

  *next(): Procedure<Survivor[][] | undefined> {
    let room = BLOCK_BYTES
    const header = this.#segment.header
    if (header === undefined) throw new Error('the segment is not open')
    while (this.#position < this.#end) {
      const buffer = new Uint8Array(Math.min(room, this.#end - this.#position))
      const numbers = new Float64Array(k.SCAN_LENGTH)
      numbers[k.SCAN_SEED] = header.seed
      numbers[k.SCAN_OFFSET] = this.#offset
      numbers[k.SCAN_BATCH_FIRST] = -1
      numbers[k.SCAN_MAX_RECORD] = header.maxRecordBytes
      numbers[k.SCAN_SPARSE] = header.sparse ? 1 : 0
      io.check(
        yield { operation: k.FILE_SCAN, fd: this.#segment.fd, a: this.#position, b: this.#end, bytes: buffer, numbers, table: this.#table },
        k.FILE_SCAN,
        this.#segment.path,
      )
      const stop = numbers[k.SCAN_STOP]
      const count = numbers[k.SCAN_COUNT]
      const whole = numbers[k.SCAN_BATCH_END]
      if (stop === k.STOP_LARGE) {
        room = numbers[k.SCAN_NEEDED]
        continue
      }
      const damaged = stop !== k.STOP_END && stop !== k.STOP_TABLE_FULL
      if (!damaged && whole === 0 && count > 0 && this.#position + buffer.length < this.#end) {
        room = buffer.length * 2
        continue
      }
      const batches = this.#batches(buffer, whole)
      if (damaged) {
        yield* this.#passDamage(numbers[k.SCAN_NEXT_POSITION], numbers[k.SCAN_NEXT_OFFSET])
      } else if (whole < count) {
        this.#moveTo(this.#position + this.#table[whole * k.SCAN_COLUMNS], -1, true)
      } else if (numbers[k.SCAN_NEXT_POSITION] > this.#position) {
        this.#moveTo(numbers[k.SCAN_NEXT_POSITION], numbers[k.SCAN_NEXT_OFFSET], true)
      } else {
        return batches.length > 0 ? batches : undefined
      }
      if (batches.length > 0) return batches
    }
    return undefined
  }

  #batches(buffer: Uint8Array, count: number): Survivor[][] {
    const block = new RecordBatch<Uint8Array>(buffer, this.#table.slice(0, count * k.SCAN_COLUMNS), count, 0, 'bytes')
    const batches: Survivor[][] = []
    let batch: Survivor[] = []
    let skipping = !this.#atBatchStart
    for (let i = 0; i < count; i++) {
      const offset = block.offset(i)
      const first = block.batch(i)
      const continues = (buffer[this.#table[i * k.SCAN_COLUMNS] + 23] & FLAG_BATCH_CONTINUES) !== 0
      if (!skipping) {
        batch.push({
          offset,
          timestamp: block.timestamp(i),
          key: block.key(i),
          value: block.bytes(i),
          tombstone: block.tombstone(i),
          batchIndex: offset - first,
          batched: continues || offset > first,
        })
      }
      if (continues) continue
      if (!skipping) batches.push(batch)
      skipping = false
      batch = []
    }
    return batches
  }

  *#passDamage(bad: number, expected: number): Procedure<void> {
    const frame = new Uint8Array(8)
    yield* io.read(this.#segment.fd, bad, frame, this.#segment.path)
    const length = viewOf(frame).getUint32(4, true)
    const next = bad + frameBytes(length)
    const good = next < this.#end ? yield* this.#goodFrame(next) : undefined
    if (good !== undefined) {
      // A batch begins here when no offset is missing (the damaged frame was a commit) or a commit frame follows. Else what is damaged may lie
      // anywhere in its batch, and what follows counts from the next batch on.
      this.#moveTo(next, good.offset, good.offset === expected || good.type === FRAME_COMMIT)
      return
    }
    const group = yield* findGroup(this.#segment, bad + FRAME_ALIGNMENT, this.#end)
    if (group === undefined) this.#moveTo(this.#end, -1, true)
    else this.#moveTo(group.start, group.firstOffset, true)
  }

  /** Offset and type of the frame at `position` if it verifies. */
  *#goodFrame(position: number): Procedure<{ readonly offset: number; readonly type: number } | undefined> {
    const header = this.#segment.header
    const frame = new Uint8Array(FRAME_HEADER_BYTES)
    if (header === undefined || (yield* io.read(this.#segment.fd, position, frame, this.#segment.path)) < frame.length) return undefined
    const view = viewOf(frame)
    const bytes = frameBytes(view.getUint32(4, true))
    if (bytes > frameBytes(header.maxRecordBytes + 65_541) || position + bytes > this.#end) return undefined
    const numbers = new Float64Array(k.SCAN_LENGTH)
    numbers[k.SCAN_SEED] = header.seed
    numbers[k.SCAN_OFFSET] = -1
    numbers[k.SCAN_BATCH_FIRST] = -1
    numbers[k.SCAN_MAX_RECORD] = header.maxRecordBytes
    numbers[k.SCAN_SPARSE] = header.sparse ? 1 : 0
    const buffer = new Uint8Array(bytes)
    const table = new Uint32Array(k.SCAN_COLUMNS)
    io.check(
      yield { operation: k.FILE_SCAN, fd: this.#segment.fd, a: position, b: position + bytes, bytes: buffer, numbers, table },
      k.FILE_SCAN,
      this.#segment.path,
    )
    return numbers[k.SCAN_NEXT_POSITION] === position + bytes ? { offset: getU64(view, 8), type: view.getUint8(22) } : undefined
  }

  #moveTo(position: number, offset: number, atBatchStart: boolean): void {
    this.#position = position
    this.#offset = offset
    this.#atBatchStart = atBatchStart
  }
}
