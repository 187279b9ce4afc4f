import type { CacheSettings } from '../options.js'

/** Reads that say enough about the hit rate to act on it. */
const WINDOW_READS = 100
const SHRINK_AFTER_MS = 10_000

/**
 * How many records a tail cache that adapts may hold: twice as many while it is full and too many reads miss, up to `maxRecords` and as far as
 * the bytes allow; half as many, down to the configured `records`, for every while in which nobody reads.
 */
export class CacheSize {
  readonly #settings: CacheSettings
  readonly #adaptive: NonNullable<CacheSettings['adaptive']>
  records: number
  /** Reads at the beginning of the window. */
  #hits = 0
  #misses = 0
  #lastRead = 0

  constructor(settings: CacheSettings, adaptive: NonNullable<CacheSettings['adaptive']>) {
    this.#settings = settings
    this.#adaptive = adaptive
    this.records = settings.records
  }

  /** `now` in ms of a monotonic clock; hits and misses are counts since ever; `cached` and `bytes` are what is held now. */
  adapt(now: number, hits: number, misses: number, cached: number, bytes: number, empty: boolean): void {
    const { records, maxBytes } = this.#settings
    const windowHits = hits - this.#hits
    const reads = windowHits + misses - this.#misses
    if (empty) {
      this.records = records
    } else if (reads === 0) {
      if (now - this.#lastRead < SHRINK_AFTER_MS) return
      this.records = Math.max(records, Math.floor(this.records / 2))
    } else {
      this.#lastRead = now
      if (reads < WINDOW_READS) return
      // Twice the records need twice the bytes.
      const room = cached >= this.records && bytes * 2 <= maxBytes
      if (room && windowHits < this.#adaptive.targetHitRate * reads) this.records = Math.min(this.#adaptive.maxRecords, this.records * 2)
    }
    this.#lastRead = now
    this.#hits = hits
    this.#misses = misses
  }
}
