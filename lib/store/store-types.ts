import type { RecordCacheStats } from '../cache/tiered-cache.js'
import { argumentError } from '../errors.js'
import type { LogStats } from '../log/stats.js'
import { checkNames } from '../options.js'
import type { CompactionStats } from './compaction.js'
import type { Key } from './keys.js'
import type { SnapshotInfo } from './snapshots.js'

/** A change of `putBatch`: a value, or the deletion of a key. */
export type BatchEntry<V> = { key: Key; value: V | Uint8Array } | { key: Key; delete: true }

export interface GetOptions {
  /** The value that the key had when the record at this offset was the last one. Default: the present value. */
  at?: number
}

/** A snapshot of a store's figures. */
export interface StoreStats {
  /** Keys that are there. */
  readonly keys: number
  /** Bytes of memory that the key index takes, with the copies that open iterators and snapshots hold. */
  readonly indexBytes: number
  /** Records accepted and not yet committed. */
  readonly pendingWrites: number
  /** The newest snapshot: the records below `endOffset` are in it. undefined: there is none. */
  readonly snapshot: SnapshotInfo | undefined
  /** Bytes that the log has grown by since. */
  readonly bytesSinceSnapshot: number
  readonly snapshotRunning: boolean
  /** Snapshots that could not be written since the store was opened. */
  readonly snapshotFailures: number
  /** undefined: the store was opened with `recordCache: false`. */
  readonly recordCache: RecordCacheStats | undefined
  readonly compaction: CompactionStats
  readonly log: LogStats
}

const GET_OPTIONS: ReadonlySet<string> = new Set<keyof GetOptions>(['at'])

/** The offset in the options of `get`, checked; undefined: there is none. */
export function offsetOf(options: GetOptions): number | undefined {
  checkNames(options, GET_OPTIONS, 'get')
  const { at } = options
  if (at !== undefined && !(Number.isSafeInteger(at) && at >= 0)) throw argumentError('at', at, 'an offset')
  return at
}

const ENTRY_FIELDS: ReadonlySet<string> = new Set(['key', 'value', 'delete'])

/** Whether the entry of a batch deletes its key. Throws for what is no entry. */
export function checkEntry(entry: unknown): boolean {
  if (typeof entry !== 'object' || entry === null) throw argumentError('entry', entry, 'an object with a key, and a value or delete: true')
  checkNames(entry, ENTRY_FIELDS, 'an entry')
  const deletes = 'delete' in entry && entry.delete !== undefined
  if (deletes ? entry.delete !== true || 'value' in entry : !('value' in entry))
    throw argumentError('entry', entry, 'an entry with either a value or delete: true')
  return deletes
}
