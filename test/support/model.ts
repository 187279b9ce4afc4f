import { expect } from 'vitest'
import type { Record } from '../../lib/index.js'

/** What a record is expected to read as. */
export interface ModelRecord {
  readonly value: string
  readonly key: string | undefined
  readonly tombstone: boolean
  /** undefined: given by sealog. */
  readonly timestamp: number | undefined
}

interface Stored extends ModelRecord {
  readonly offset: number
  readonly batch: number
  /** Filled in when it is first read. */
  time: number
}

/**
 * The promises of a log in the plainest form: an array of records with a start. Everything in it was accepted; what the log under test has lost or
 * changed against it is a bug, since the model knows of no crash.
 */
export class LogModel {
  #records: Stored[] = []
  start = 0
  epoch = 1

  get end(): number {
    return this.#base + this.#records.length
  }

  /** Offset of the first element of the array. */
  #base = 0

  append(batch: readonly ModelRecord[]): { first: number; last: number } {
    const first = this.end
    for (const record of batch) this.#records.push({ ...record, offset: this.end, batch: first, time: record.timestamp ?? -1 })
    return { first, last: this.end - 1 }
  }

  at(offset: number): Stored | undefined {
    return offset < this.start ? undefined : this.#records[offset - this.#base]
  }

  range(from: number, to: number): Stored[] {
    const low = Math.max(from, this.start) - this.#base
    return this.#records.slice(low, Math.max(low, Math.min(to, this.end) - this.#base))
  }

  /** The new start: down to the beginning of a batch, never back. */
  truncateBefore(offset: number): number {
    const batch = offset >= this.end ? this.end : (this.at(offset)?.batch ?? this.start)
    this.start = Math.max(this.start, batch)
    return this.start
  }

  /** The new end: that of the batch that holds `offset`. */
  truncateAfter(offset: number): number {
    let end = offset + 1
    while (end < this.end && this.at(end)?.batch === this.at(offset)?.batch) end++
    if (end < this.end) {
      this.epoch++
      this.#records.length = end - this.#base
    }
    return end
  }

  /** First offset whose running maximum of timestamps reaches `time`. Knows the times only after everything has been read once. */
  offsetAt(time: number): number {
    let running = -1
    for (const record of this.#records) {
      running = Math.max(running, record.time)
      if (running >= time) return Math.max(record.offset, this.start)
    }
    return this.end
  }

  /** Held against records that were read. */
  check(records: readonly Record<Uint8Array>[], from: number, to: number): void {
    const expected = this.range(from, to)
    expect(records.map((record) => record.offset)).toEqual(expected.map((record) => record.offset))
    records.forEach((record, i) => this.checkOne(record, expected[i]))
  }

  checkOne(record: Record<Uint8Array> | undefined, expected: Stored | undefined): void {
    if (expected === undefined || record === undefined) {
      expect(record).toBe(expected)
      return
    }
    expect({
      offset: record.offset,
      value: Buffer.from(record.value).toString(),
      key: record.key && Buffer.from(record.key).toString(),
      tombstone: record.tombstone,
      batch: record.batch,
    }).toEqual({ offset: expected.offset, value: expected.value, key: expected.key, tombstone: expected.tombstone, batch: expected.batch })
    if (expected.timestamp === undefined && expected.time < 0) expected.time = record.timestamp
    expect(record.timestamp).toBe(expected.time)
  }
}
