import { LogError } from '../errors.js'
import type { Log } from '../log/log.js'
import type { Record } from '../log/record.js'
import type { KeyIndex } from './key-index.js'
import { type Key, keyScratch, writeKey } from './keys.js'
import type { ValueCache } from './value-cache.js'

interface PendingRead<V> {
  readonly offset: number
  resolve(record: Record<V> | undefined): void
  reject(error: unknown): void
}

/** When a read began: what it finds is cached only if the log was not opened anew and the cache not dropped since. */
interface Moment {
  readonly epoch: number
  readonly clears: number | undefined
}

/** Values of keys by the offsets that the index has for them: from the record cache, or else from the log and then cached. */
export class StoreValues<V> {
  readonly #log: Log<V>
  readonly #index: () => KeyIndex
  readonly #cache: ValueCache<V> | undefined
  /** Reads that go to the files together. */
  #reads: PendingRead<V>[] = []

  constructor(log: Log<V>, index: () => KeyIndex, cache: ValueCache<V> | undefined) {
    this.#log = log
    this.#index = index
    this.#cache = cache
  }

  /** The value of a key whose newest version is at `offset` now; undefined: it must be read. */
  cached(offset: number): V | undefined {
    return this.#cache?.get(offset)
  }

  /** Reads such a value on the calling thread. */
  readSync(key: Key, offset: number): V {
    const value = this.#log.valueSync(offset, keyScratch, writeKey(key, keyScratch, 0))
    if (value === undefined) throw this.#notThere(offset)
    // Nothing else has run meanwhile.
    this.#cache?.add(offset, value)
    return value
  }

  /** The same without file work on this thread, for an encoded key; reads that are asked for in one turn share a request. undefined: it was deleted meanwhile. */
  async read(key: Uint8Array, offset: number): Promise<V | undefined> {
    const moment = this.#moment()
    const record = await new Promise<Record<V> | undefined>((resolve, reject) => {
      if (this.#reads.push({ offset, resolve, reject }) === 1) process.nextTick(this.#sendReads)
    })
    return this.#take(record, key, offset, moment)
  }

  /** Values of several encoded keys, in their order, cached or not; `offsets` below 0: there is none. */
  async readMany(keys: readonly Uint8Array[], offsets: readonly number[]): Promise<(V | undefined)[]> {
    const moment = this.#moment()
    const values = offsets.map((offset) => (offset < 0 ? undefined : this.cached(offset)))
    const missing = [...keys.keys()].filter((i) => offsets[i] >= 0 && values[i] === undefined)
    if (missing.length === 0) return values
    const records = await this.#log.getMany(missing.map((i) => offsets[i]))
    for (const [at, i] of missing.entries()) values[i] = await this.#take(records[at], keys[i], offsets[i], moment)
    return values
  }

  /** The same past the cache: what a scan reads once should not take the place of what is read often. */
  async scan(keys: readonly Uint8Array[], offsets: readonly number[]): Promise<V[]> {
    const records = await this.#log.getMany(offsets)
    return records.map((record, i) => this.#checked(record, keys[i], offsets[i]))
  }

  #moment(): Moment {
    return { epoch: this.#log.epoch, clears: this.#cache?.clears }
  }

  #take(record: Record<V> | undefined, key: Uint8Array, offset: number, moment: Moment): V | undefined | Promise<V | undefined> {
    const now = this.#log.closed ? offset : this.#index().getEncoded(key)
    if (record === undefined && now !== offset) {
      // The version was replaced while it was looked for, and compacted away.
      return now < 0 ? undefined : (this.cached(now) ?? this.read(key, now))
    }
    const value = this.#checked(record, key, offset)
    // Only what the key has at this moment is cached: while it was read it may have been written, or the log cut and opened anew.
    if (now === offset && this.#log.epoch === moment.epoch && this.#cache?.clears === moment.clears && !this.#log.closed) this.#cache?.add(offset, value)
    return value
  }

  readonly #sendReads = (): void => {
    const reads = this.#reads
    this.#reads = []
    const alone = () => {
      // Each has an error of its own.
      for (const { offset, resolve, reject } of reads) this.#log.get(offset).then(resolve, reject)
    }
    if (reads.length === 1) alone()
    else this.#log.getMany(reads.map(({ offset }) => offset)).then((records) => reads.forEach(({ resolve }, i) => resolve(records[i])), alone)
  }

  #checked(record: Record<V> | undefined, key: Uint8Array, offset: number): V {
    if (record?.key === undefined || record.tombstone || Buffer.compare(record.key, key) !== 0) throw this.#notThere(offset)
    return record.value
  }

  #notThere(offset: number): LogError {
    const { directory } = this.#log
    return new LogError('ERR_SEALOG_CORRUPT', `${directory}: the key index is not that of the log; without SNAPSHOT the next open makes it anew`, {
      file: directory,
      offset,
    })
  }
}
