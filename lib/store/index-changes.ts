import { INDEX_COLUMNS } from '../kernels/kernels.js'
import { type KeyIndex, PAGE_KEYS } from './key-index.js'

const KEY_ROOM = 128 * 1024

/** Collects changes of an index and makes them together, in their order. */
export class IndexChanges {
  readonly #index: KeyIndex
  readonly #bytes = Buffer.from(new ArrayBuffer(KEY_ROOM))
  readonly #table = new Float64Array(PAGE_KEYS * INDEX_COLUMNS)
  #used = 0
  #count = 0

  constructor(index: KeyIndex) {
    this.#index = index
  }

  /** The newest version of `key`, in encoded form, is the one at `offset`; −1: it is deleted. The key is copied. */
  add(key: Uint8Array, offset: number): void {
    if (this.#count === PAGE_KEYS || this.#used + key.length > KEY_ROOM) this.flush()
    this.#bytes.set(key, this.#used)
    this.#used += key.length
    this.#table[this.#count * INDEX_COLUMNS] = this.#used
    this.#table[this.#count * INDEX_COLUMNS + 1] = offset
    this.#count++
  }

  clear(): void {
    this.#count = this.#used = 0
    this.#index.clear()
  }

  flush(): void {
    if (this.#count > 0) this.#index.putPage({ count: this.#count, bytes: this.#bytes, table: this.#table })
    this.#count = this.#used = 0
  }
}
