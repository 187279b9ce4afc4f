import { type RecordCacheStats, TieredCache, type TieredCacheSettings } from '../cache/tiered-cache.js'
import { copyBytes } from '../log/copy-bytes.js'
import type { Ticker } from '../log/environment.js'
import { copyJson, jsonMemory } from './json-values.js'

/**
 * The record cache of a store: values by the offset of their record. What is handed out is a copy, and so is what is kept: neither can be changed through the other.
 * Bytes are copied; of JSON the parsed value is kept and copied, which is many times faster than to parse its text again.
 */
export class ValueCache<V> implements Ticker {
  readonly #records: TieredCache<V>
  readonly #addTicker: (ticker: Ticker) => void
  #swept = false
  #clears = 0

  constructor(directory: string, settings: TieredCacheSettings, addTicker: (ticker: Ticker) => void) {
    this.#records = new TieredCache<V>(directory, settings)
    this.#addTicker = addTicker
  }

  /** A copy of the value; undefined: not cached. */
  get(offset: number): V | undefined {
    const value = this.#records.get(offset)
    if (value === undefined) return undefined
    return value instanceof Uint8Array ? (copyBytes(value, 0, value.length) as V) : copyJson(value)
  }

  /** Keeps a copy of the value of the record at `offset`, which must be what a key has now. */
  add(offset: number, value: V): void {
    if (value instanceof Uint8Array) {
      // Its own memory: a small copy would keep the chunk alive that it is cut from.
      this.#add(offset, value.slice() as V, value.length)
    } else {
      const bytes = jsonMemory(value)
      if (bytes < Number.POSITIVE_INFINITY) this.#add(offset, copyJson(value), bytes)
    }
  }

  #add(offset: number, value: V, bytes: number): void {
    this.#records.add(offset, value, bytes)
    if (this.#swept) return
    this.#swept = true
    this.#addTicker(this)
  }

  /** The record is no key's newest any more. */
  replaced(offset: number): void {
    this.#records.replaced(offset)
  }

  /** How often everything was dropped: what was read before may not be what the records hold now. */
  get clears(): number {
    return this.#clears
  }

  clear(): void {
    this.#clears++
    this.#records.clear()
  }

  get size(): number {
    return this.#records.size
  }

  stats(): RecordCacheStats {
    return this.#records.stats()
  }

  tick(now: number): boolean {
    this.#swept = this.#records.sweep(now)
    return this.#swept
  }
}
