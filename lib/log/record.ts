/** A record as read. One shape for all records; bytes belong to whoever holds it. */
export class Record<T> {
  readonly offset: number
  /** ms since the epoch. */
  readonly timestamp: number
  readonly key: Uint8Array | undefined
  /** The record deletes its key; `value` is empty (codec json: null). */
  readonly tombstone: boolean
  /** First offset of the batch it was appended with. */
  readonly batch: number
  readonly value: T

  constructor(offset: number, timestamp: number, key: Uint8Array | undefined, tombstone: boolean, batch: number, value: T) {
    this.offset = offset
    this.timestamp = timestamp
    this.key = key
    this.tombstone = tombstone
    this.batch = batch
    this.value = value
  }
}
