import { constants } from 'node:fs'
import type { TailCache } from '../cache/tail-cache.js'
import type { RecordCacheStats } from '../cache/tiered-cache.js'
import { argumentError, ChecksumError, LogError, OffsetTruncatedError } from '../errors.js'
import { FRAME_TOMBSTONE } from '../format/constants.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import type { CodecName, LogSettings } from '../options.js'
import type { Chunks } from '../sealing/chunk.js'
import { loadIndex } from '../segment/index-store.js'
import type { Segment } from '../segment/segment.js'
import type { SegmentSet } from '../segment/segment-set.js'
import type { Consumer } from './consumer.js'
import { type ConsumerOptions, Consumers } from './consumers.js'
import { copyBytes, copyPosition, copyTarget, takeCopy } from './copy-bytes.js'
import { type DiskUsage, diskUsage } from './disk-usage.js'
import type { Environment } from './environment.js'
import { type IndexView, indexView } from './index-view.js'
import { BatchIterator, type BatchOptions, type BatchSource, type ReadOptions, RecordIterator } from './iterators.js'
import type { OffsetRange } from './manifest.js'
import { offsetAt } from './offset-at.js'
import { readArchived } from './read-archived.js'
import { BlockRequest, cachedBatch, isGone, readBlock } from './read-block.js'
import { readMany, readOne, type WantedRecord } from './read-many.js'
import { readRecordSync, readResident } from './read-record-sync.js'
import { ReadReport } from './read-telemetry.js'
import { Record } from './record.js'
import type { RecordBatch } from './record-batch.js'

/** The record has been found: it is in `Shared.copyOut`. */
const IN_COPY_OUT = Symbol('in copyOut')

/** For values that are decoded and need no place of their own. */
const NOWHERE = new ArrayBuffer(0)

/** So many reads that do not wait for a disk take less of the loop thread than a request for them. */
const FEW_READS = 64

/** Reading: what a writing log and a read-only one have in common. */
export abstract class LogView<T> implements BatchSource {
  /** @internal */
  readonly environment: Environment
  /** @internal */
  abstract readonly segments: SegmentSet
  abstract readonly directory: string
  abstract readonly startOffset: number
  abstract readonly committedOffset: number
  /** Records below survive a power loss. */
  abstract readonly durableOffset: number
  /** @internal Records below were accepted, if perhaps not yet committed. */
  abstract readonly acceptedOffset: number
  abstract readonly epoch: number
  abstract readonly codec: CodecName
  abstract readonly closed: boolean
  /** @internal Of the store that the log belongs to. */
  recordCache: { stats(): RecordCacheStats } | undefined
  /** @internal Ranges that repair had to give up. */
  abstract readonly lost: readonly OffsetRange[]
  /** @internal */
  abstract readonly tail: TailCache | undefined
  /** @internal */
  abstract readonly logId: Uint8Array
  /** Sealed chunks: finished ranges as immutable files. */
  abstract readonly chunks: Chunks
  /** @internal Form in which chunks are sealed. */
  abstract readonly form: LogSettings['form']
  /** @internal */
  abstract readonly indexIntervalBytes: number
  /** @internal */
  abstract readonly writable: boolean
  #index: IndexView | undefined
  #consumers: Consumers | undefined
  /** @internal Where archives are. */
  abstract readonly archiveDirectory: string

  constructor(environment: Environment) {
    this.environment = environment
  }

  get index(): IndexView {
    this.#index ??= indexView(this)
    return this.#index
  }

  /** The named positions in this log. */
  get consumers(): Consumers {
    this.#consumers ??= new Consumers(this)
    return this.#consumers
  }

  get backend(): k.Backend {
    return this.environment.kernels.backend
  }

  /** @internal A read wants an offset at or past the committed end: commit what is accepted, or look again what the writer did. */
  abstract catchUp(offset: number): Promise<void>

  /** @internal */
  protected abstract catchUpSync(offset: number): void

  /** @internal Called before damage is reported: true when the view has changed and the read should be tried again. */
  abstract recheck(): Promise<boolean>

  /** @internal The same on the calling thread, for a file that is gone. */
  protected abstract recheckSync(): boolean

  /** @internal Resolves when the committed offset, the epoch or the state of the view may have changed. */
  abstract changed(keepAlive: boolean): { readonly promise: Promise<void>; cancel(): void }

  /**
   * The record at `offset`, read and verified on the calling thread; `undefined` at or past the end and for an offset compacted away.
   * Throws OffsetTruncatedError below `startOffset`, ChecksumError for damage, ERR_SEALOG_LOST in a range that repair gave up.
   */
  getSync(offset: number): Record<T> | undefined {
    if (!ReadReport.wanted) return this.#getSync(offset, undefined)
    const report = new ReadReport(this.directory, 'getSync')
    try {
      const record = this.#getSync(offset, report)
      report.done(record === undefined ? 0 : 1)
      return record
    } catch (error) {
      report.failed(error)
      throw error
    }
  }

  #getSync(offset: number, report: ReadReport | undefined): Record<T> | undefined {
    const found = this.#locateSync(offset, report)
    return found === IN_COPY_OUT ? this.#copyOut(offset) : found
  }

  /**
   * @internal The value of the record at `offset`, read as by `getSync`, if its key is the first `keyLength` bytes of `key` and it is no tombstone; else undefined.
   * Makes no record and copies no key.
   */
  valueSync(offset: number, key: Buffer, keyLength: number): T | undefined {
    const found = ReadReport.wanted ? this.getSync(offset) : this.#locateSync(offset, undefined)
    if (found === undefined || found === IN_COPY_OUT) return found === undefined ? undefined : this.#valueOut(key, keyLength)
    return found.key === undefined || found.tombstone || Buffer.compare(found.key, key.subarray(0, keyLength)) !== 0 ? undefined : found.value
  }

  #locateSync(offset: number, report: ReadReport | undefined): Record<T> | undefined | typeof IN_COPY_OUT {
    this.#checkRead(offset)
    if (offset >= this.committedOffset) {
      this.catchUpSync(offset)
      if (offset >= this.committedOffset) return undefined
    }
    const cached = this.#fromCache(offset, report)
    if (cached !== undefined) return cached
    const segment = this.#prepared(offset)
    if (segment === undefined) return undefined
    this.environment.touch(segment)
    const index = segment.index
    const entry = index === undefined ? -1 : index.find(offset)
    if (index === undefined || entry < 0 || segment.archive !== undefined) return this.#getSlow(segment, offset)
    const status = readRecordSync(this.environment.kernels, segment, index, entry, offset, 0)
    // A log that is being opened anew has let go of its segments; this descriptor is nobody's then.
    if (segment.retired && segment.pins === 0) this.environment.runner.runSync(segment.release())
    return status === k.READ_OK ? IN_COPY_OUT : this.#getSlow(segment, offset)
  }

  /** The segment of `offset`, open and with its index. Its file may be gone when a writer elsewhere has replaced it. */
  #prepared(offset: number): Segment | undefined {
    for (;;) {
      const segment = this.segments.find(offset)
      try {
        if (segment !== undefined && (segment.fd < 0 || segment.index === undefined)) this.environment.runner.runSync(this.prepare(segment))
        return segment
      } catch (error) {
        if (!isGone(error) || !this.recheckSync()) throw error
      }
    }
  }

  /** The same without file work on this thread. */
  get(offset: number): Promise<Record<T> | undefined> {
    return ReadReport.wanted ? this.#getReported(offset) : this.#get(offset, undefined)
  }

  async #getReported(offset: number): Promise<Record<T> | undefined> {
    const report = new ReadReport(this.directory, 'get')
    try {
      const record = await this.#get(offset, report)
      report.done(record === undefined ? 0 : 1)
      return record
    } catch (error) {
      report.failed(error)
      throw error
    }
  }

  async #get(offset: number, report: ReadReport | undefined): Promise<Record<T> | undefined> {
    this.#checkRead(offset)
    if (offset >= this.committedOffset) {
      await this.catchUp(offset)
      if (offset >= this.committedOffset) return undefined
    }
    const cached = this.#fromCache(offset, report)
    if (cached !== undefined) return cached
    return this.#resident(offset) ?? this.readFiles(offset)
  }

  /** The record if it can be read without waiting for a disk: a tenth of what a way to a thread and back costs. Nothing is opened for it. */
  #resident(offset: number): Record<T> | undefined {
    const segment = this.segments.find(offset)
    if (segment === undefined || !readResident(this.environment.kernels, segment, offset)) return undefined
    this.environment.touch(segment)
    return this.#copyOut(offset)
  }

  /** @internal Records at scattered offsets, each as `get` gives it, with as few requests as can be. */
  async getMany(offsets: readonly number[]): Promise<(Record<T> | undefined)[]> {
    const report = ReadReport.wanted ? new ReadReport(this.directory, 'getMany') : undefined
    const records = new Array<Record<T> | undefined>(offsets.length)
    try {
      const scattered = new Map<Segment, WantedRecord<T>[]>()
      for (const [i, offset] of offsets.entries()) {
        this.#checkRead(offset)
        const found = (record: Record<T>) => {
          records[i] = record
        }
        const few = offsets.length <= FEW_READS
        const cached = offset < this.committedOffset ? (this.#fromCache(offset, report) ?? (few ? this.#resident(offset) : undefined)) : undefined
        const segment = cached === undefined && offset < this.committedOffset ? this.segments.find(offset) : undefined
        if (cached !== undefined) found(cached)
        if (segment === undefined) continue
        const wanted = scattered.get(segment) ?? []
        scattered.set(segment, wanted)
        wanted.push({ offset, found })
      }
      // What a request cannot read, a read of its own does or names.
      await Promise.allSettled([...scattered].map(([segment, wanted]) => this.environment.runner.run(this.#many(segment, wanted))))
      for (const [i, offset] of offsets.entries()) records[i] ??= await this.#get(offset, report)
      report?.done(records.length)
      return records
    } catch (error) {
      report?.failed(error)
      throw error
    }
  }

  *#many(segment: Segment, wanted: readonly WantedRecord<T>[]): Procedure<void> {
    if (segment.fd < 0 || segment.index === undefined) yield* this.prepare(segment)
    yield* this.#pinned(segment, () => readMany(segment, wanted, this.codec))
  }

  /** @internal A record below the committed end, from the files; not counted as a read. */
  protected async readFiles(offset: number): Promise<Record<T> | undefined> {
    for (;;) {
      const segment = this.segments.find(offset)
      if (segment === undefined) return undefined
      try {
        return await this.environment.runner.run(this.#find(segment, offset))
      } catch (error) {
        if (!(error instanceof ChecksumError || isGone(error))) throw error
        if (this.segments.find(offset) === segment && !(await this.recheck())) throw error
        this.#checkRead(offset)
        if (offset >= this.committedOffset) return undefined
      }
    }
  }

  /**
   * Records from `from` (inclusive, default startOffset) to `to` (exclusive) or for `limit` records; with `follow` it waits for more at the end.
   * `return()` ends a waiting `next()` at once. A waiting follower keeps the process alive unless `ref` is false.
   */
  read(options: ReadOptions = {}): AsyncIterableIterator<Record<T>> {
    return new RecordIterator<T>(this.batches({ ...options, reuseBuffers: true }), options.limit)
  }

  /** Records block by block: the fast path. `maxBytes` bounds a block (default 2 MiB); a larger record or batch of the writer is a block of its own. */
  batches(options: BatchOptions = {}): AsyncIterableIterator<RecordBatch<T>> {
    return new BatchIterator<T>(this, options)
  }

  /** The first offset whose running maximum of timestamps is at or above `time` (ms); `committedOffset` when there is none. */
  async offsetAt(time: number): Promise<number> {
    if (!Number.isFinite(time)) throw argumentError('time', time, 'a time in ms')
    this.checkOpen()
    for (;;) {
      const segments = this.segments.all
      try {
        return await this.environment.runner.run(offsetAt(this, time))
      } catch (error) {
        if (!isGone(error) || (this.segments.all === segments && !(await this.recheck()))) throw error
      }
    }
  }

  /**
   * Opens the consumer of this name (1 to 128 of A-Z, a-z, 0-9, ".", "_", "-", the first not a dot): a position kept in a file, which retention respects. One
   * that is not there yet is created and begins at `startOffset`. ERR_SEALOG_ARGUMENT, _OPTION, ERR_SEALOG_CONSUMER when its file is damaged, _IO.
   */
  consumer(name: string, options: ConsumerOptions = {}): Promise<Consumer> {
    return this.consumers.open(name, options)
  }

  /** Bytes of the files of this log by kind. */
  async diskUsage(): Promise<DiskUsage> {
    this.checkOpen()
    return this.environment.runner.run(diskUsage(this.directory, this.archiveDirectory))
  }

  /** @internal CRC-32C of the log id. */
  get logSeed(): number {
    return this.environment.kernels.crc32c(this.logId, 0)
  }

  /** @internal */
  checkOpen(): void {
    if (this.closed) throw new LogError('ERR_SEALOG_CLOSED', `${this.directory} is closed`)
  }

  /** @internal Opens a segment and its index. */
  *prepare(segment: Segment): Procedure<void> {
    const { kernels } = this.environment
    segment.pins++
    try {
      // The writer may take up an unclosed segment again while it is being read: one descriptor serves both.
      yield* segment.open(kernels, this.logId, this.writable && !segment.closed ? constants.O_RDWR : constants.O_RDONLY)
      yield* loadIndex(segment, kernels, this.indexIntervalBytes, this.writable)
    } finally {
      segment.pins--
    }
    // One that was replaced meanwhile is let go by whoever reads it last.
    if (!segment.retired) this.environment.touch(segment)
  }

  /** @internal The reading of one block at `offset`; see read-block.ts. */
  *block(segment: Segment, offset: number, request: BlockRequest): Procedure<void> {
    if (segment.fd < 0 || segment.index === undefined) yield* this.prepare(segment)
    const { archivedBlocks } = this.environment
    yield* this.#pinned(segment, () =>
      segment.archive === undefined ? readBlock(segment, offset, request) : readArchived(segment, segment.archive, offset, request, archivedBlocks),
    )
  }

  /** Its descriptor stays open meanwhile. */
  *#pinned<R>(segment: Segment, work: () => Procedure<R>): Procedure<R> {
    segment.pins++
    try {
      return yield* work()
    } finally {
      segment.pins--
      if (segment.retired && segment.pins === 0) yield* segment.release()
    }
  }

  /** @internal The block at `offset` from the tail cache; undefined: it is not there. */
  cachedBlock(offset: number, request: BlockRequest): RecordBatch<unknown> | undefined {
    const bytes = this.tail?.readBlock(offset, request.limit, this.committedOffset, request)
    return bytes === undefined ? undefined : cachedBatch(bytes, request)
  }

  #fromCache(offset: number, report: ReadReport | undefined): Record<T> | undefined {
    const { tail } = this
    if (tail === undefined) return undefined
    const placed = this.codec === 'bytes'
    const status = tail.readRecord(offset, this.committedOffset, placed ? copyTarget() : NOWHERE, placed ? copyPosition() : 0)
    if (status === k.READ_NOT_FOUND) return undefined
    if (report !== undefined) report.cached = true
    if (status === k.READ_PLACED && placed) {
      const { out } = this.environment.kernels.shared
      const tombstone = out[k.OUT_TYPE] === FRAME_TOMBSTONE
      return new Record(offset, out[k.OUT_TIMESTAMP], undefined, tombstone, out[k.OUT_BATCH_FIRST], takeCopy(out[k.OUT_VALUE_LENGTH]) as T)
    }
    if (status === k.READ_OK || status === k.READ_PLACED) return this.#copyOut(offset)
    const request = new BlockRequest(this.codec, 1, 1)
    const bytes = tail.copyBlock(offset, offset + 1, request)
    return bytes === undefined ? undefined : (cachedBatch(bytes, request).record(0) as Record<T>)
  }

  #checkRead(offset: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0) throw argumentError('offset', offset, 'an integer from 0 to 2^53 − 1')
    this.checkOpen()
    if (offset < this.startOffset) throw new OffsetTruncatedError(offset, this.startOffset)
    this.checkLost(offset)
  }

  /** @internal */
  checkLost(offset: number): void {
    for (const range of this.lost) {
      if (offset >= range.from && offset < range.to) {
        throw new LogError('ERR_SEALOG_LOST', `offsets ${range.from} to ${range.to - 1} were lost to damage and given up by repair`, {
          offset: range.from,
          endOffset: range.to,
        })
      }
    }
  }

  #copyOut(offset: number): Record<T> {
    const { out, copyOut } = this.environment.kernels.shared
    const keyStart = out[k.OUT_KEY_START]
    const keyLength = out[k.OUT_KEY_LENGTH]
    const valueStart = out[k.OUT_VALUE_START]
    const tombstone = out[k.OUT_TYPE] === FRAME_TOMBSTONE
    const valueEnd = valueStart + out[k.OUT_VALUE_LENGTH]
    const key = keyLength < 0 ? undefined : copyBytes(copyOut, keyStart, keyStart + keyLength)
    const value =
      this.codec === 'bytes' ? copyBytes(copyOut, valueStart, valueEnd) : tombstone ? null : JSON.parse(this.environment.textOut(valueStart, valueEnd))
    return new Record(offset, out[k.OUT_TIMESTAMP], key, tombstone, out[k.OUT_BATCH_FIRST], value as T)
  }

  #valueOut(key: Buffer, keyLength: number): T | undefined {
    const { out, copyOut } = this.environment.kernels.shared
    const keyStart = out[k.OUT_KEY_START]
    if (out[k.OUT_KEY_LENGTH] !== keyLength || out[k.OUT_TYPE] === FRAME_TOMBSTONE) return undefined
    for (let i = 0; i < keyLength; i++) if (copyOut[keyStart + i] !== key[i]) return undefined
    const valueStart = out[k.OUT_VALUE_START]
    const valueEnd = valueStart + out[k.OUT_VALUE_LENGTH]
    return (this.codec === 'bytes' ? copyBytes(copyOut, valueStart, valueEnd) : JSON.parse(this.environment.textOut(valueStart, valueEnd))) as T
  }

  /** Large records, missing index entries and damage. What a writer elsewhere has cut or replaced looks like damage until one looks again. */
  #getSlow(segment: Segment, offset: number): Record<T> | undefined {
    try {
      return this.environment.runner.runSync(this.#find(segment, offset))
    } catch (error) {
      if (!(error instanceof ChecksumError || isGone(error)) || !this.recheckSync()) throw error
      return this.#getSync(offset, undefined)
    }
  }

  /** Steps to the record by frame lengths and verifies that one; a read that fails is done once more frame by frame, which names the damage. */
  *#find(segment: Segment, offset: number): Procedure<Record<T> | undefined> {
    if (segment.fd < 0 || segment.index === undefined) yield* this.prepare(segment)
    const found = yield* this.#pinned(segment, () => readOne<T>(segment, offset, this.codec))
    if (found !== undefined) return found
    const request = new BlockRequest(this.codec, 16 * 1024, 256)
    request.single = true
    yield* this.block(segment, offset, request)
    const block = request.result
    if (block === undefined || block.length === 0 || block.offset(0) !== offset) return undefined
    return block.record(0) as Record<T>
  }
}
