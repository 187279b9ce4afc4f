import {
  COMPACT_INDEX,
  COMPACT_LENGTH,
  INDEX_COLUMNS,
  INDEX_FROM_EXCLUSIVE,
  INDEX_REVERSE,
  INDEX_UNTIL_INCLUSIVE,
  type IndexHandle,
  KEY_BYTES,
} from '../kernels.js'

const BLOCK_KEYS = 512
/** What V8 takes for a key and a value besides the characters: two array elements with some room to grow, the header of a string. */
const BYTES_PER_KEY = 2 * 8 * 1.4 + 16

/** The indexes of one set of kernels; handles are not used again. */
export class OrderedIndexes {
  readonly #indexes = new Map<IndexHandle, OrderedIndex>()
  readonly #keys: Buffer
  #last = 0

  constructor(keys: Uint8Array) {
    this.#keys = Buffer.from(keys.buffer, keys.byteOffset, keys.byteLength)
  }

  create(): IndexHandle {
    return this.#add(new OrderedIndex([], 0, 0))
  }

  copy(handle: IndexHandle): IndexHandle {
    return this.#add(this.get(handle).copy())
  }

  get(handle: IndexHandle): OrderedIndex {
    const index = this.#indexes.get(handle)
    if (index === undefined) throw new RangeError('there is no such index')
    return index
  }

  destroy(handle: IndexHandle): void {
    this.get(handle)
    this.#indexes.delete(handle)
  }

  /** Those that a FILE_COMPACT names in its numbers, as they are now. */
  ofCompaction(numbers: Float64Array): OrderedIndex[] {
    if (numbers.length < COMPACT_LENGTH) throw new RangeError('`numbers` is too short')
    return [numbers[COMPACT_INDEX], ...numbers.subarray(COMPACT_LENGTH)].map((handle) => this.get(handle).copy())
  }

  /** A key in `Shared.keys`, one character per byte: such strings are ordered as their bytes are. */
  key(start: number, length: number): string {
    if (!(length >= 1 && length <= KEY_BYTES && start + length <= this.#keys.length)) throw new RangeError('a key has no such length')
    return this.#keys.toString('latin1', start, start + length)
  }

  #add(index: OrderedIndex): IndexHandle {
    this.#indexes.set(++this.#last, index)
    return this.#last
  }
}

/** Some consecutive keys, at least one. Changed only by the index that owns it; its copies share it. */
interface Block {
  readonly keys: string[]
  readonly values: number[]
  readonly owner: object
}

/** Sorted keys in sorted blocks. */
export class OrderedIndex {
  #blocks: Block[]
  #owner = {}
  #size: number
  #keyBytes: number
  /** Where the last search ended: the key, or the first larger one, or behind the last of its block. */
  #block = 0
  #at = 0

  constructor(blocks: Block[], size: number, keyBytes: number) {
    this.#blocks = blocks
    this.#size = size
    this.#keyBytes = keyBytes
  }

  get size(): number {
    return this.#size
  }

  get bytes(): number {
    return this.#size * BYTES_PER_KEY + this.#keyBytes
  }

  copy(): OrderedIndex {
    // Neither owns the blocks any more.
    this.#owner = {}
    return new OrderedIndex(this.#blocks.slice(), this.#size, this.#keyBytes)
  }

  clear(): void {
    this.#blocks = []
    this.#size = this.#keyBytes = 0
  }

  get(key: string): number {
    return this.#find(key) ? this.#blocks[this.#block].values[this.#at] : -1
  }

  put(key: string, value: number): number {
    if (!(Number.isSafeInteger(value) && value >= 0)) throw new RangeError('a value is no such number')
    if (this.#find(key)) {
      const { values } = this.#ownedBlock()
      const previous = values[this.#at]
      values[this.#at] = value
      return previous
    }
    this.#size++
    this.#keyBytes += key.length
    if (this.#blocks.length === 0) {
      this.#blocks.push({ keys: [key], values: [value], owner: this.#owner })
      return -1
    }
    const { keys, values } = this.#ownedBlock()
    keys.splice(this.#at, 0, key)
    values.splice(this.#at, 0, value)
    if (keys.length > BLOCK_KEYS) {
      // Keys that come in order fill their blocks.
      const half = this.#at === keys.length - 1 ? this.#at : keys.length >>> 1
      this.#blocks.splice(this.#block + 1, 0, { keys: keys.splice(half), values: values.splice(half), owner: this.#owner })
    }
    return -1
  }

  delete(key: string): number {
    if (!this.#find(key)) return -1
    const { keys, values } = this.#ownedBlock()
    const previous = values[this.#at]
    this.#size--
    this.#keyBytes -= key.length
    keys.splice(this.#at, 1)
    values.splice(this.#at, 1)
    if (keys.length === 0) this.#blocks.splice(this.#block, 1)
    return previous
  }

  putMany(count: number, bytes: Uint8Array, table: Float64Array): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (count * INDEX_COLUMNS > table.length) throw new RangeError('`table` is too short')
    for (let row = 0, start = 0; row < count * INDEX_COLUMNS; row += INDEX_COLUMNS) {
      const end = table[row]
      const value = table[row + 1]
      if (!(end > start && end - start <= KEY_BYTES && end <= bytes.length)) throw new RangeError('a key has no such length')
      const key = buffer.toString('latin1', start, end)
      table[row + 1] = value === -1 ? this.delete(key) : this.put(key, value)
      start = end
    }
  }

  scan(from: string | undefined, until: string | undefined, flags: number, limit: number, bytes: Uint8Array, table: Float64Array): number {
    if (bytes.length < KEY_BYTES) throw new RangeError('`bytes` is too short')
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const reverse = (flags & INDEX_REVERSE) !== 0
    const step = reverse ? -1 : 1
    const rows = Math.min(limit, Math.floor(table.length / INDEX_COLUMNS))
    this.#seek(from, reverse, (flags & INDEX_FROM_EXCLUSIVE) !== 0)
    let block = this.#block
    let at = this.#at
    let count = 0
    let used = 0
    while (count < rows && block >= 0 && block < this.#blocks.length) {
      const { keys, values } = this.#blocks[block]
      if (at < 0 || at >= keys.length) {
        block += step
        at = reverse ? (this.#blocks[block]?.keys.length ?? 0) - 1 : 0
        continue
      }
      const key = keys[at]
      if (until !== undefined && isBeyond(key, until, flags)) break
      if (used + key.length > buffer.length) break
      used += buffer.write(key, used, 'latin1')
      table[count * INDEX_COLUMNS] = used
      table[count * INDEX_COLUMNS + 1] = values[at]
      count++
      at += step
    }
    return count
  }

  /** Goes to the first key of a scan, which may lie beyond either end of its block. */
  #seek(from: string | undefined, reverse: boolean, exclusive: boolean): void {
    if (from === undefined) {
      this.#block = reverse ? this.#blocks.length - 1 : 0
      this.#at = reverse ? (this.#blocks.at(-1)?.keys.length ?? 0) - 1 : 0
      return
    }
    const found = this.#find(from)
    if (reverse && (!found || exclusive)) this.#at--
    if (!reverse && found && exclusive) this.#at++
  }

  #find(key: string): boolean {
    const blocks = this.#blocks
    let low = 0
    let high = blocks.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (blocks[middle].keys[0] <= key) low = middle
      else high = middle
    }
    this.#block = low
    this.#at = 0
    if (blocks.length === 0) return false
    const { keys } = blocks[low]
    low = 0
    high = keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (keys[middle] < key) low = middle + 1
      else high = middle
    }
    this.#at = low
    return keys[low] === key
  }

  /** The block found, to be changed. */
  #ownedBlock(): Block {
    const block = this.#blocks[this.#block]
    if (block.owner === this.#owner) return block
    const own = { keys: block.keys.slice(), values: block.values.slice(), owner: this.#owner }
    this.#blocks[this.#block] = own
    return own
  }
}

function isBeyond(key: string, until: string, flags: number): boolean {
  if (key === until) return (flags & INDEX_UNTIL_INCLUSIVE) === 0
  return (flags & INDEX_REVERSE) !== 0 ? key < until : key > until
}
