import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import type { EndSlot } from '../format/committed-file.js'
import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { parseSegmentFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { archiveDirectory, type CodecName, checkDirectory, type LogSettings, type ResolvedReaderOptions } from '../options.js'
import type { Chunks } from '../sealing/chunk.js'
import { ChunkStore } from '../sealing/chunk-store.js'
import { OffsetIndex } from '../segment/offset-index.js'
import { damageError, readTail } from '../segment/recovery.js'
import { Segment } from '../segment/segment.js'
import { SegmentSet } from '../segment/segment-set.js'
import { startState, walk } from '../segment/walk.js'
import { ChangeSignal } from './change-signal.js'
import { closedSegment, isSegmentOf } from './closed-segment.js'
import { CommittedWatch } from './committed-watch.js'
import { type Environment, environmentFor } from './environment.js'
import { isWriterAlive } from './lock.js'
import { LogView } from './log-view.js'
import { Manifest, type OffsetRange } from './manifest.js'
import { missingManifest } from './missing-manifest.js'
import { isGone } from './read-block.js'
import { readCommitted } from './read-committed.js'

const INDEX_INTERVAL = 4096
const ALIVE_CHECK_MS = 1000

/**
 * A log open for reading, beside a writer in any thread or process or without one. While a writer lives, its COMMITTED file tells the committed end;
 * without one the end is found in memory as recovery would find it. Nothing is ever written.
 */
export class LogReader<T = Uint8Array> extends LogView<T> implements AsyncDisposable {
  readonly directory: string
  readonly segments = new SegmentSet()
  readonly #logSeed: number
  /** @internal */
  readonly archiveDirectory: string
  #manifest: Manifest
  /** Walk states of the segments that MANIFEST does not call closed. */
  readonly #states = new Map<Segment, Float64Array>()
  #committed = 0
  #durable = 0
  #closed = false
  readonly #watching: CommittedWatch
  #refreshing: Promise<void> | undefined
  #nextRefresh: Promise<void> | undefined
  #lastAliveCheck = 0
  /** An end that COMMITTED tells of and that was looked for in vain. */
  #missedEnd = -1
  #alive = false
  readonly #changes = new ChangeSignal()
  /** Those that the writer has sealed. A damaged one is not served and left to the writer. */
  readonly #chunks = new ChunkStore(this, () => {})
  override readonly chunks: Chunks = this.#chunks
  #keepAlive = 0

  private constructor(environment: Environment, directory: string, manifest: Manifest, { archive, pollIntervalMs }: ResolvedReaderOptions) {
    super(environment)
    this.directory = directory
    this.archiveDirectory = archiveDirectory(directory, archive)
    this.#manifest = manifest
    this.#watching = new CommittedWatch(directory, pollIntervalMs, () => {
      if (!this.#closed) void this.refresh().catch(() => this.#changes.notify())
    })
    this.#logSeed = environment.kernels.crc32c(manifest.logId, 0)
  }

  /** @internal */
  get chunkLimit(): number {
    return this.#durable
  }

  /** @internal Use `Log.openReader`. */
  static async open<T>(directory: string, options: ResolvedReaderOptions): Promise<LogReader<T>> {
    checkDirectory(directory)
    const environment = environmentFor(options.backend)
    const place = path.resolve(directory)
    const manifest = await environment.runner.run(Manifest.load(place, environment.kernels))
    if (manifest === undefined) throw await environment.runner.run(missingManifest(place))
    const reader = new LogReader<T>(environment, place, manifest, options)
    try {
      await environment.runner.run(reader.#reload())
      return reader
    } catch (error) {
      await reader.close()
      throw error
    }
  }

  get startOffset(): number {
    return this.#manifest.state.startOffset
  }

  get committedOffset(): number {
    return this.#committed
  }

  get durableOffset(): number {
    return this.#durable
  }

  get endOffset(): number {
    return this.#committed
  }

  /** @internal */
  get acceptedOffset(): number {
    return this.#committed
  }

  get epoch(): number {
    return this.#manifest.state.epoch
  }

  get codec(): CodecName {
    return this.#manifest.state.settings.codec
  }

  get closed(): boolean {
    return this.#closed
  }

  /** A writer held the log when it was last looked. */
  get writerAlive(): boolean {
    return this.#alive
  }

  /** @internal */
  get form(): LogSettings['form'] {
    return this.#manifest.state.settings.form
  }

  /** @internal What is committed elsewhere is read from the files. */
  get tail(): undefined {
    return undefined
  }

  /** @internal */
  get lost(): readonly OffsetRange[] {
    return this.#manifest.state.lost
  }

  /** @internal */
  get logId(): Uint8Array {
    return this.#manifest.logId
  }

  /** @internal */
  readonly indexIntervalBytes = INDEX_INTERVAL
  /** @internal */
  readonly writable = false

  /** Looks what the writer has committed since. Reads at the end do it by themselves. */
  refresh(): Promise<void> {
    this.checkOpen()
    if (this.#refreshing === undefined) {
      this.#refreshing = this.#look().finally(() => {
        this.#refreshing = undefined
      })
      return this.#refreshing
    }
    // The look under way may miss what the caller knows of. One more serves all who come meanwhile, so a busy writer keeps nobody waiting.
    this.#nextRefresh ??= this.#refreshing
      .catch(() => {})
      .then(() => {
        this.#nextRefresh = undefined
        return this.#closed ? undefined : this.refresh()
      })
    return this.#nextRefresh
  }

  async #look(): Promise<void> {
    const committed = this.#committed
    const durable = this.#durable
    const epoch = this.epoch
    await this.environment.runner.run(this.#advance())
    if (this.#committed !== committed || this.#durable !== durable || this.epoch !== epoch) this.#changes.notify()
  }

  /** @internal */
  override async catchUp(): Promise<void> {
    if (!this.#closed) await this.refresh()
  }

  protected override catchUpSync(): void {
    if (this.#refreshing === undefined) this.environment.runner.runSync(this.#advance())
  }

  /** @internal MANIFEST and COMMITTED once more, before damage is reported. */
  override async recheck(): Promise<boolean> {
    const changed = this.#changesSince()
    while (this.#refreshing !== undefined) await this.#refreshing.catch(() => {})
    if (this.#closed) return false
    this.#refreshing = this.environment.runner.run(this.#reload()).finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
    return changed()
  }

  protected override recheckSync(): boolean {
    const changed = this.#changesSince()
    if (this.#refreshing === undefined) this.environment.runner.runSync(this.#reload())
    return changed()
  }

  /** Tells whether the log is another one than now: cut, grown, or with other files of its segments. */
  #changesSince(): () => boolean {
    const { epoch, startOffset } = this
    const committed = this.#committed
    const segments = this.segments.all
    return () => {
      const { all } = this.segments
      if (epoch !== this.epoch || startOffset !== this.startOffset || committed !== this.#committed || segments.length !== all.length) return true
      return segments.some(({ base, generation, archive }, i) => base !== all[i].base || generation !== all[i].generation || archive !== all[i].archive)
    }
  }

  // ── following the writer ───────────────────────────────────────────────────────────────────────────────────────

  *#advance(): Procedure<void> {
    try {
      yield* this.#follow()
    } catch (error) {
      // The segment to go on with was closed and replaced meanwhile.
      if (!isGone(error)) throw error
      yield* this.#reload()
    }
  }

  *#follow(): Procedure<void> {
    const now = Date.now()
    if (now - this.#lastAliveCheck >= ALIVE_CHECK_MS) {
      this.#alive = yield* isWriterAlive(this.directory)
      this.#lastAliveCheck = now
    }
    const slots = yield* readCommitted(this.directory, this.#logSeed, this.environment.kernels)
    const wanted = slots.committed
    if (wanted !== undefined && wanted.epoch !== this.epoch) {
      yield* this.#reload()
      return
    }
    if (this.#alive && wanted !== undefined) {
      if (wanted.end > this.#committed) yield* this.#walkTo(wanted.end)
      this.#setEnds(Math.min(wanted.end, this.#walkedEnd()), slots.durable)
    } else if (!this.#alive) {
      yield* this.#walkTo(Number.POSITIVE_INFINITY)
      this.#setEnds(this.#walkedEnd(), slots.durable)
    }
    if (wanted !== undefined && wanted.end > this.#walkedEnd() && wanted.end !== this.#missedEnd) {
      // The next segment was closed and replaced before this reader came to it; only MANIFEST tells.
      this.#missedEnd = wanted.end
      yield* this.#reload()
    }
  }

  #setEnds(committed: number, durable: EndSlot | undefined): void {
    this.#committed = Math.max(this.#committed, committed)
    if (durable !== undefined && durable.epoch === this.epoch) this.#durable = Math.min(durable.end, this.#committed)
  }

  #walkedEnd(): number {
    return this.segments.last?.end ?? this.startOffset
  }

  /** Walks on from where it stood, into following segments, until `end` is reached or nothing more is there. */
  *#walkTo(end: number): Procedure<void> {
    for (;;) {
      const last = this.segments.last
      if (last === undefined || last.closed) {
        if (!(yield* this.#openNext(last === undefined ? yield* this.#firstBase() : last.end))) return
        continue
      }
      const stop = yield* this.#walkOn(last)
      if (last.end >= end || stop !== k.STOP_FOOTER) return
      if (!(yield* this.#openNext(last.end))) return
    }
  }

  *#walkOn(segment: Segment): Procedure<number> {
    const state = this.#states.get(segment)
    if (state === undefined) throw new Error('the segment is not followed')
    segment.pins++
    try {
      yield* segment.open(this.environment.kernels, this.logId)
      const { size } = yield* io.stat(segment.fd, segment.path)
      const result = yield* walk(segment, state, size, INDEX_INTERVAL)
      for (let i = 0; i < result.entries.length; i += k.ENTRY_WIDTH) {
        segment.index?.add(result.entries[i], result.entries[i + 1], result.entries[i + 2], result.entries[i + 3])
      }
      segment.end = state[k.STATE_NEXT_OFFSET]
      segment.endPosition = state[k.STATE_POSITION]
      return result.stop === k.STOP_FOOTER && result.stopPosition === state[k.STATE_POSITION]
        ? k.STOP_FOOTER
        : result.stop === k.STOP_FOOTER
          ? k.STOP_ORDER
          : result.stop
    } finally {
      segment.pins--
    }
  }

  /** Base of the segment that holds the start, which may lie inside it. */
  *#firstBase(): Procedure<number> {
    const names = ((yield* io.list(path.join(this.directory, SEGMENTS_DIRECTORY))) ?? []).map(parseSegmentFile)
    let first = -1
    for (const name of names) if (name?.generation === 0 && name.base <= this.startOffset) first = Math.max(first, name.base)
    return first < 0 ? this.startOffset : first
  }

  /** The segment that begins at `base`, if the writer has begun it. */
  *#openNext(base: number): Procedure<boolean> {
    const segment = new Segment(this.directory, base, 0, base, SEGMENT_HEADER_BYTES, false)
    if ((yield* io.statPath(segment.path)) === undefined) return false
    yield* this.#followSegment(segment)
    return true
  }

  *#followSegment(segment: Segment): Procedure<void> {
    segment.pins++
    try {
      yield* segment.open(this.environment.kernels, this.logId)
    } finally {
      segment.pins--
    }
    if (segment.header === undefined) throw new Error('the segment is not open')
    segment.index = new OffsetIndex(segment.base)
    this.#states.set(segment, startState(segment.header, segment.fd, INDEX_INTERVAL))
    this.environment.touch(segment)
    this.segments.push(segment)
  }

  /** Starts anew from MANIFEST: first open, another epoch, files that went away. Segments that are still the same stay open. */
  *#reload(): Procedure<void> {
    const { kernels } = this.environment
    const manifest = yield* Manifest.load(this.directory, kernels)
    if (manifest === undefined) throw new LogError('ERR_SEALOG_NOT_FOUND', `the log in ${this.directory} is gone`, { file: this.directory })
    const sameEpoch = manifest.state.epoch === this.epoch
    this.#manifest = manifest
    const old = this.segments.all
    const closed = manifest.state.closed.map(
      (facts) => old.find((segment) => segment.closed && isSegmentOf(segment, facts)) ?? closedSegment(this.directory, facts, this.archiveDirectory),
    )
    for (const segment of old) if (!closed.includes(segment)) yield* this.#retire(segment)
    this.segments.reset(closed)
    this.#alive = yield* isWriterAlive(this.directory)
    this.#lastAliveCheck = Date.now()
    const slots = yield* readCommitted(this.directory, this.#logSeed, this.environment.kernels)
    const valid = slots.committed !== undefined && slots.committed.epoch === this.epoch
    if (!sameEpoch || !valid) this.#committed = Math.min(this.#committed, closed.at(-1)?.end ?? this.startOffset)
    if (this.#alive && valid && slots.committed !== undefined) {
      yield* this.#walkTo(slots.committed.end)
      this.#setEnds(Math.min(slots.committed.end, this.#walkedEnd()), slots.durable)
      return
    }
    yield* this.#recoverInMemory(slots.durable)
    this.#setEnds(this.#walkedEnd(), slots.durable)
  }

  /** No writer tells the end: judge the tail as recovery would, writing nothing. Rot refuses. */
  *#recoverInMemory(durable: EndSlot | undefined): Procedure<void> {
    const closed = this.#manifest.state.closed.at(-1)
    const from = closed?.end ?? 0
    const names = ((yield* io.list(path.join(this.directory, SEGMENTS_DIRECTORY))) ?? []).map(parseSegmentFile)
    const unclosed = names
      .filter((name) => name !== undefined)
      .filter((name) => name.generation === 0 && name.base >= from)
      .sort((a, b) => a.base - b.base)
      .map((name) => new Segment(this.directory, name.base, 0, name.base, SEGMENT_HEADER_BYTES, false))
    const context = {
      directory: this.directory,
      kernels: this.environment.kernels,
      logId: this.logId,
      intervalBytes: INDEX_INTERVAL,
      // A live writer may be about to write what the slot tells of.
      durable: !this.#alive && durable !== undefined && durable.epoch === this.epoch ? durable : undefined,
      evict: false,
    }
    const tail = yield* readTail(context, unclosed, constants.O_RDONLY, closed === undefined ? undefined : { chain: closed.linkChain, end: closed.end })
    for (const segment of tail.cut) yield* segment.release()
    if (tail.damage?.rot !== undefined && !this.#alive) {
      for (const part of tail.parts) yield* part.segment.release()
      throw damageError(tail.damage)
    }
    for (const part of tail.parts) {
      this.#states.set(part.segment, part.state)
      this.environment.touch(part.segment)
      this.segments.push(part.segment)
    }
  }

  *#retire(segment: Segment): Procedure<void> {
    this.#states.delete(segment)
    segment.retired = true
    this.environment.forget(segment)
    yield* segment.release()
  }

  // ── being woken ────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal Watches COMMITTED, with polling as fallback, while anybody waits. */
  override changed(keepAlive: boolean): { readonly promise: Promise<void>; cancel(): void } {
    const change = this.#changes.next()
    if (keepAlive) this.#keepAlive++
    this.#watch()
    return {
      promise: change.promise,
      cancel: () => {
        change.cancel()
        if (keepAlive) this.#keepAlive--
        this.#watch()
      },
    }
  }

  #watch(): void {
    this.#watching.update((this.#changes.waiting > 0 || this.#keepAlive > 0) && !this.#closed, this.#keepAlive > 0)
  }

  /** Ends followers and lets the files go. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#changes.notify()
    this.#watch()
    await this.#refreshing?.catch(() => {})
    await this.environment.runner.run(this.#letGo())
  }

  closeSync(): void {
    if (this.#closed) return
    this.#closed = true
    this.#changes.notify()
    this.#watch()
    this.environment.runner.runSync(this.#letGo())
  }

  *#letGo(): Procedure<void> {
    this.#chunks.forget(() => true)
    for (const segment of this.segments.all) yield* this.#retire(segment)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
