import { compactedError, LogError, OffsetTruncatedError } from '../errors.js'
import type { Backend } from '../kernels/kernels.js'
import { BatchWriter, type BatchWriterOptions } from '../log/batch-writer.js'
import type { Log } from '../log/log.js'
import type { LogView } from '../log/log-view.js'
import { listOf } from '../log/record-encoder.js'
import type { CodecName, Durability } from '../options.js'
import { type CompactionResult, Compactor } from './compaction.js'
import { type CompactCallOptions, type CompactionSettings, resolveCall } from './compaction-options.js'
import { versionAt } from './history.js'
import { IndexChanges } from './index-changes.js'
import { KeyIndex } from './key-index.js'
import { type EncodedRange, encodeRange, type RangeOptions } from './key-range.js'
import { encodeKey, type Key } from './keys.js'
import { type OpenedStore, openStore } from './open-store.js'
import { OpenViews } from './open-views.js'
import { type SnapshotInfo, Snapshots } from './snapshots.js'
import { entriesOf, keysOf } from './store-iterators.js'
import type { StoreOptions } from './store-options.js'
import { replay } from './store-records.js'
import { type BatchEntry, type GetOptions, offsetOf, type StoreStats } from './store-types.js'
import { StoreValues } from './store-values.js'
import { StoreWrites } from './store-writes.js'
import { ValueCache } from './value-cache.js'

/**
 * Values by key over a log: every change is a record, the key index in memory knows the newest of each key. The value of a key changes when its record is committed, as
 * the durability mode says, never before; a write that fails leaves the old value. Values are `Uint8Array` (codec `bytes`) or JSON values of type `V`; keys are strings,
 * integers and Uint8Arrays. Errors of all methods: ERR_SEALOG_ARGUMENT for what is no key, and those of the log.
 */
export class Store<V = Uint8Array> implements AsyncDisposable {
  readonly #log: Log<V>
  #index: KeyIndex
  #changes: IndexChanges
  readonly #writes: StoreWrites<V>
  readonly #cache: ValueCache<V> | undefined
  readonly #values: StoreValues<V>
  readonly #snapshots: Snapshots<V>
  /** Versions of the index that iterators go by: compaction keeps what they lead to. */
  readonly #views = new OpenViews()
  readonly #compaction: CompactionSettings<V> | undefined
  readonly #compactor: Compactor<V>
  /** The index holds the records of `#epoch` below. */
  #applied: number
  #epoch: number
  /** Frame bytes that the log had committed when it was last looked at. */
  #seenBytes: number
  /** The log is opened anew, or was and the index could not follow. */
  #behind = false
  #reopening: Promise<void> | undefined
  #closed: Promise<void> | undefined

  private constructor({ log, index, grown, snapshot, settings: { recordCache, snapshotBytes, compaction } }: OpenedStore<V>) {
    this.#log = log
    this.#index = index
    this.#cache = recordCache === undefined ? undefined : new ValueCache<V>(log.directory, recordCache, (ticker) => log.environment.addTicker(ticker))
    log.recordCache = this.#cache
    this.#values = new StoreValues(log, () => this.#index, this.#cache)
    this.#writes = new StoreWrites(
      log,
      () => this.#index,
      () => this.#checkWritable(),
    )
    this.#changes = new IndexChanges(index, this.#cache)
    this.#applied = log.committedOffset
    this.#epoch = log.epoch
    this.#seenBytes = log.commitDriver().queue.committedBytes
    this.#snapshots = new Snapshots(log, () => ({ index: this.#index.copy(), end: this.#applied }), snapshotBytes, snapshot, grown)
    this.#compaction = compaction as CompactionSettings<V> | undefined
    const source = {
      log,
      snapshots: this.#snapshots,
      views: this.#views,
      checkWritable: () => this.#checkWritable(),
      valuesChanged: () => this.#cache?.clear(),
    }
    this.#compactor = new Compactor(source, this.#compaction)
    log.observe(this.#advanced)
    // After a long replay the next open shall not need one.
    if (log.readOnlyReason === undefined) this.#snapshots.note(0)
  }

  /**
   * Opens the store in `directory`, creating it unless `create` is false. The newest snapshot is loaded and what came after it replayed. Errors: those of `Log.open`;
   * ERR_SEALOG_FORMAT when the log has records that no store wrote.
   */
  static open<V = unknown>(directory: string, options: StoreOptions & { codec: 'json' }): Promise<Store<V>>
  static open<V = Uint8Array>(directory: string, options?: StoreOptions): Promise<Store<V>>
  static async open<V>(directory: string, options: StoreOptions = {}): Promise<Store<V>> {
    return new Store<V>(await openStore<V>(directory, options))
  }

  /** The log below, for reading: its metrics, its change feed. Records are written by the methods of the store alone. */
  get log(): LogView<V> {
    return this.#log
  }

  get directory(): string {
    return this.#log.directory
  }

  get durability(): Durability {
    return this.#log.durability
  }

  get codec(): CodecName {
    return this.#log.codec
  }

  get backend(): Backend {
    return this.#log.backend
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /** Why the store accepts nothing any more; undefined while it does. */
  get failure(): LogError | undefined {
    return this.#log.failure
  }

  /** Offset behind the newest record that counts: what `get` with `at` may ask for lies below. */
  get committedOffset(): number {
    return this.#log.committedOffset
  }

  /** How many keys there are, by what is committed. */
  get size(): number {
    this.#checkOpen()
    return this.#index.size
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The value of a key; undefined: there is none. With `at` the value at that offset, which is found by reading backwards from there; ERR_SEALOG_OFFSET_TRUNCATED
   * below the start of the log, ERR_SEALOG_COMPACTED where compaction may have removed it. In mode `none` a write of this key that was accepted is written first.
   */
  async get(key: Key, options?: GetOptions): Promise<V | undefined> {
    this.#checkOpen()
    if (options !== undefined || this.#writes.owed) return this.#getWith(encodeKey(key), options)
    const offset = this.#index.get(key)
    return offset < 0 ? undefined : (this.#values.cached(offset) ?? this.#values.read(encodeKey(key), offset))
  }

  async #getWith(key: Uint8Array, options: GetOptions = {}): Promise<V | undefined> {
    const at = offsetOf(options)
    if (this.#writes.owes(key)) {
      await this.#log.flush()
      this.#checkOpen()
    }
    const offset = this.#index.getEncoded(key)
    if (at !== undefined && (offset < 0 || at < offset)) return this.#getAt(key, at)
    return offset < 0 ? undefined : (this.#values.cached(offset) ?? this.#values.read(key, offset))
  }

  /** The same on the calling thread. */
  getSync(key: Key): V | undefined {
    this.#checkOpen()
    if (this.#writes.owed && this.#writes.owes(encodeKey(key))) this.#log.flushSync()
    const offset = this.#index.get(key)
    return offset < 0 ? undefined : (this.#values.cached(offset) ?? this.#values.readSync(key, offset))
  }

  /** The values of several keys at one moment, in the order of the keys; undefined: there is none. What is not cached is read with as few requests as can be. */
  async getMany(keys: Iterable<Key>): Promise<(V | undefined)[]> {
    const encoded = listOf(keys, 'keys').map(encodeKey)
    this.#checkOpen()
    if (this.#writes.owed && encoded.some((key) => this.#writes.owes(key))) {
      await this.#log.flush()
      this.#checkOpen()
    }
    return this.#values.readMany(
      encoded,
      encoded.map((key) => this.#index.getEncoded(key)),
    )
  }

  /** Whether there is a value, from memory; in mode `none` a write of this key that was accepted is written first, on the calling thread. */
  has(key: Key): boolean {
    this.#checkOpen()
    if (this.#writes.owed && this.#writes.owes(encodeKey(key))) this.#log.flushSync()
    return this.#index.get(key) >= 0
  }

  /** Keys in order, as they are when the first one is asked for, whatever is written meanwhile. Throws ERR_SEALOG_ARGUMENT for a range that is none. */
  keys(range: RangeOptions = {}): AsyncIterableIterator<Key> {
    return keysOf(this.#viewer(range))
  }

  /** Keys and values in order, as they are when the first one is asked for, whatever is written meanwhile. Throws ERR_SEALOG_ARGUMENT for a range that is none. */
  entries(range: RangeOptions = {}): AsyncIterableIterator<[Key, V]> {
    return entriesOf(this.#viewer(range), (keys, offsets) => this.#values.scan(keys, offsets))
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<[Key, V]> {
    return this.entries()
  }

  #viewer(options: RangeOptions): { range: EncodedRange; view: () => Promise<KeyIndex>; check: () => void } {
    const range = encodeRange(options)
    const check = () => this.#checkOpen()
    check()
    const view = async () => {
      if (this.#writes.owed) await this.#log.flush()
      check()
      return this.#views.add(this.#index.copy())
    }
    return { range, view, check }
  }

  async #getAt(key: Uint8Array, at: number): Promise<V | undefined> {
    const log = this.#log
    if (at < log.startOffset) throw new OffsetTruncatedError(at, log.startOffset)
    if (at < log.compactedThrough) throw compactedError(this.directory, at, log.compactedThrough)
    const version = await versionAt(log, key, Math.min(at, log.committedOffset - 1))
    if (at < log.compactedThrough) throw compactedError(this.directory, at, log.compactedThrough)
    return version === undefined || version.tombstone ? undefined : version.value
  }

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Gives a key its value; resolves to the offset of the record when it is committed (mode `none`: accepted). The value is encoded before the call returns. */
  put(key: Key, value: V | Uint8Array): Promise<number> {
    try {
      return this.#log.acknowledge(this.#writes.put(key, value))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Deletes a key; resolves to whether there was one when the record is committed (mode `none`: accepted). A key that is neither there nor among what was accepted
   * makes no record: false, as soon as that is certain.
   */
  delete(key: Key): Promise<boolean> {
    try {
      const { offset, wasThere } = this.#writes.delete(key)
      return offset < 0 ? Promise.resolve(wasThere) : this.#log.acknowledge(offset).then(() => wasThere)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Makes all changes or none, with one sync, for recovery and readers alike; a later entry of the same key counts. Resolves to the first and last offsets of the
   * records when they are committed; deletions of what is not there make none. Errors: ERR_SEALOG_BATCH_TOO_LARGE beyond `maxBatchBytes`.
   */
  async putBatch(entries: Iterable<BatchEntry<V>>): Promise<{ first: number; last: number }> {
    const range = this.#writes.batch(entries)
    if (range.last >= range.first) await this.#log.acknowledge(range.last)
    return range
  }

  /**
   * The same for bulk loading: resolves before the batch is durable. Modes `flush` and `none`: when it is written, and visible; the background makes it durable at most
   * `syncIntervalMs` later. Mode `fsync`: when it is accepted and there is room for more; its group is written and synced at once in the background, and with
   * that it becomes visible and durable. A failure is met by whatever is called next; `flush()` waits until all batches are durable.
   */
  async putBatchDeferred(entries: Iterable<BatchEntry<V>>): Promise<{ first: number; last: number }> {
    const range = this.#writes.batch(entries)
    if (this.durability === 'fsync') await this.#log.drain()
    else await this.#log.flush()
    if (this.#log.failure !== undefined) this.#log.checkWritable()
    return range
  }

  /** Writes entries one by one, with bounds on what is under way and a result for each: the offset, or undefined for the deletion of what is not there. */
  batchWriter(options?: BatchWriterOptions): BatchWriter<BatchEntry<V>, number | undefined> {
    const accept = (entry: BatchEntry<V>) => this.#writes.entry(entry)
    return new BatchWriter({ log: this.#log, accept, checkWritable: () => this.#checkWritable(), flush: () => this.flush() }, options)
  }

  /** Deletes all keys at once, with one record. Resolves as `put` does; nothing is written when there is nothing. */
  async clear(): Promise<void> {
    const offset = this.#writes.clear()
    if (offset >= 0) await this.#log.acknowledge(offset)
  }

  /** Everything accepted is durable, in every mode. */
  async flush(): Promise<void> {
    await this.#log.sync()
  }

  /** The same on the calling thread. */
  flushSync(): void {
    this.#log.syncSync()
  }

  /** As `flush`. */
  async sync(): Promise<void> {
    await this.#log.sync()
  }

  /** Many bytes wait to be written: await `drain()` before more. */
  get writableNeedDrain(): boolean {
    return this.#log.writableNeedDrain
  }

  /** Resolves when the queue of this thread has shrunk enough for more. */
  async drain(): Promise<void> {
    await this.#log.drain()
  }

  /** Takes over what was committed. Runs before the promises of the writes resolve. */
  readonly #advanced = (): void => {
    const log = this.#log
    const end = log.committedOffset
    this.#writes.take(end, this.#changes)
    this.#changes.flush()
    if (this.#behind || this.closed) return
    this.#applied = end
    const { committedBytes } = log.commitDriver().queue
    const grown = committedBytes - this.#seenBytes
    this.#seenBytes = committedBytes
    if (grown > 0 && log.failure === undefined) this.#snapshots.note(grown)
  }

  // ── maintenance ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes a snapshot of everything that is committed now, in slices beside other work; the next open replays only what comes after it. */
  async snapshot(): Promise<SnapshotInfo> {
    this.#checkWritable()
    return this.#snapshots.take()
  }

  /**
   * Rewrites closed segments without versions and tombstones that nobody can read any more, beside other work; it takes a snapshot first, which `get` with `at` cannot go
   * behind afterwards. One pass at a time over all stores of this thread. Errors: ERR_SEALOG_NO_SPACE, ERR_SEALOG_CHECKSUM for damage that it meets; the store is as it was then,
   * segments that were rewritten before stay so.
   */
  async compact(options: CompactCallOptions<V> = {}): Promise<CompactionResult> {
    this.#checkWritable()
    return this.#compactor.compact(resolveCall(options, this.#compaction))
  }

  /**
   * After a failure: has the log verified from disk and the index follow it, and makes this object writable again. Writes meanwhile are refused with
   * ERR_SEALOG_CONFLICT. Does nothing on a store that has not failed.
   */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined
    })
    return this.#reopening
  }

  async #reopen(): Promise<void> {
    this.#checkOpen()
    const log = this.#log
    if (log.failure === undefined && log.readOnlyReason === undefined && !this.#behind) return
    this.#behind = true
    await log.reopen()
    const end = log.committedOffset
    // Records that were not acknowledged may be there after all; those of another epoch may not.
    const same = log.epoch === this.#epoch && this.#applied <= end
    if (!same) this.#cache?.clear()
    const index = same ? this.#index.copy() : new KeyIndex(log.environment.kernels)
    await replay(log, index, same ? this.#applied : log.startOffset, end, undefined)
    this.#index.close()
    this.#index = index
    this.#changes = new IndexChanges(index, this.#cache)
    this.#applied = end
    this.#epoch = log.epoch
    this.#seenBytes = log.commitDriver().queue.committedBytes
    this.#behind = false
  }

  stats(): StoreStats {
    this.#checkOpen()
    return {
      keys: this.#index.size,
      indexBytes: this.#index.bytes,
      pendingWrites: this.#writes.pending,
      ...this.#snapshots.stats(),
      recordCache: this.#cache?.stats(),
      compaction: this.#compactor.stats,
      log: this.#log.stats(),
    }
  }

  /** Everything accepted is made durable, then files, lock and memory are let go; a snapshot under way is given up. Rejects with the failure of a failed store. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    await Promise.all([this.#snapshots.stop(), this.#compactor.stop()])
    await this.#reopening?.catch(() => {})
    try {
      await this.#log.close()
    } finally {
      this.#letGo()
    }
  }

  /** The same on the calling thread; for `process.on('exit')` and the like. Throws ERR_SEALOG_CONFLICT during `reopen()`. */
  closeSync(): void {
    if (this.#reopening !== undefined) throw new LogError('ERR_SEALOG_CONFLICT', `${this.directory} is being reopened`)
    this.#closed ??= Promise.resolve()
    this.#snapshots.stopSync()
    this.#compactor.stopSync()
    try {
      this.#log.closeSync()
    } finally {
      this.#letGo()
    }
  }

  #letGo(): void {
    this.#index.close()
    this.#cache?.clear()
  }

  #checkOpen(): void {
    if (this.closed) throw new LogError('ERR_SEALOG_CLOSED', `${this.directory} is closed`)
  }

  #checkWritable(): void {
    this.#checkOpen()
    this.#log.checkWritable()
    if (this.#behind) throw new LogError('ERR_SEALOG_CONFLICT', `${this.directory} is being reopened, or its index could not follow; see reopen()`)
  }
}
