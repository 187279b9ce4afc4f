import { argumentError, compactedError, LogError, OffsetTruncatedError } from '../errors.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { checkNames, type Durability, type LogOptions, type ReaderOptions, type RetentionPolicy, resolveReader } from '../options.js'
import { acceptKeyed } from './accept-keyed.js'
import { APPEND_OPTIONS, type AppendOptions, abortable } from './append-options.js'
import type { EncodedRecord } from './append-queue.js'
import { restoreSegment } from './archive-moves.js'
import { BatchWriter, type BatchWriterOptions } from './batch-writer.js'
import { ChangeSignal } from './change-signal.js'
import { encodeJson } from './codec.js'
import type { CommitDriver } from './commit-driver.js'
import { LogChunks } from './log-chunks.js'
import { LogReader } from './log-reader.js'
import { type Sources, SYSTEM_SOURCES } from './parts.js'
import { listOf, RecordEncoder, type RecordInput } from './record-encoder.js'
import { type RetentionResult, removeBefore, retain } from './retention.js'
import { RetentionJob } from './retention-job.js'
import { type LogStats, logStats } from './stats.js'
import { planTruncation } from './truncation.js'
import { LogWorkers } from './workers.js'
import { type OpenLog, WriterSession } from './writer-session.js'
import { WriterView } from './writer-view.js'

/**
 * An append-only log in a directory, open for writing by this thread alone. Values are `Uint8Array` (codec `bytes`) or JSON values of type `T`.
 * Offsets are dense, ranges are `from` inclusive and `to` exclusive. `startOffset ≤ durableOffset, committedOffset ≤ endOffset`.
 */
export class Log<T = Uint8Array> extends WriterView<T> implements AsyncDisposable {
  readonly directory: string
  readonly durability: Durability
  /** Sealed chunks: finished ranges as immutable files. */
  override readonly chunks: LogChunks
  readonly #session: WriterSession
  readonly #encoder: RecordEncoder
  readonly #retention: RetentionJob | undefined
  /** @internal */
  readonly workers = new LogWorkers()
  #closed: Promise<void> | undefined

  private constructor(session: WriterSession, opened: OpenLog, changes: ChangeSignal) {
    super(session.environment, opened.driver, opened.readOnlyReason, changes)
    this.directory = session.directory
    this.durability = session.options.durability
    this.#session = session
    this.#encoder = new RecordEncoder(opened.driver.parts.settings, session.options.segmentBytes)
    this.chunks = new LogChunks(this, session.options.chunkEncodings)
    if (this.form !== 'none') changes.listen(() => this.chunks.advanced())
    const { retention } = session.options
    this.#retention = retention === undefined ? undefined : new RetentionJob(this, retention)
  }

  /**
   * Opens the log in `directory`, creating it unless `create` is false. A torn tail is cut (its bytes are kept beside the log), damage of durable
   * records refuses. Errors: ERR_SEALOG_LOCKED, _CORRUPT, _MANIFEST, _FORMAT, _FORMAT_NEWER, _CODEC_MISMATCH, _OPTION, _NOT_FOUND, _IO, _BACKEND.
   */
  static open<T = unknown>(directory: string, options: LogOptions & { codec: 'json' }): Promise<Log<T>>
  static open<T = Uint8Array>(directory: string, options?: LogOptions): Promise<Log<T>>
  static open<T>(directory: string, options: LogOptions = {}): Promise<Log<T>> {
    return Log.openWith<T>(directory, options, SYSTEM_SOURCES)
  }

  /** @internal With given random bytes and clock, so that tests can compare files byte for byte. */
  static async openWith<T>(directory: string, options: LogOptions, sources: Sources): Promise<Log<T>> {
    const changes = new ChangeSignal()
    const { session, opened } = await WriterSession.begin(directory, options, sources, changes)
    return new Log<T>(session, opened, changes)
  }

  /** Opens the log for reading, beside a writer or without one, in any thread or process. It writes nothing. */
  static openReader<T = Uint8Array>(directory: string, options: ReaderOptions = {}): Promise<LogReader<T>> {
    return LogReader.open<T>(directory, resolveReader(options))
  }

  // ── appending ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Appends a record; resolves to its offset when it is committed (mode `none`: accepted). The value is encoded before the call returns. */
  append(value: T | Uint8Array, options?: AppendOptions): Promise<number> {
    let offset: number
    try {
      options?.signal?.throwIfAborted()
      offset = this.#accept(value, options)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#acknowledge(offset, options?.signal)
  }

  /** Appends values as one batch: all of them or none, for recovery and readers alike. Resolves to their first and last offsets; `[]` to an empty range. */
  appendBatch(values: Iterable<T | Uint8Array>, options?: Omit<AppendOptions, 'key'>): Promise<{ first: number; last: number }> {
    return this.#appendAll(() => this.#encoder.encodeValues(listOf(values, 'values'), options?.timestamp), options)
  }

  /** The full form of `appendBatch`: records with keys and timestamps, and tombstones. */
  appendRecords(
    records: Iterable<RecordInput<T | Uint8Array>>,
    options?: Pick<AppendOptions, 'expectedOffset' | 'signal'>,
  ): Promise<{ first: number; last: number }> {
    return this.#appendAll(() => listOf(records, 'records').map((record) => this.#encoder.encodeInput(record)), options)
  }

  /** Accepts a record and returns its offset at once, without a promise; the offset is provisional until it is committed. */
  enqueue(value: T | Uint8Array, options?: AppendOptions): number {
    return this.#accept(value, options)
  }

  /** Writes records one by one, with bounds on what is under way and a result for each. Several writers of one log know nothing of each other. */
  batchWriter(options?: BatchWriterOptions): BatchWriter<RecordInput<T | Uint8Array>> {
    const accept = (record: RecordInput<T | Uint8Array>) => {
      this.checkWritable()
      return this.#acceptAll([this.#encoder.encodeInput(record)])
    }
    return new BatchWriter({ log: this, accept, checkWritable: () => this.checkWritable(), flush: () => this.flush() }, options)
  }

  /** @internal Accepts records as one batch and returns the offset of the first. Their values are encoded (`encodeValue`) and their keys fit. */
  acceptEncoded(records: readonly EncodedRecord[]): number {
    return this.#acceptAll(records)
  }

  /** @internal A value as `acceptKeyed` takes it. User code runs in here. */
  encodeValue(value: T | Uint8Array): string | Uint8Array {
    return this.#encoder.encodeText(value)
  }

  /** @internal Accepts one record with a key, the first `keyLength` bytes of `key`, and returns its offset. undefined: a tombstone. `checkWritable` is the caller's. */
  acceptKeyed(key: Uint8Array, keyLength: number, value: string | Uint8Array | undefined): number {
    return acceptKeyed(this.driver.queue, this.#encoder, this.environment.stagingBytes, key, keyLength, value)
  }

  /** @internal Resolves to `offset` when an append of this mode would. */
  acknowledge(offset: number): Promise<number> {
    return this.#acknowledge(offset, undefined)
  }

  /** @internal `listener` is called on this thread with every change of the committed end or of the state, before any promise that waited for it goes on. */
  observe(listener: () => void): void {
    this.changes.listen(listener)
  }

  /** Appends and commits on the calling thread. */
  appendSync(value: T | Uint8Array, options?: AppendOptions): number {
    const offset = this.#accept(value, options)
    if (this.durability !== 'none') this.driver.commitSync(k.COMMIT_MODE)
    return offset
  }

  /** Many bytes wait to be written, more than 4 MiB or a quarter of `queueBytes`: await `drain()` before more. */
  get writableNeedDrain(): boolean {
    return this.workers.backlog !== undefined || this.environment.queuedBytes > this.environment.highWaterMark
  }

  /** Resolves when the queue of this thread has shrunk enough for more. */
  async drain(): Promise<void> {
    if (this.durability === 'none' && this.writableNeedDrain) void this.flush().catch(() => {})
    await this.environment.drain()
    await this.workers.backlog
  }

  /** Resolves when the record at `offset` is committed; without an offset: everything accepted so far. */
  async committed(offset?: number): Promise<void> {
    const wanted = this.#waitable(offset)
    if (wanted < this.committedOffset) return
    if (this.durability === 'none') await this.flush()
    else await this.driver.queue.whenCommitted(wanted)
  }

  /** Resolves when the record at `offset` is durable; without an offset: everything accepted so far. Waits for the next sync, see `sync`. */
  async durable(offset?: number): Promise<void> {
    const wanted = this.#waitable(offset)
    if (wanted < this.durableOffset) return
    if (this.failure !== undefined) throw this.driver.queue.failureError()
    await this.driver.queue.whenDurable(wanted)
  }

  /** Everything accepted is committed as the mode says. */
  async flush(): Promise<void> {
    this.checkWritable()
    await this.driver.commit(k.COMMIT_MODE)
  }

  flushSync(): void {
    this.checkWritable()
    this.driver.commitSync(k.COMMIT_MODE)
  }

  /** Everything accepted is durable, in every mode. */
  async sync(): Promise<void> {
    this.checkWritable()
    await this.driver.commit(k.COMMIT_SYNCED)
  }

  syncSync(): void {
    this.checkWritable()
    this.driver.commitSync(k.COMMIT_SYNCED)
  }

  #waitable(offset: number | undefined): number {
    if (offset === undefined) return this.endOffset - 1
    if (!Number.isSafeInteger(offset) || offset < 0) throw argumentError('offset', offset, 'an integer from 0 to 2^53 − 1')
    if (this.failure !== undefined && offset >= this.committedOffset) throw this.driver.queue.failureError()
    if (offset >= this.endOffset)
      throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${offset} has not been given out; the end is ${this.endOffset}`, {
        offset,
        endOffset: this.endOffset,
      })
    return offset
  }

  /** @internal */
  checkWritable(): void {
    if (this.closing) throw new LogError('ERR_SEALOG_CLOSED', `${this.directory} is closed`)
    if (this.failure !== undefined) throw this.driver.queue.failureError()
    if (this.readOnly !== undefined)
      throw new LogError('ERR_SEALOG_READ_ONLY', `${this.directory} is open read-only: ${this.readOnly.message}`, { cause: this.readOnly })
    if (this.restarting) throw new LogError('ERR_SEALOG_CONFLICT', `${this.directory} is being truncated or reopened`)
  }

  #accept(value: T | Uint8Array, options: AppendOptions | undefined): number {
    this.checkWritable()
    const encoder = this.#encoder
    if (options !== undefined) {
      checkNames(options, APPEND_OPTIONS, 'append')
      const record = encoder.encode(value, options.key, options.timestamp)
      this.#checkExpected(options.expectedOffset)
      return this.#acceptAll([record])
    }
    const { queue } = this.driver
    if (value instanceof Uint8Array) {
      return queue.acceptBytes(encoder.checkBytes(value), undefined)
    }
    if (encoder.codec === 'bytes') return this.#acceptAll([encoder.encode(value, undefined, undefined)])
    const text = encodeJson(value)
    // toJSON may have closed the log or appended to it.
    this.checkWritable()
    if (text.length * 3 > this.environment.stagingBytes)
      return this.#acceptAll([{ key: undefined, value: Buffer.from(text), tombstone: false, timestamp: undefined }])
    const offset = queue.acceptText(text, undefined, encoder.recordLimit)
    if (offset < 0) throw encoder.tooLarge(Buffer.byteLength(text))
    return offset
  }

  #appendAll(encode: () => (EncodedRecord | Uint8Array)[], options: AppendOptions | undefined): Promise<{ first: number; last: number }> {
    let first: number
    let count: number
    try {
      if (options !== undefined) checkNames(options, APPEND_OPTIONS, 'appendBatch')
      options?.signal?.throwIfAborted()
      this.checkWritable()
      const records = encode()
      count = records.length
      this.#checkExpected(options?.expectedOffset)
      if (count === 0) return Promise.resolve({ first: this.endOffset, last: this.endOffset - 1 })
      first = this.#acceptAll(records)
    } catch (error) {
      return Promise.reject(error)
    }
    const last = first + count - 1
    return this.#acknowledge(last, options?.signal).then(() => ({ first, last }))
  }

  /** User code (iterators, toJSON) ran before; from here to the end nothing else does. */
  #acceptAll(records: readonly (EncodedRecord | Uint8Array)[]): number {
    this.checkWritable()
    return this.driver.queue.acceptBatch(records, this.#encoder.measure(records))
  }

  #checkExpected(expected: number | undefined): void {
    if (expected === undefined || expected === this.endOffset) return
    if (!Number.isSafeInteger(expected) || expected < 0) throw argumentError('expectedOffset', expected, 'an integer from 0 to 2^53 − 1')
    throw new LogError('ERR_SEALOG_CONFLICT', `the next offset is ${this.endOffset}, not ${expected}`, { offset: expected, endOffset: this.endOffset })
  }

  #acknowledge(offset: number, signal: AbortSignal | undefined): Promise<number> {
    if (this.durability === 'none') return Promise.resolve(offset)
    const committed = this.driver.queue.whenCommitted(offset)
    return signal === undefined ? committed : abortable(committed, signal)
  }

  // ── cutting ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Gives up the records below `offset` (rounded down to a batch); whole segments below are deleted, but never the last. Resolves to the new startOffset. */
  async truncateBefore(offset: number): Promise<number> {
    this.checkWritable()
    if (!Number.isSafeInteger(offset) || offset < 0) throw argumentError('offset', offset, 'an integer from 0 to 2^53 − 1')
    if (offset > this.committedOffset)
      throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${offset} lies past the committed end ${this.committedOffset}`, {
        offset,
        endOffset: this.committedOffset,
      })
    if (offset <= this.startOffset) return this.startOffset
    this.checkLost(offset)
    const { driver } = this
    const batch = offset === this.committedOffset ? offset : ((await this.readFiles(offset))?.batch ?? offset)
    const start = Math.max(batch, this.startOffset)
    // MANIFEST must not start above what a power loss leaves.
    if (start > this.durableOffset) await this.sync()
    await removeBefore(this, driver, start)
    return start
  }

  /**
   * Gives up whole closed segments beyond the limits of the policy, the oldest first, but none that a consumer has not acknowledged and, unless `force`, none that is
   * quarantined. A consumer that lags more than its `maxLagBytes` is dropped (event `sealog:consumer:drop`, warning SEALOG_CONSUMER_DROPPED).
   */
  async retain(policy: RetentionPolicy): Promise<RetentionResult> {
    this.checkWritable()
    return retain(this, policy)
  }

  /**
   * Keeps the records up to the end of the batch that holds `offset` and cuts everything behind; raises the epoch. Appends meanwhile are refused with
   * ERR_SEALOG_CONFLICT, readers behind the cut end with ERR_SEALOG_EPOCH. Resolves to the new end.
   */
  async truncateAfter(offset: number): Promise<number> {
    this.checkWritable()
    if (!Number.isSafeInteger(offset) || offset < 0) throw argumentError('offset', offset, 'an integer from 0 to 2^53 − 1')
    await this.#restart(async () => {
      await this.driver.commit(k.COMMIT_SYNCED)
      if (offset >= this.endOffset)
        throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${offset} lies past the end ${this.endOffset}`, { offset, endOffset: this.endOffset })
      if (offset < this.startOffset) throw new OffsetTruncatedError(offset, this.startOffset)
      if (offset < this.compactedThrough) throw compactedError(this.directory, offset, this.compactedThrough)
      const { parts } = this.driver
      const found = parts.segments.find(offset)
      if (found?.archive !== undefined) await parts.tasks.add(() => restoreSegment(parts, found))
      const segment = parts.segments.find(offset)
      if (segment === undefined) throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${offset} is not in the log`, { offset })
      await this.environment.runner.run(this.prepare(segment))
      const intent = await this.environment.runner.run(planTruncation(parts, segment, offset))
      if (intent.end < this.endOffset) await parts.tasks.add(() => parts.manifest.append({ type: 'intent', intent }))
      return intent.end < this.endOffset
    })
    return this.endOffset
  }

  /**
   * After a failure: verifies the log from disk like a fresh open, under the same lock, and makes this object writable again.
   * Records that were not committed are gone; if committed ones are, the epoch rises. Does nothing on a log that has not failed.
   */
  async reopen(): Promise<void> {
    if (this.closing) throw new LogError('ERR_SEALOG_CLOSED', `${this.directory} is closed`)
    if (this.failure !== undefined || this.readOnly !== undefined) await this.#restart(async () => true)
  }

  /** Refuses appends, does `before`, and if that says so opens the directory anew under the same lock. */
  async #restart(before: () => Promise<boolean>): Promise<void> {
    if (this.restarting) throw new LogError('ERR_SEALOG_CONFLICT', `${this.directory} is being truncated or reopened`)
    this.restarting = true
    let reopened = false
    try {
      await this.chunks.pause()
      await this.workers.pause()
      await this.driver.parts.tasks.settled()
      if (await before()) {
        await this.#openAnew()
        reopened = true
      }
    } finally {
      this.restarting = false
      if (!this.closing) {
        this.chunks.resume(reopened)
        this.workers.resume()
      }
      this.changes.notify()
    }
  }

  async #openAnew(): Promise<void> {
    try {
      const opened = await this.#session.reopen(this.driver, this.failure === undefined ? undefined : this.committedOffset)
      this.driver = opened.driver
      this.readOnly = opened.readOnlyReason
    } catch (error) {
      this.driver.fail(error, `${this.directory} could not be reopened: ${(error as Error).message}`)
      throw error
    }
  }

  // ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Everything accepted is made durable and marked, then files and lock are let go. Rejects with the failure of a failed log, after having let go. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.closing = true
    this.#retention?.stop()
    while (this.restarting) await this.changes.next().promise
    await this.chunks.pause()
    await this.workers.pause()
    const { parts, queue } = this.driver
    let failure: unknown
    try {
      if (queue.failure !== undefined) failure = queue.failureError()
      else if (this.readOnly === undefined) await this.driver.commit(k.COMMIT_MARKED)
    } catch (error) {
      failure = error
    }
    await parts.tasks.add(() => this.#letGo(failure))
  }

  *#letGo(failure: unknown): Procedure<void> {
    this.ended = true
    this.chunks.forget(() => true)
    this.driver.queue.abandon(() => failure ?? new LogError('ERR_SEALOG_CLOSED', `${this.directory} was closed`))
    try {
      yield* this.#session.end(this.driver, failure === undefined && this.readOnly === undefined)
    } finally {
      this.changes.notify()
    }
    if (failure !== undefined) throw failure
  }

  /** The same on the calling thread; for `process.on('exit')` and the like. */
  closeSync(): void {
    if (this.ended) return
    if (this.restarting) throw new LogError('ERR_SEALOG_CONFLICT', `${this.directory} is being truncated or reopened`)
    this.closing = true
    this.#retention?.stop()
    this.#closed ??= Promise.resolve()
    this.chunks.pauseSync()
    this.workers.pauseSync()
    let failure: unknown
    try {
      if (this.driver.queue.failure !== undefined) failure = this.driver.queue.failureError()
      else if (this.readOnly === undefined) this.driver.commitSync(k.COMMIT_MARKED)
    } catch (error) {
      failure = error
    }
    this.driver.parts.tasks.finishSync()
    this.environment.runner.runSync(this.#letGo(failure))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal Replaced when the log is opened anew. */
  commitDriver(): CommitDriver {
    return this.driver
  }

  stats(): LogStats {
    return logStats(this, this.driver)
  }
}
