import { optionError } from '../errors.js'
import { integer, type LogOptions } from '../options.js'
import type { ReplayProgress } from './store-records.js'

/** Options of `Store.open`: those of `Log.open`, and these. `seal` is `false` unless given: a new store has no sealed chunks. */
export interface StoreOptions extends LogOptions {
  /**
   * Bytes that the log grows by before the key index is written to a snapshot in the background; never less than the last snapshot had.
   * `false`: only by `snapshot()`. Default 10 MiB.
   */
  snapshotBytes?: number | false
  /** Called while the log is replayed at open, about once per MiB. */
  onProgress?: (progress: ReplayProgress) => void
}

export interface StoreSettings {
  /** Infinity: only by call. */
  readonly snapshotBytes: number
  readonly onProgress: ((progress: ReplayProgress) => void) | undefined
}

export const DEFAULT_SNAPSHOT_BYTES = 10 * 1024 * 1024

/** The store's own options, checked, and what is left for the log. */
export function splitOptions(options: StoreOptions): { settings: StoreSettings; logOptions: LogOptions } {
  if (typeof options !== 'object' || options === null)
    return { settings: { snapshotBytes: DEFAULT_SNAPSHOT_BYTES, onProgress: undefined }, logOptions: options }
  const { snapshotBytes, onProgress, ...logOptions } = options
  if (onProgress !== undefined && typeof onProgress !== 'function') throw optionError('onProgress', onProgress, 'a function')
  const bytes = snapshotBytes === false ? Number.POSITIVE_INFINITY : integer(snapshotBytes, 'snapshotBytes', 1, 2 ** 50, DEFAULT_SNAPSHOT_BYTES)
  return { settings: { snapshotBytes: bytes, onProgress }, logOptions }
}
