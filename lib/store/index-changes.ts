import { INDEX_COLUMNS } from '../kernels/kernels.js'
import { type KeyIndex, PAGE_KEYS } from './key-index.js'

const KEY_ROOM = 128 * 1024

/** What wants to know which offsets are no key's any more. */
export interface ReplacedListener {
  replaced(offset: number): void
  clear(): void
}

/** Collects changes of an index and makes them together, in their order. */
export class IndexChanges {
  readonly #index: KeyIndex
  readonly #listener: ReplacedListener | undefined
  readonly #bytes = Buffer.from(new ArrayBuffer(KEY_ROOM))
  readonly #table = new Float64Array(PAGE_KEYS * INDEX_COLUMNS)
  #used = 0
  #count = 0

  constructor(index: KeyIndex, listener?: ReplacedListener) {
    this.#index = index
    this.#listener = listener
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

  /** The same for rows `from` to `to` (exclusive) of a table of keys as `Kernels.indexScan` lays them out. Everything is copied. */
  addRows(bytes: Buffer, table: Float64Array, from: number, to: number): void {
    for (let row = from; row < to; ) {
      const start = row === 0 ? 0 : table[(row - 1) * INDEX_COLUMNS]
      const room = start + KEY_ROOM - this.#used
      const most = Math.min(to, row + PAGE_KEYS - this.#count)
      let end = row
      while (end < most && table[end * INDEX_COLUMNS] <= room) end++
      if (end === row) {
        this.flush()
        continue
      }
      const shift = this.#used - start
      this.#used += bytes.copy(this.#bytes, this.#used, start, table[(end - 1) * INDEX_COLUMNS])
      for (; row < end; row++, this.#count++) {
        this.#table[this.#count * INDEX_COLUMNS] = table[row * INDEX_COLUMNS] + shift
        this.#table[this.#count * INDEX_COLUMNS + 1] = table[row * INDEX_COLUMNS + 1]
      }
    }
  }

  clear(): void {
    this.#count = this.#used = 0
    this.#index.clear()
    this.#listener?.clear()
  }

  flush(): void {
    const count = this.#count
    if (count === 0) return
    this.#count = this.#used = 0
    this.#index.putPage({ count, bytes: this.#bytes, table: this.#table })
    if (this.#listener === undefined) return
    for (let row = 0; row < count; row++) {
      const offset = this.#table[row * INDEX_COLUMNS + 1]
      if (offset >= 0) this.#listener.replaced(offset)
    }
  }
}
