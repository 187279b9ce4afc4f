import { type Checksum, setU48, setU64, viewOf } from '../format/bytes.js'
import {
  FLAG_BATCH_CONTINUES,
  FLAG_BATCH_INDEX,
  FLAG_KEY,
  FRAME_HEADER_BYTES,
  FRAME_RECORD,
  FRAME_TOMBSTONE,
  frameBytes,
  SEGMENT_HEADER_BYTES,
} from '../format/constants.js'
import { chainOf, encodeCommit } from '../format/frames.js'
import type { NewSegmentHeader } from '../format/segment-header.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { SparseFile } from './sparse-file.js'

const GROUP_BYTES = 1024 * 1024

/** A record that survives a rewrite. */
export interface Survivor {
  readonly offset: number
  readonly timestamp: number
  readonly key: Uint8Array | undefined
  readonly value: Uint8Array
  readonly tombstone: boolean
  /** Its index in the batch it was appended with, and whether that batch had more than one record. */
  readonly batchIndex: number
  readonly batched: boolean
}

export interface SparseResult {
  readonly count: number
  readonly bytes: number
  readonly contentChain: number
}

/**
 * Writes the next generation of a segment: what survives of it, with offsets that strictly increase. Its content chain starts at 0; the links to its
 * neighbours are those of the segment it replaces. The file is complete and synced when `finish` returns; renaming it is the caller's.
 */
export class SparseWriter {
  readonly #crc32c: Checksum
  readonly #file: SparseFile
  #position = SEGMENT_HEADER_BYTES
  #frames: Uint8Array[] = []
  #crcs: number[] = []
  #groupBytes = 0
  #chain = 0
  #count = 0
  #firstOffset = -1
  #lastOffset = -1
  #minTime = Number.POSITIVE_INFINITY
  #maxTime = -1
  #runningTime: number

  constructor(path: string, header: NewSegmentHeader, crc32c: Checksum) {
    this.#crc32c = crc32c
    this.#file = new SparseFile(path, header, crc32c)
    this.#runningTime = header.runningTime
  }

  get path(): string {
    return this.#file.path
  }

  begin(): Procedure<void> {
    return this.#file.begin()
  }

  /** Survivors of one batch, in order; a batch is never divided over groups. */
  *addBatch(records: readonly Survivor[]): Procedure<void> {
    for (let i = 0; i < records.length; i++) this.#add(records[i], i + 1 < records.length)
    if (this.#groupBytes >= GROUP_BYTES) yield* this.#commit()
  }

  #add(record: Survivor, continues: boolean): void {
    const key = record.key
    const indexed = record.batched
    const bodyLength = (indexed ? 4 : 0) + (key === undefined ? 0 : 2 + key.length) + record.value.length
    const bytes = new Uint8Array(frameBytes(bodyLength))
    const view = viewOf(bytes)
    view.setUint32(4, bodyLength, true)
    setU64(view, 8, record.offset)
    setU48(view, 16, record.timestamp)
    bytes[22] = record.tombstone ? FRAME_TOMBSTONE : FRAME_RECORD
    bytes[23] = (key === undefined ? 0 : FLAG_KEY) | (continues ? FLAG_BATCH_CONTINUES : 0) | (indexed ? FLAG_BATCH_INDEX : 0)
    let at = FRAME_HEADER_BYTES
    if (indexed) {
      view.setUint32(at, record.batchIndex, true)
      at += 4
    }
    if (key !== undefined) {
      view.setUint16(at, key.length, true)
      bytes.set(key, at + 2)
      at += 2 + key.length
    }
    bytes.set(record.value, at)
    const crc = this.#crc32c(bytes.subarray(4, FRAME_HEADER_BYTES + bodyLength), this.#file.seed)
    view.setUint32(0, crc, true)
    this.#frames.push(bytes)
    this.#crcs.push(crc)
    this.#groupBytes += bytes.length
    this.#count++
    if (this.#firstOffset < 0) this.#firstOffset = record.offset
    this.#lastOffset = record.offset
    this.#minTime = Math.min(this.#minTime, record.timestamp)
    this.#maxTime = Math.max(this.#maxTime, record.timestamp)
    this.#runningTime = Math.max(this.#runningTime, record.timestamp)
  }

  *#commit(): Procedure<void> {
    if (this.#crcs.length === 0) return
    const chain = chainOf(this.#chain, this.#crcs, this.#crc32c)
    const commit = encodeCommit(
      {
        groupStart: this.#position,
        // The file is synced as a whole before it has a name.
        syncedOffset: 0,
        recordCount: this.#crcs.length,
        epoch: this.#file.epoch,
        prevChain: this.#chain,
        chain,
        nextOffset: this.#lastOffset + 1,
        timestamp: Math.max(0, this.#runningTime),
      },
      this.#file.seed,
      this.#crc32c,
    )
    const bytes = Buffer.concat([...this.#frames, commit])
    yield* io.write(this.#file.fd, this.#position, bytes, this.path)
    this.#position += bytes.length
    this.#chain = chain
    this.#frames = []
    this.#crcs = []
    this.#groupBytes = 0
  }

  /** As `SparseFile.finish`. */
  *finish(end: number, linkChain: number, closedAt: number): Procedure<SparseResult> {
    yield* this.#commit()
    const content = {
      position: this.#position,
      chain: this.#chain,
      count: this.#count,
      firstOffset: this.#firstOffset,
      lastOffset: this.#lastOffset,
      minTime: this.#minTime,
      maxTime: this.#maxTime,
    }
    const bytes = yield* this.#file.finish(content, end, linkChain, closedAt)
    return { count: this.#count, bytes, contentChain: this.#chain }
  }

  /** Closes the file, complete or not. */
  abandon(): Procedure<void> {
    return this.#file.abandon()
  }
}
