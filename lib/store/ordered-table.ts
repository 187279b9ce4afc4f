import type { Backend } from '../kernels/kernels.js'
import { environmentFor } from '../log/environment.js'
import { KeyIndex, type KeyScan, keyAt, PAGE_KEYS, valueAt } from './key-index.js'
import { encodeRange, type RangeOptions } from './key-range.js'
import type { Key } from './keys.js'

/** The first step of an iterator should be quick, long ranges should take few calls. */
const FIRST_PAGE_KEYS = 8
const PAGE_GROWTH = 4

export interface OrderedTableOptions {
  /** `auto` (default): the addon, or with one warning the pure-JavaScript twin. */
  backend?: 'auto' | Backend
}

/**
 * A table in memory, ordered by key, for any values. Keys are strings, integers (`number` or `bigint`, `5` and `5n` are one key) and Uint8Arrays, in this order:
 * integers by value, strings by code points, bytes as unsigned bytes; the longest take 65,534 bytes. All methods throw ERR_SEALOG_ARGUMENT for what is no such key.
 *
 * Iterators may run while the table changes, as those of a Map: what is put ahead of them they meet, what is deleted ahead of them they do not.
 */
export class OrderedTable<V> implements Iterable<[Key, V]> {
  /** Holds the slot of each key. */
  readonly #index: KeyIndex
  /** By slot. */
  readonly #values: (V | undefined)[] = []
  readonly #free: number[] = []
  /** Counts what makes pages of keys and slots stale. */
  #changes = 0

  constructor(options: OrderedTableOptions = {}) {
    this.#index = new KeyIndex(environmentFor(options.backend ?? 'auto').kernels)
  }

  get size(): number {
    return this.#index.size
  }

  /** Bytes that the keys and their order take; the values are yours. */
  get keyBytes(): number {
    return this.#index.bytes
  }

  put(key: Key, value: V): void {
    // One call for new keys and old ones: either way the key moves to a free slot.
    const slot = this.#free.at(-1) ?? this.#values.length
    const previous = this.#index.put(key, slot)
    this.#free.pop()
    this.#values[slot] = value
    if (previous >= 0) this.#release(previous)
    this.#changes++
  }

  /** Undefined when it is not there. */
  get(key: Key): V | undefined {
    const slot = this.#index.get(key)
    return slot < 0 ? undefined : this.#values[slot]
  }

  has(key: Key): boolean {
    return this.#index.get(key) >= 0
  }

  /** Whether it was there. */
  delete(key: Key): boolean {
    const slot = this.#index.delete(key)
    if (slot < 0) return false
    this.#release(slot)
    this.#changes++
    return true
  }

  clear(): void {
    this.#index.clear()
    this.#values.length = 0
    this.#free.length = 0
    this.#changes++
  }

  /** Keys with their values, in order. Throws ERR_SEALOG_ARGUMENT at once for a range that cannot be. */
  entries(range: RangeOptions = {}): IterableIterator<[Key, V]> {
    return this.#walk(this.#index.scan(encodeRange(range)), (key, slot) => [key, this.#values[slot] as V])
  }

  /** Keys in order. Throws ERR_SEALOG_ARGUMENT at once for a range that cannot be. */
  keys(range: RangeOptions = {}): IterableIterator<Key> {
    return this.#walk(this.#index.scan(encodeRange(range)), (key) => key)
  }

  [Symbol.iterator](): IterableIterator<[Key, V]> {
    return this.entries()
  }

  *#walk<T>(scan: KeyScan, step: (key: Key, slot: number) => T): IterableIterator<T> {
    let limit = FIRST_PAGE_KEYS
    for (;;) {
      const page = scan.next(limit)
      const count = page.count
      if (count === 0) return
      limit = Math.min(limit * PAGE_GROWTH, PAGE_KEYS)
      const changes = this.#changes
      // The page's memory is for one page at a time, and others may scan before the next step.
      const keys: Key[] = []
      const slots: number[] = []
      for (let row = 0; row < count; row++) {
        keys.push(keyAt(page, row))
        slots.push(valueAt(page, row))
      }
      for (let row = 0; row < count; row++) {
        yield step(keys[row], slots[row])
        if (this.#changes === changes) continue
        scan.rewind(keys[row], count - 1 - row)
        limit = FIRST_PAGE_KEYS
        break
      }
    }
  }

  #release(slot: number): void {
    this.#values[slot] = undefined
    this.#free.push(slot)
  }
}
