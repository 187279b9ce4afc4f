import { INDEX_COLUMNS } from '../kernels/kernels.js'
import { copyInto } from '../log/copy-bytes.js'
import type { IndexChanges } from './index-changes.js'
import { bufferOf } from './keys.js'

export type WriteKind = 'put' | 'delete' | 'clear'

/** An accepted record that is not committed yet. */
export interface PendingWrite {
  readonly offset: number
  readonly kind: WriteKind
}

const FIRST_ROWS = 1024
const FIRST_BYTES = 32 * 1024
/** Memory beyond is given back when nothing waits. */
const KEPT_ROWS = 16 * FIRST_ROWS
/** The map of last writes may hold so many that are committed already. */
const OLD_ENTRIES = 4096

/** In the place of an offset. */
const DELETED = -1
const CLEARED = -2

/**
 * What was accepted and is not committed, in order of offsets, which are dense: what a delete must know, and what the index takes over when it counts. Keys lie one behind
 * the other as the index takes them, so that a write leaves no object behind.
 */
export class PendingWrites {
  #bytes = Buffer.from(new ArrayBuffer(FIRST_BYTES))
  /** INDEX_COLUMNS numbers per write: where its key ends in `#bytes`, and its offset or what it does instead. */
  #table = new Float64Array(FIRST_ROWS * INDEX_COLUMNS)
  /** Rows that wait: from `#head` on, below `#end`. */
  #head = 0
  #end = 0
  /** Offset of row 0. */
  #base = 0
  /** Offset of the last write of each key, by the bytes of the key, not older than the last clear; made when it is first asked for. */
  #last: Map<string, number> | undefined
  #lastClear = -1

  get count(): number {
    return this.#end - this.#head
  }

  /** The key is the first `length` bytes of `key`, which are copied. What waits from `offset` on was refused, if anything. */
  add(offset: number, key: Uint8Array, length: number, kind: WriteKind): void {
    if (this.count === 0) this.#reset(offset)
    else this.dropFrom(offset)
    const start = this.#keyEnd(this.#end)
    if (start + length > this.#bytes.length || (this.#end + 1) * INDEX_COLUMNS > this.#table.length) {
      this.#makeRoom(length)
      this.add(offset, key, length, kind)
      return
    }
    copyInto(this.#bytes, start, key, length)
    this.#table[this.#end * INDEX_COLUMNS] = start + length
    this.#table[this.#end * INDEX_COLUMNS + 1] = kind === 'put' ? offset : kind === 'delete' ? DELETED : CLEARED
    if (this.#last !== undefined) this.#note(this.#last, this.#end)
    this.#end++
  }

  /** The write that decides what the key will be; undefined when nothing that waits does. */
  last(key: Uint8Array): PendingWrite | undefined {
    if (this.count === 0) return undefined
    this.#last ??= this.#lastWrites()
    const offset = this.#last.get(bufferOf(key).toString('latin1')) ?? this.#lastClear
    return offset < this.#base + this.#head ? undefined : this.#write(offset - this.#base)
  }

  /** The write accepted last. */
  get newest(): PendingWrite | undefined {
    return this.count === 0 ? undefined : this.#write(this.#end - 1)
  }

  /** Gives the writes below offset `end` to `changes`, in order, and forgets them. */
  take(end: number, changes: IndexChanges): void {
    const until = Math.min(this.#end, end - this.#base)
    if (until <= this.#head) return
    let from = this.#head
    for (let row = from; row < until; row++) {
      if (this.#table[row * INDEX_COLUMNS + 1] !== CLEARED) continue
      changes.clear()
      from = row + 1
    }
    changes.addRows(this.#bytes, this.#table, from, until)
    this.#head = until
    if (this.#last !== undefined && this.#last.size > 2 * this.count + OLD_ENTRIES) this.#last = undefined
  }

  /** Forgets the writes from offset `end` on: they were refused. Their offsets are given out again. */
  dropFrom(end: number): void {
    const kept = Math.max(this.#head, end - this.#base)
    if (kept >= this.#end) return
    this.#end = kept
    this.#last = undefined
  }

  /** Nothing waits; the next write has this offset. */
  #reset(offset: number): void {
    this.#head = this.#end = 0
    this.#base = offset
    this.#last = undefined
    if (this.#table.length <= KEPT_ROWS * INDEX_COLUMNS) return
    this.#bytes = Buffer.from(new ArrayBuffer(FIRST_BYTES))
    this.#table = new Float64Array(FIRST_ROWS * INDEX_COLUMNS)
  }

  /** Moves what waits to the front, of twice the memory if that frees less than half. */
  #makeRoom(length: number): void {
    const start = this.#keyEnd(this.#head)
    const used = this.#keyEnd(this.#end) - start
    const bytes = 2 * (used + length) > this.#bytes.length ? Buffer.from(new ArrayBuffer(2 * (this.#bytes.length + length))) : this.#bytes
    this.#bytes.copy(bytes, 0, start, start + used)
    const table = 2 * this.count * INDEX_COLUMNS >= this.#table.length ? new Float64Array(2 * this.#table.length) : this.#table
    table.set(this.#table.subarray(this.#head * INDEX_COLUMNS, this.#end * INDEX_COLUMNS))
    for (let row = 0; row < this.count; row++) table[row * INDEX_COLUMNS] -= start
    this.#bytes = bytes
    this.#table = table
    this.#base += this.#head
    this.#end -= this.#head
    this.#head = 0
  }

  /** Where the key before `row` ends. */
  #keyEnd(row: number): number {
    return row === 0 ? 0 : this.#table[(row - 1) * INDEX_COLUMNS]
  }

  #write(row: number): PendingWrite {
    const value = this.#table[row * INDEX_COLUMNS + 1]
    return { offset: this.#base + row, kind: value === CLEARED ? 'clear' : value === DELETED ? 'delete' : 'put' }
  }

  #lastWrites(): Map<string, number> {
    const last = new Map<string, number>()
    this.#lastClear = -1
    for (let row = this.#head; row < this.#end; row++) this.#note(last, row)
    return last
  }

  #note(last: Map<string, number>, row: number): void {
    if (this.#table[row * INDEX_COLUMNS + 1] === CLEARED) {
      last.clear()
      this.#lastClear = this.#base + row
    } else {
      last.set(this.#bytes.toString('latin1', this.#keyEnd(row), this.#table[row * INDEX_COLUMNS]), this.#base + row)
    }
  }
}
