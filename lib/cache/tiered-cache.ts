import { performance } from 'node:perf_hooks'
import { type RecordCacheEvictionReason, recordCacheEvict, recordCacheHit, recordCacheMiss } from '../telemetry/channels.js'

export interface TierLimits {
  readonly records: number
  readonly maxAgeMs: number
}

export interface TieredCacheSettings {
  readonly hot: TierLimits
  readonly warm: TierLimits
  /** Of both tiers together. */
  readonly maxBytes: number
}

/** Figures of one tier of a record cache. */
export interface TierStats {
  /** Records in it now, and the most that may be. */
  readonly size: number
  readonly maxRecords: number
  /** Memory that they take, estimated upwards. */
  readonly bytes: number
  readonly hitCount: number
}

/** Figures of a record cache. No record is in both tiers. Counts are since the store was opened. */
export interface RecordCacheStats {
  readonly hot: TierStats
  readonly warm: TierStats
  readonly bytes: number
  readonly maxBytes: number
  readonly hitCount: number
  readonly missCount: number
  /** hitCount / (hitCount + missCount), 0 before the first read. */
  readonly hitRate: number
  /** Records that moved from hot to warm; those that moved up are the hits of warm. */
  readonly demotions: number
  /** Records that left, by reason. */
  readonly evictions: Readonly<Record<RecordCacheEvictionReason, number>>
}

/** Memory of an entry apart from its value: the object, its place in the map, and the object of the value. */
const ENTRY_BYTES = 256
/** One value must not take the place of all others. */
const LARGEST_SHARE = 8
const SHORTEST_SWEEP_MS = 1000

/** A cached record, linked with its neighbours in its tier. */
class Entry<T> {
  newer: Entry<T> = this
  older: Entry<T> = this
  /** When it entered its tier. */
  since = 0
  hot = true

  constructor(
    readonly offset: number,
    readonly value: T | undefined,
    readonly bytes: number,
  ) {}
}

/** A ring of entries in order of use. */
class Tier<T> {
  readonly limits: TierLimits
  /** Between the newest entry and the oldest. */
  readonly #end = new Entry<T>(-1, undefined, 0)
  size = 0
  bytes = 0
  hits = 0

  constructor(limits: TierLimits) {
    this.limits = limits
  }

  /** undefined: there is none. */
  get oldest(): Entry<T> | undefined {
    return this.size === 0 ? undefined : this.#end.newer
  }

  add(entry: Entry<T>): void {
    this.size++
    this.bytes += entry.bytes
    this.#link(entry)
  }

  remove(entry: Entry<T>): void {
    this.size--
    this.bytes -= entry.bytes
    entry.older.newer = entry.newer
    entry.newer.older = entry.older
  }

  /** Makes it the newest. */
  use(entry: Entry<T>): void {
    if (this.#end.older === entry) return
    entry.older.newer = entry.newer
    entry.newer.older = entry.older
    this.#link(entry)
  }

  #link(entry: Entry<T>): void {
    entry.older = this.#end.older
    entry.newer = this.#end
    this.#end.older.newer = entry
    this.#end.older = entry
  }

  isTooOld(entry: Entry<T>, now: number): boolean {
    return now - entry.since >= this.limits.maxAgeMs
  }

  tooOld(now: number): Entry<T>[] {
    const entries: Entry<T>[] = []
    for (let entry = this.#end.newer; entry !== this.#end; entry = entry.newer) if (this.isTooOld(entry, now)) entries.push(entry)
    return entries
  }

  stats(): TierStats {
    return { size: this.size, maxRecords: this.limits.records, bytes: this.bytes, hitCount: this.hits }
  }
}

/**
 * Records by offset in two exclusive tiers, each least recently used first out. A record that was read enters hot; what hot has no room for, or has held for its
 * `maxAgeMs`, moves down to warm; a hit in warm moves it up again. Its age begins anew with every move and not with a hit.
 *
 * A record never changes and its offset is given out once per epoch, so what is cached is never out of date: a key that is written has another offset. What must leave are
 * offsets that are no key's any more, to make room, and all when the epoch changes.
 *
 * Of its own and not two caches of a package: both tiers share one map, so that a record moves between them by links alone, which takes a tenth of the time.
 */
export class TieredCache<T> {
  readonly #directory: string
  readonly #maxBytes: number
  readonly #now: () => number
  readonly #entries = new Map<number, Entry<T>>()
  readonly #hot: Tier<T>
  readonly #warm: Tier<T>
  #misses = 0
  #demotions = 0
  readonly #evictions: Record<RecordCacheEvictionReason, number> = { records: 0, age: 0, bytes: 0, replaced: 0 }
  /** As of the last sweep: a clock for ages of seconds and hours need not be asked at every read. */
  #time = 0
  #nextSweep = 0

  /** `now`: ms of a monotonic clock. */
  constructor(directory: string, { hot, warm, maxBytes }: TieredCacheSettings, now: () => number = () => performance.now()) {
    this.#directory = directory
    this.#maxBytes = maxBytes
    this.#now = now
    this.#hot = new Tier(hot)
    this.#warm = new Tier(warm)
  }

  get size(): number {
    return this.#entries.size
  }

  /** Undefined: not cached. */
  get(offset: number): T | undefined {
    const entry = this.#entries.get(offset)
    if (entry?.hot && this.#hot.isTooOld(entry, this.#time)) this.#demote(entry)
    if (entry === undefined || (!entry.hot && this.#warm.isTooOld(entry, this.#time))) {
      if (entry !== undefined) this.#evict(entry, 'age')
      this.#misses++
      if (recordCacheMiss.hasSubscribers) recordCacheMiss.publish({ log: this.#directory })
      return undefined
    }
    const tier = entry.hot ? 'hot' : 'warm'
    if (entry.hot) {
      this.#hot.hits++
      this.#hot.use(entry)
    } else {
      this.#warm.hits++
      this.#warm.remove(entry)
      this.#enterHot(entry)
    }
    if (recordCacheHit.hasSubscribers) recordCacheHit.publish({ log: this.#directory, tier })
    return entry.value
  }

  /** `bytes`: memory of the value. One of more than an eighth of `maxBytes` is not cached. */
  add(offset: number, value: T, bytes: number): void {
    const entry = new Entry(offset, value, bytes + ENTRY_BYTES)
    if (!(entry.bytes <= this.#maxBytes / LARGEST_SHARE) || this.#entries.has(offset)) return
    if (this.size === 0) this.#time = this.#now()
    this.#entries.set(offset, entry)
    this.#enterHot(entry)
    while (this.bytes > this.#maxBytes) this.#evictOldest('bytes')
  }

  /** The record is no key's newest any more. */
  replaced(offset: number): void {
    const entry = this.#entries.get(offset)
    if (entry !== undefined) this.#evict(entry, 'replaced')
  }

  clear(): void {
    for (const entry of [...this.#entries.values()]) this.#evict(entry, 'replaced')
  }

  /** To be called now and then with ms of the clock, which goes on with it; drops what is too old. False: nothing is cached any more. */
  sweep(now: number): boolean {
    this.#time = now
    if (now >= this.#nextSweep) {
      this.#nextSweep = now + Math.max(SHORTEST_SWEEP_MS, Math.min(this.#hot.limits.maxAgeMs, this.#warm.limits.maxAgeMs) / 8)
      for (const entry of this.#warm.tooOld(now)) this.#evict(entry, 'age')
      for (const entry of this.#hot.tooOld(now)) this.#demote(entry)
    }
    return this.size > 0
  }

  get bytes(): number {
    return this.#hot.bytes + this.#warm.bytes
  }

  stats(): RecordCacheStats {
    const hits = this.#hot.hits + this.#warm.hits
    const reads = hits + this.#misses
    return {
      hot: this.#hot.stats(),
      warm: this.#warm.stats(),
      bytes: this.bytes,
      maxBytes: this.#maxBytes,
      hitCount: hits,
      missCount: this.#misses,
      hitRate: reads === 0 ? 0 : hits / reads,
      demotions: this.#demotions,
      evictions: { ...this.#evictions },
    }
  }

  #enterHot(entry: Entry<T>): void {
    entry.hot = true
    entry.since = this.#time
    this.#hot.add(entry)
    const { oldest } = this.#hot
    if (oldest !== undefined && this.#hot.size > this.#hot.limits.records) this.#demote(oldest)
  }

  #demote(entry: Entry<T>): void {
    this.#hot.remove(entry)
    entry.hot = false
    entry.since = this.#time
    this.#warm.add(entry)
    this.#demotions++
    if (this.#warm.size > this.#warm.limits.records) this.#evictOldest('records')
  }

  #evictOldest(reason: RecordCacheEvictionReason): void {
    const entry = this.#warm.oldest ?? this.#hot.oldest
    if (entry !== undefined) this.#evict(entry, reason)
  }

  #evict(entry: Entry<T>, reason: RecordCacheEvictionReason): void {
    this.#entries.delete(entry.offset)
    const tier = entry.hot ? this.#hot : this.#warm
    tier.remove(entry)
    this.#evictions[reason]++
    if (recordCacheEvict.hasSubscribers) recordCacheEvict.publish({ log: this.#directory, count: 1, reason })
  }
}
