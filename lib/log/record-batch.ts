import { FLAG_BATCH_INDEX, FLAG_KEY, FRAME_TOMBSTONE } from '../format/constants.js'
import { SCAN_COLUMNS } from '../kernels/kernels.js'
import type { CodecName } from '../options.js'
import { decodeValue } from './codec.js'
import { copyBytes } from './copy-bytes.js'
import { Record } from './record.js'

/**
 * Consecutive records in one buffer: `bytes(i)` and `key(i)` are views of it. Nobody writes to it again, so that they are valid as long as they are held; with
 * `reuseBuffers` they are valid until the next batch is asked for.
 * Never ends inside a batch of the writer unless that batch alone is larger than `maxBytes`.
 */
export class RecordBatch<T> {
  readonly length: number
  /** Offset behind the last record. */
  readonly nextOffset: number
  /** The file's bytes, in which the values lie: value i from `start(i)` to `end(i)`. Not to be written to. */
  readonly buffer: Uint8Array
  // Asking a typed array for these costs as much as the rest of making a view.
  readonly #memory: ArrayBufferLike
  readonly #origin: number
  readonly #view: DataView
  readonly #table: Uint32Array
  readonly #codec: CodecName

  constructor(buffer: Uint8Array, table: Uint32Array, length: number, nextOffset: number, codec: CodecName) {
    this.buffer = buffer
    this.#memory = buffer.buffer
    this.#origin = buffer.byteOffset
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    this.#table = table
    this.length = length
    this.nextOffset = nextOffset
    this.#codec = codec
  }

  offset(i: number): number {
    const at = this.#frame(i) + 8
    return this.#view.getUint32(at + 4, true) * 4294967296 + this.#view.getUint32(at, true)
  }

  timestamp(i: number): number {
    const at = this.#frame(i) + 16
    return this.#view.getUint16(at + 4, true) * 4294967296 + this.#view.getUint32(at, true)
  }

  /** The value's bytes, whatever the codec. */
  bytes(i: number): Uint8Array {
    const row = this.#row(i)
    return new Uint8Array(this.#memory, this.#origin + this.#table[row + 1], this.#table[row + 2])
  }

  /** Where the value begins in `buffer`. To look at values without a view of each. */
  start(i: number): number {
    return this.#table[this.#row(i) + 1]
  }

  /** Where the value ends in `buffer`, exclusive. */
  end(i: number): number {
    const row = this.#row(i)
    return this.#table[row + 1] + this.#table[row + 2]
  }

  /** Codec bytes: the same view; codec json: the parsed value. */
  value(i: number): T {
    if (this.#codec === 'bytes') return this.bytes(i) as T
    return (this.tombstone(i) ? null : decodeValue('json', this.bytes(i))) as T
  }

  key(i: number): Uint8Array | undefined {
    const at = this.#frame(i)
    const flags = this.buffer[at + 23]
    if ((flags & FLAG_KEY) === 0) return undefined
    const start = at + 24 + ((flags & FLAG_BATCH_INDEX) === 0 ? 0 : 4)
    return new Uint8Array(this.#memory, this.#origin + start + 2, this.#view.getUint16(start, true))
  }

  tombstone(i: number): boolean {
    return this.buffer[this.#frame(i) + 22] === FRAME_TOMBSTONE
  }

  /** @internal CRC of the frame, which is bound to the segment file it lies in. */
  frameCrc(i: number): number {
    return this.#view.getUint32(this.#frame(i), true)
  }

  /** First offset of the writer's batch that the record belongs to. */
  batch(i: number): number {
    return this.offset(i) - this.#table[this.#row(i) + 3]
  }

  /** The record with bytes of its own. */
  record(i: number): Record<T> {
    const key = this.key(i)
    const start = this.#table[this.#row(i) + 1]
    const value = this.#codec === 'bytes' ? (copyBytes(this.buffer, start, start + this.#table[this.#row(i) + 2]) as T) : this.value(i)
    return new Record(this.offset(i), this.timestamp(i), key === undefined ? undefined : copyBytes(key, 0, key.length), this.tombstone(i), this.batch(i), value)
  }

  #row(i: number): number {
    if (i < 0 || i >= this.length) throw new RangeError(`record ${i} of ${this.length}`)
    return i * SCAN_COLUMNS
  }

  #frame(i: number): number {
    return this.#table[this.#row(i)]
  }
}
