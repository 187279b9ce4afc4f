import type { TieredCacheSettings, TierLimits } from '../cache/tiered-cache.js'
import { optionError } from '../errors.js'
import { checkNames, integer, type LogOptions } from '../options.js'
import { type CompactionOptions, type CompactionSettings, resolveCompaction } from './compaction-options.js'
import type { ReplayProgress } from './store-records.js'

/** One tier of the record cache. */
export interface RecordCacheTierOptions {
  /** Most records. Default 5,000 (hot), 50,000 (warm). */
  records?: number
  /** Longest time in the tier, in ms; it begins anew when a record moves from one tier to the other. Default 5 minutes (hot), 1 hour (warm). */
  maxAgeMs?: number
}

/** Values of keys that are read, in memory, in two tiers: see docs/store.md. */
export interface RecordCacheOptions {
  /** What was read last. */
  hot?: RecordCacheTierOptions
  /** What hot has no room or time for any more. */
  warm?: RecordCacheTierOptions
  /** Most bytes of memory of both tiers, of this store alone. A value of more than an eighth of it is not cached. Default 64 MiB. */
  maxBytes?: number
}

/**
 * Options of `Store.open`: those of `Log.open`, and these. `seal` is `false` unless given: a new store has no sealed chunks. `retention` only with `archive: 'archive'`:
 * what is oldest in the log may be the newest version of a key; compaction removes what is not needed.
 */
export interface StoreOptions extends LogOptions {
  /**
   * Bytes that the log grows by before the key index is written to a snapshot in the background; never less than the last snapshot had.
   * `false`: only by `snapshot()`. Default 10 MiB.
   */
  snapshotBytes?: number | false
  /** Keeps values that are read in memory. `false`: nothing. Default: 5,000 and 50,000 records, 5 minutes and 1 hour, 64 MiB. */
  recordCache?: false | RecordCacheOptions
  /** Rewriting closed segments in the background without what is not needed any more; `false`: only by `compact()`. */
  compaction?: CompactionOptions | false
  /** Called while the log is replayed at open, about once per MiB. */
  onProgress?: (progress: ReplayProgress) => void
}

export interface StoreSettings {
  /** Infinity: only by call. */
  readonly snapshotBytes: number
  /** undefined: nothing is cached. */
  readonly recordCache: TieredCacheSettings | undefined
  readonly compaction: CompactionSettings<unknown> | undefined
  readonly onProgress: ((progress: ReplayProgress) => void) | undefined
}

const MiB = 1024 * 1024
const MINUTE_MS = 60_000
export const DEFAULT_SNAPSHOT_BYTES = 10 * MiB

const CACHE_OPTIONS: ReadonlySet<string> = new Set<keyof RecordCacheOptions>(['hot', 'warm', 'maxBytes'])
const TIER_OPTIONS: ReadonlySet<string> = new Set<keyof RecordCacheTierOptions>(['records', 'maxAgeMs'])

/** The store's own options, checked, and what is left for the log, which refuses what is no object. */
export function splitOptions(options: StoreOptions): { settings: StoreSettings; logOptions: LogOptions } {
  const isObject = typeof options === 'object' && options !== null
  const { snapshotBytes, recordCache, compaction, onProgress, ...logOptions } = isObject ? options : {}
  if (onProgress !== undefined && typeof onProgress !== 'function') throw optionError('onProgress', onProgress, 'a function')
  const { retention } = logOptions
  if (retention !== undefined && retention.archive !== 'archive')
    throw optionError('retention', retention, "in a store one with archive: 'archive', which keeps every key")
  const settings: StoreSettings = {
    snapshotBytes: snapshotBytes === false ? Number.POSITIVE_INFINITY : integer(snapshotBytes, 'snapshotBytes', 1, 2 ** 50, DEFAULT_SNAPSHOT_BYTES),
    recordCache: recordCache === false ? undefined : cacheSettings(recordCache ?? {}),
    compaction: resolveCompaction(compaction),
    onProgress,
  }
  return { settings, logOptions: isObject ? logOptions : options }
}

function cacheSettings(options: RecordCacheOptions): TieredCacheSettings {
  checkNames(options, CACHE_OPTIONS, 'recordCache')
  return {
    hot: tierLimits(options.hot ?? {}, 'hot', 5000, 5 * MINUTE_MS),
    warm: tierLimits(options.warm ?? {}, 'warm', 50_000, 60 * MINUTE_MS),
    maxBytes: integer(options.maxBytes, 'recordCache.maxBytes', 1, 2 ** 40, 64 * MiB),
  }
}

function tierLimits(options: RecordCacheTierOptions, tier: string, records: number, maxAgeMs: number): TierLimits {
  checkNames(options, TIER_OPTIONS, `recordCache.${tier}`)
  return {
    records: integer(options.records, `recordCache.${tier}.records`, 1, 2 ** 24, records),
    maxAgeMs: integer(options.maxAgeMs, `recordCache.${tier}.maxAgeMs`, 1, 2 ** 40, maxAgeMs),
  }
}
