import { INDEX_COLUMNS, INDEX_FROM_EXCLUSIVE, type IndexHandle, KEY_BYTES, type Kernels } from '../kernels/kernels.js'
import type { EncodedRange } from './key-range.js'
import { bufferOf, encodeKey, type Key, readKey, writeKey } from './keys.js'

const PAGE_BYTES = 2 * KEY_BYTES
/** Most keys of a page. */
export const PAGE_KEYS = 512

interface Registration {
  readonly kernels: Kernels
  readonly handle: IndexHandle
}

/** Keys of a scan as the kernels lay them out (`Kernels.indexScan`). Pages that are read are valid until the next one is, of any index. */
export interface KeyPage {
  readonly count: number
  readonly bytes: Buffer
  /** INDEX_COLUMNS numbers per key: where it ends in `bytes`, its value. */
  readonly table: Float64Array
}

type PageMemory = Omit<KeyPage, 'count'>

/** One page for all indexes of a set of kernels. */
const pageMemory = new WeakMap<Kernels, PageMemory>()

function pageMemoryOf(kernels: Kernels): PageMemory {
  let memory = pageMemory.get(kernels)
  if (memory === undefined) {
    memory = { bytes: Buffer.from(new ArrayBuffer(PAGE_BYTES)), table: new Float64Array(PAGE_KEYS * INDEX_COLUMNS) }
    pageMemory.set(kernels, memory)
  }
  return memory
}

/** Native memory of indexes that nobody closed goes when they are collected. */
const abandoned = new FinalizationRegistry<Registration>(({ kernels, handle }) => kernels.destroyIndex(handle))

/**
 * An ordered index from keys to numbers (0 to 2^53 − 1), in memory of the kernels. Methods take keys, or with `Encoded` in their name what `encodeKey` made of them,
 * and throw ERR_SEALOG_ARGUMENT for what is no key. After `close` every other method throws.
 */
export class KeyIndex {
  readonly #kernels: Kernels
  readonly #handle: IndexHandle
  readonly #keys: Buffer
  readonly #page: PageMemory
  #closed = false

  constructor(kernels: Kernels, handle: IndexHandle = kernels.createIndex()) {
    this.#kernels = kernels
    this.#handle = handle
    this.#keys = bufferOf(kernels.shared.keys)
    this.#page = pageMemoryOf(kernels)
    abandoned.register(this, { kernels, handle }, this)
  }

  /** @internal For requests of the kernels; the index must stay open and unchanged while they run. */
  get handle(): IndexHandle {
    return this.#handle
  }

  get closed(): boolean {
    return this.#closed
  }

  get size(): number {
    return this.#kernels.indexSize(this.#handle)
  }

  /** Bytes of memory, of the index and its copies together. */
  get bytes(): number {
    return this.#kernels.indexBytes(this.#handle)
  }

  /** −1: not there. */
  get(key: Key): number {
    return this.#kernels.indexGet(this.#handle, writeKey(key, this.#keys, 0))
  }

  /** The value that the key had, −1: none. */
  put(key: Key, value: number): number {
    return this.#kernels.indexPut(this.#handle, writeKey(key, this.#keys, 0), value)
  }

  /** The value that the key had, −1: it was not there. */
  delete(key: Key): number {
    return this.#kernels.indexDelete(this.#handle, writeKey(key, this.#keys, 0))
  }

  getEncoded(key: Uint8Array): number {
    this.#keys.set(key)
    return this.#kernels.indexGet(this.#handle, key.length)
  }

  putEncoded(key: Uint8Array, value: number): number {
    this.#keys.set(key)
    return this.#kernels.indexPut(this.#handle, key.length, value)
  }

  deleteEncoded(key: Uint8Array): number {
    this.#keys.set(key)
    return this.#kernels.indexDelete(this.#handle, key.length)
  }

  /** Puts a page of encoded keys; the value −1 deletes. Much faster than one by one, most of all in order. */
  putPage(page: KeyPage): void {
    this.#kernels.indexPutMany(this.#handle, page.count, page.bytes, page.table)
  }

  clear(): void {
    this.#kernels.indexClear(this.#handle)
  }

  /** An index with the same content, which stays as it is whatever happens to this one. Made at once; keep it no longer than needed and close it. */
  copy(): KeyIndex {
    return new KeyIndex(this.#kernels, this.#kernels.copyIndex(this.#handle))
  }

  /** A scan; it sees what is put and deleted ahead of it meanwhile. */
  scan(range: EncodedRange): KeyScan {
    return new KeyScan(this, range)
  }

  /** The next up to `limit` keys (at most PAGE_KEYS) of a range. */
  readPage(range: EncodedRange, limit: number): KeyPage {
    const { from, until, flags } = range
    if (from !== undefined) this.#keys.set(from)
    if (until !== undefined) this.#keys.set(until, from?.length ?? 0)
    const { bytes, table } = this.#page
    const count = this.#kernels.indexScan(this.#handle, from?.length ?? 0, until?.length ?? 0, flags, limit, bytes, table)
    return { count, bytes, table }
  }

  /** Frees the memory. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    abandoned.unregister(this)
    this.#kernels.destroyIndex(this.#handle)
  }
}

/** Reads a range page by page, each where the last one ended. */
export class KeyScan {
  readonly #index: KeyIndex
  #range: EncodedRange
  #left: number

  constructor(index: KeyIndex, range: EncodedRange) {
    this.#index = index
    this.#range = range
    this.#left = range.limit
  }

  /** The next up to `limit` keys (at most PAGE_KEYS); a count of 0: that was all. */
  next(limit: number = PAGE_KEYS): KeyPage {
    const page = this.#index.readPage(this.#range, Math.min(limit, this.#left))
    this.#left -= page.count
    if (page.count > 0) this.#goBehind(encodedKeyAt(page, page.count - 1).slice())
    return page
  }

  /** Lets the next page begin behind `key`, a key of the last page, `unread` keys before its end. */
  rewind(key: Key, unread: number): void {
    this.#left += unread
    this.#goBehind(encodeKey(key))
  }

  #goBehind(from: Uint8Array): void {
    this.#range = { ...this.#range, from, flags: this.#range.flags | INDEX_FROM_EXCLUSIVE }
  }
}

function keyStart(table: Float64Array, row: number): number {
  return row === 0 ? 0 : table[(row - 1) * INDEX_COLUMNS]
}

/** The key in a row of a page. */
export function keyAt(page: KeyPage, row: number): Key {
  return readKey(page.bytes, keyStart(page.table, row), page.table[row * INDEX_COLUMNS])
}

/** The encoded key in a row of a page, in the memory of the page. */
export function encodedKeyAt(page: KeyPage, row: number): Uint8Array {
  return new Uint8Array(page.bytes.buffer, page.bytes.byteOffset + keyStart(page.table, row), page.table[row * INDEX_COLUMNS] - keyStart(page.table, row))
}

/** The number in a row of a page. */
export function valueAt(page: KeyPage, row: number): number {
  return page.table[row * INDEX_COLUMNS + 1]
}
