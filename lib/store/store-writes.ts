import type { Log } from '../log/log.js'
import { encodeBatch } from './batch-entries.js'
import type { IndexChanges } from './index-changes.js'
import type { KeyIndex } from './key-index.js'
import { encodeKey, type Key, keyScratch, writeKey } from './keys.js'
import { type PendingWrite, PendingWrites, type WriteKind } from './pending-writes.js'
import { CLEAR_KEY } from './store-records.js'
import { type BatchEntry, checkEntry } from './store-types.js'

/** Accepts the writes of a store, and knows of those that are not committed yet what they will make of keys. */
export class StoreWrites<V> {
  readonly #log: Log<V>
  readonly #index: () => KeyIndex
  readonly #checkWritable: () => void
  readonly #pending = new PendingWrites()

  constructor(log: Log<V>, index: () => KeyIndex, checkWritable: () => void) {
    this.#log = log
    this.#index = index
    this.#checkWritable = checkWritable
  }

  /** Records accepted and not committed. */
  get pending(): number {
    return this.#pending.count
  }

  /** Something was resolved that does not count yet: only in mode `none`. */
  get owed(): boolean {
    return this.#log.durability === 'none' && this.#pending.count > 0 && this.#log.failure === undefined
  }

  /** The same of one key. */
  owes(key: Uint8Array): boolean {
    return this.owed && this.#pending.last(key) !== undefined
  }

  /** The offset of the record. */
  put(key: Key, value: V | Uint8Array): number {
    this.#checkWritable()
    const encoded = this.#log.encodeValue(value)
    return this.#accept(keyScratch, writeKey(key, keyScratch, 0), 'put', encoded)
  }

  /** `offset`: with its record the answer is certain; −1: it is now. */
  delete(key: Key): { readonly offset: number; readonly wasThere: boolean } {
    const encoded = encodeKey(key)
    this.#checkWritable()
    if (this.#isThere(encoded)) return { offset: this.#accept(encoded, encoded.length, 'delete'), wasThere: true }
    return { offset: this.#lastOf(encoded)?.offset ?? -1, wasThere: false }
  }

  /** Offsets of the records; `last` is below `first` when there are none. */
  batch(entries: Iterable<BatchEntry<V>>): { first: number; last: number } {
    this.#checkWritable()
    const records = encodeBatch(
      entries,
      (key) => this.#isThere(key),
      (value) => this.#log.encodeValue(value),
    )
    this.#checkWritable()
    if (records.length === 0) return { first: this.#log.endOffset, last: this.#log.endOffset - 1 }
    const first = this.#log.acceptEncoded(records)
    for (const [i, { key, tombstone }] of records.entries()) this.#pending.add(first + i, key, key.length, tombstone ? 'delete' : 'put')
    return { first, last: first + records.length - 1 }
  }

  /** The offset of the record of one entry; undefined: it deletes what is not there. */
  entry(entry: BatchEntry<V>): number | undefined {
    if (!checkEntry(entry) && 'value' in entry) return this.put(entry.key, entry.value)
    const { first, last } = this.batch([entry])
    return last < first ? undefined : first
  }

  /** The offset with which there is nothing left; −1: there is nothing now. */
  clear(): number {
    this.#checkWritable()
    this.#pending.dropFrom(this.#log.endOffset)
    const { newest } = this.#pending
    if (newest === undefined && this.#index().size === 0) return -1
    return newest?.kind === 'clear' ? newest.offset : this.#accept(CLEAR_KEY, CLEAR_KEY.length, 'clear')
  }

  /** Hands on what was committed below `end`, and forgets what was refused. */
  take(end: number, changes: IndexChanges): void {
    this.#pending.take(end, changes)
    this.#pending.dropFrom(this.#log.endOffset)
  }

  /** User code ran before; from here to the end nothing else does. The key is the first `length` bytes of `key`. */
  #accept(key: Uint8Array, length: number, kind: WriteKind, value?: string | Uint8Array): number {
    this.#checkWritable()
    const offset = this.#log.acceptKeyed(key, length, value)
    this.#pending.add(offset, key, length, kind)
    return offset
  }

  #lastOf(key: Uint8Array): PendingWrite | undefined {
    this.#pending.dropFrom(this.#log.endOffset)
    return this.#pending.last(key)
  }

  #isThere(key: Uint8Array): boolean {
    const last = this.#lastOf(key)
    return last === undefined ? this.#index().getEncoded(key) >= 0 : last.kind === 'put'
  }
}
