import { optionError } from '../errors.js'
import { checkNames, integer } from '../options.js'
import type { Merge } from './merge-window.js'

/** How closed segments are rewritten without what nobody can read any more. */
export interface CompactOptions<V = unknown> {
  /** The newest closed segments that hold so many complete chunks (without chunks: as many times `chunkBytes`) are left as they are. Default 2. */
  keepCompleteChunks?: number
  /** A tombstone stays at least so long (ms), and as long as an older version of its key may be in the log. Default 24 h. */
  tombstoneMs?: number
  /** Most bytes read per second. Default: no limit. */
  bytesPerSecond?: number
  /** A segment of whose records a smaller share of bytes is dead is left as it is. Default: 0.5 in the background, 0 by call: one dead record suffices. */
  minDeadRatio?: number
  /**
   * Instead of dropping older versions, folds runs of puts of a key to their last one: given the values of two consecutive puts, returns that of both, or undefined: both
   * stay. The first put of a key in a window, and the first behind a tombstone or `clear`, always stay, and so do tombstones. Called once for each fold, oldest first.
   */
  merge?: Merge<V>
  /** Bytes of consecutive segments in which runs are folded; at least one segment. Only with `merge`. Default 256 MiB. */
  windowBytes?: number
}

export interface CompactionOptions<V = unknown> extends CompactOptions<V> {
  /** ms between two looks whether a pass in the background is worth it: when at least `minDeadRatio` of the bytes in closed segments came since the last. Default 600,000. */
  intervalMs?: number
}

/** Where a pass is. */
export interface CompactionProgress {
  readonly segmentsDone: number
  readonly segmentsTotal: number
  readonly bytesRead: number
  readonly bytesFreed: number
}

export interface CompactCallOptions<V = unknown> extends CompactOptions<V> {
  /** Called about once per 8 MiB read, and for every segment. What it throws ends the pass. */
  onProgress?: (progress: CompactionProgress) => void
}

export interface PassSettings<V> {
  readonly keepCompleteChunks: number
  readonly tombstoneMs: number
  /** Infinity: no limit. */
  readonly bytesPerSecond: number
  readonly minDeadRatio: number
  readonly merge: Merge<V> | undefined
  readonly windowBytes: number
  readonly onProgress: ((progress: CompactionProgress) => void) | undefined
}

/** Of passes in the background. */
export interface CompactionSettings<V> extends PassSettings<V> {
  readonly intervalMs: number
}

const PASS_NAMES = ['keepCompleteChunks', 'tombstoneMs', 'bytesPerSecond', 'minDeadRatio', 'merge', 'windowBytes']
const BACKGROUND_NAMES: ReadonlySet<string> = new Set([...PASS_NAMES, 'intervalMs'])
const CALL_NAMES: ReadonlySet<string> = new Set([...PASS_NAMES, 'onProgress'])

/** The option `compaction` of `Store.open`; undefined: nothing is compacted in the background. */
export function resolveCompaction<V>(options: CompactionOptions<V> | false | undefined): CompactionSettings<V> | undefined {
  if (options === false) return undefined
  const given = options ?? {}
  checkNames(given, BACKGROUND_NAMES, 'compaction')
  const intervalMs = integer(given.intervalMs, 'compaction.intervalMs', 1, 2 ** 31 - 1, 600_000)
  return { ...resolvePass({ minDeadRatio: 0.5, ...withoutUndefined(given) }), intervalMs }
}

/** Options of `compact()`; what is left out is as it is in the background, but for `minDeadRatio`. */
export function resolveCall<V>(options: CompactCallOptions<V>, background: CompactionSettings<V> | undefined): PassSettings<V> {
  checkNames(options, CALL_NAMES, 'compact')
  const { onProgress } = options
  if (onProgress !== undefined && typeof onProgress !== 'function') throw optionError('onProgress', onProgress, 'a function')
  const defaults = background === undefined ? {} : { ...background, minDeadRatio: 0 }
  return { ...resolvePass<V>({ ...defaults, ...withoutUndefined(options) }), onProgress }
}

function resolvePass<V>(options: CompactOptions<V>): PassSettings<V> {
  const { bytesPerSecond, minDeadRatio = 0, merge } = options
  if (typeof minDeadRatio !== 'number' || !(minDeadRatio >= 0 && minDeadRatio <= 1)) throw optionError('minDeadRatio', minDeadRatio, 'a number from 0 to 1')
  if (merge !== undefined && typeof merge !== 'function') throw optionError('merge', merge, 'a function')
  return {
    keepCompleteChunks: integer(options.keepCompleteChunks, 'keepCompleteChunks', 0, 2 ** 32, 2),
    tombstoneMs: integer(options.tombstoneMs, 'tombstoneMs', 0, Number.MAX_SAFE_INTEGER, 24 * 3_600_000),
    bytesPerSecond:
      bytesPerSecond === Number.POSITIVE_INFINITY ? bytesPerSecond : integer(bytesPerSecond, 'bytesPerSecond', 1, 2 ** 50, Number.POSITIVE_INFINITY),
    minDeadRatio,
    merge,
    windowBytes: integer(options.windowBytes, 'windowBytes', 1, 2 ** 50, 256 * 1024 * 1024),
    onProgress: undefined,
  }
}

function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
