import * as k from '../kernels/kernels.js'
import type { CacheSettings } from '../options.js'
import { cacheEvict, cacheHit, cacheMiss, type EvictionReason } from '../telemetry/channels.js'
import { CacheSize } from './cache-size.js'
import type { CacheSweeper } from './cache-sweeper.js'

/** Figures of a log's tail cache. Counts are since the log was opened. */
export interface TailCacheStats {
  /** Records cached now, and the most that may be. */
  readonly size: number
  readonly maxRecords: number
  /** First and last cached offset, both inclusive; undefined while nothing is cached. */
  readonly oldestOffset: number | undefined
  readonly newestOffset: number | undefined
  /** Reads below the committed end that the cache answered, and those that it could not; a read of a block counts once. */
  readonly hitCount: number
  readonly missCount: number
  /** hitCount / (hitCount + missCount), 0 before the first read. */
  readonly hitRate: number
  /** Memory of the cached records. */
  readonly bytes: number
  /** Records that left, by reason. */
  readonly evictions: Readonly<Record<EvictionReason, number>>
}

/** What a read of a block asks for, and where its table goes; `table` is replaced by a larger one when it has to hold more. */
export interface CachedBlockRequest {
  readonly maxBytes: number
  readonly numbers: Float64Array
  table: Uint32Array
}

const NOTHING = new Uint8Array(0)
/** `cacheState` of one cache at a time: filled and read within one call. */
const STATE = new Float64Array(k.CACHE_LENGTH)
const EVICTIONS: ReadonlyArray<readonly [EvictionReason, number]> = [
  ['records', k.CACHE_EVICTED_RECORDS],
  ['age', k.CACHE_EVICTED_AGE],
  ['bytes', k.CACHE_EVICTED_BYTES],
  ['budget', k.CACHE_EVICTED_BUDGET],
]

/**
 * The newest records of a log in memory: a contiguous stretch up to the committed end that the committer feeds, first in, first out. What is cached
 * never changes an answer. Callers ask for offsets from startOffset up to the committed end only.
 */
export class TailCache {
  readonly #kernels: k.Kernels
  readonly #directory: string
  readonly #sweeper: CacheSweeper
  readonly #settings: CacheSettings
  #maxRecords: number
  /** undefined: it does not adapt. */
  readonly #size: CacheSize | undefined
  /** −1 after `end`. */
  #log: k.LogHandle
  #hits = 0
  #misses = 0
  #truncated = 0
  /** What `cacheState` counted up to the end. */
  #ended: Float64Array | undefined
  /** Evictions that have been published; undefined while nobody listens. */
  #published: Float64Array | undefined = cacheEvict.hasSubscribers ? new Float64Array(k.CACHE_LENGTH) : undefined

  /** `log` must have nothing committed by the kernels yet. */
  constructor(kernels: k.Kernels, log: k.LogHandle, directory: string, settings: CacheSettings, sweeper: CacheSweeper) {
    this.#kernels = kernels
    this.#log = log
    this.#directory = directory
    this.#sweeper = sweeper
    this.#settings = settings
    this.#maxRecords = settings.records
    this.#size = settings.adaptive === undefined ? undefined : new CacheSize(settings, settings.adaptive)
    this.#limit()
  }

  #limit(): void {
    this.#kernels.cacheLimits(this.#log, this.#maxRecords, this.#settings.maxAgeMs, this.#settings.maxBytes)
  }

  /** As `cacheRecord` of the kernels: READ_PLACED, READ_OK, READ_LARGE (`copyBlock` gives it) or READ_NOT_FOUND. `end` is the committed end. */
  readRecord(offset: number, end: number, into: ArrayBuffer, at: number): number {
    const status = this.#mayHold(offset, end) ? this.#kernels.cacheRecord(this.#log, offset, into, at) : k.READ_NOT_FOUND
    if (status === k.READ_NOT_FOUND) this.miss()
    else this.#hit(end - offset, 1)
    return status
  }

  /** Whole batches from `offset` below `limit` in a fresh buffer, listed in `request.table`; undefined: not cached. */
  readBlock(offset: number, limit: number, end: number, request: CachedBlockRequest): Uint8Array | undefined {
    const bytes = this.#mayHold(offset, end) ? this.copyBlock(offset, limit, request) : undefined
    if (bytes === undefined) this.miss()
    else this.#hit(end - offset, request.numbers[k.SCAN_COUNT])
    return bytes
  }

  /** The same, not counted as a read. */
  copyBlock(offset: number, limit: number, request: CachedBlockRequest): Uint8Array | undefined {
    if (this.#log < 0) return undefined
    const { numbers } = request
    let bytes = NOTHING
    while (this.#kernels.cacheBlock(this.#log, offset, limit, request.maxBytes, bytes, numbers, request.table) === 0) {
      if (numbers[k.SCAN_NEEDED] === 0) return undefined
      // The kernels sum up whole batches; nothing but a limit that moves can make it more, and records only leave meanwhile.
      bytes = new Uint8Array(numbers[k.SCAN_NEEDED])
      const rows = numbers[k.SCAN_COUNT] * k.SCAN_COLUMNS
      if (rows > request.table.length) request.table = new Uint32Array(rows)
    }
    return bytes
  }

  /** Whether a read at `offset` would be a hit now; counts nothing. */
  holds(offset: number, end: number): boolean {
    if (!this.#mayHold(offset, end)) return false
    this.#kernels.cacheState(this.#log, STATE)
    return offset >= STATE[k.CACHE_OLDEST] && offset < STATE[k.CACHE_END]
  }

  /** A read below the committed end that went elsewhere. */
  miss(): void {
    this.#misses++
    if (cacheMiss.hasSubscribers) cacheMiss.publish({ log: this.#directory })
  }

  /** The committer has fed it. */
  fed(): void {
    this.#sweeper.watch(this)
  }

  /** The log begins with `offset` now. */
  truncateBefore(offset: number): void {
    if (this.#log < 0) return
    const count = this.#kernels.cacheDropBelow(this.#log, offset)
    this.#truncated += count
    this.#publishEviction(count, 'truncated')
  }

  /** Called now and then while something is cached, and once when nothing is any more. */
  check(now: number, empty: boolean): void {
    if (this.#log < 0) return
    const listened = cacheEvict.hasSubscribers
    const size = this.#size
    if (listened || size !== undefined) this.#kernels.cacheState(this.#log, STATE)
    if (size !== undefined) {
      size.adapt(now, this.#hits, this.#misses, STATE[k.CACHE_RECORDS], STATE[k.CACHE_BYTES], empty)
      if (size.records !== this.#maxRecords) {
        this.#maxRecords = size.records
        this.#limit()
      }
    }
    if (listened) this.#publishEvictions()
    else this.#published = undefined
  }

  /** The log's handle is about to go; `cut`: because records at the end of the log go. */
  end(cut: boolean): void {
    if (this.#log < 0) return
    this.check(0, false)
    this.#kernels.cacheState(this.#log, STATE)
    this.#ended = STATE.slice().fill(0, 0, k.CACHE_EVICTED_RECORDS)
    if (cut) this.#publishEviction(STATE[k.CACHE_RECORDS], 'truncated')
    this.#sweeper.forget(this)
    this.#log = -1
  }

  /** `end` is the committed end: what the committer has fed since it was told counts as not yet cached. */
  stats(end: number): TailCacheStats {
    if (this.#ended === undefined) this.#kernels.cacheState(this.#log, STATE)
    const state = this.#ended ?? STATE
    const oldest = state[k.CACHE_OLDEST]
    const size = Math.max(0, Math.min(state[k.CACHE_END], end) - oldest)
    const reads = this.#hits + this.#misses
    return {
      size,
      maxRecords: this.#maxRecords,
      oldestOffset: size === 0 ? undefined : oldest,
      newestOffset: size === 0 ? undefined : oldest + size - 1,
      hitCount: this.#hits,
      missCount: this.#misses,
      hitRate: reads === 0 ? 0 : this.#hits / reads,
      bytes: state[k.CACHE_BYTES],
      evictions: {
        records: state[k.CACHE_EVICTED_RECORDS],
        age: state[k.CACHE_EVICTED_AGE],
        bytes: state[k.CACHE_EVICTED_BYTES],
        budget: state[k.CACHE_EVICTED_BUDGET],
        truncated: this.#truncated,
      },
    }
  }

  /** Spares most reads of old records the call. */
  #mayHold(offset: number, end: number): boolean {
    return offset >= end - this.#maxRecords && this.#log >= 0
  }

  #hit(depth: number, count: number): void {
    this.#hits++
    if (cacheHit.hasSubscribers) cacheHit.publish({ log: this.#directory, depth, count })
  }

  #publishEvictions(): void {
    // Whoever listens may ask another cache.
    const state = STATE.slice()
    if (this.#published !== undefined) {
      for (const [reason, at] of EVICTIONS) this.#publishEviction(state[at] - this.#published[at], reason)
    }
    this.#published = state
  }

  #publishEviction(count: number, reason: EvictionReason): void {
    if (count > 0 && cacheEvict.hasSubscribers) cacheEvict.publish({ log: this.#directory, count, reason })
  }
}
