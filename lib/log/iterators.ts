import type { TailCache } from '../cache/tail-cache.js'
import { argumentError, ChecksumError, LogError, OffsetTruncatedError } from '../errors.js'
import type { Procedure } from '../kernels/procedure.js'
import type { TaskRunner } from '../kernels/task.js'
import { type CodecName, checkNames, integer } from '../options.js'
import type { Segment } from '../segment/segment.js'
import type { SegmentSet } from '../segment/segment-set.js'
import { BlockRequest, isGone } from './read-block.js'
import { ReadReport } from './read-telemetry.js'
import type { Record } from './record.js'
import type { RecordBatch } from './record-batch.js'

export interface BatchOptions {
  /** First offset, inclusive. Default: startOffset. */
  from?: number
  /** End, exclusive. Default: the committed end at each step. */
  to?: number
  /** Bytes of a block as it lies on disk. Default 2 MiB. */
  maxBytes?: number
  /** At the end, wait for more. Default false. */
  follow?: boolean
  /** Ends the iteration with `signal.reason`. */
  signal?: AbortSignal
  /** A waiting follower keeps the process alive. Default true. */
  ref?: boolean
  /**
   * Blocks are read into two buffers in turn, which saves memory and time: a batch and all views of it are valid until the next one is asked for, then they change.
   * Default false: they are valid as long as they are held. `read` does so by itself: its records have bytes of their own.
   */
  reuseBuffers?: boolean
}

export interface ReadOptions extends BatchOptions {
  /** Most records. Default: no limit. */
  limit?: number
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ReadOptions>(['from', 'to', 'maxBytes', 'follow', 'signal', 'ref', 'reuseBuffers', 'limit'])
const FIRST_BLOCK = 64 * 1024
const DEFAULT_BLOCK = 2 * 1024 * 1024
const BLOCKS_BEFORE_READ_AHEAD = 3
const MAX_ROWS = 16 * 1024

/** What iteration needs of a log. */
export interface BatchSource {
  readonly directory: string
  readonly environment: { readonly runner: TaskRunner }
  readonly segments: SegmentSet
  readonly startOffset: number
  readonly committedOffset: number
  readonly acceptedOffset: number
  readonly epoch: number
  readonly codec: CodecName
  readonly closed: boolean
  readonly tail: TailCache | undefined
  checkOpen(): void
  checkLost(offset: number): void
  catchUp(offset: number): Promise<void>
  recheck(): Promise<boolean>
  changed(keepAlive: boolean): { readonly promise: Promise<void>; cancel(): void }
  block(segment: Segment, offset: number, request: BlockRequest): Procedure<void>
  cachedBlock(offset: number, request: BlockRequest): RecordBatch<unknown> | undefined
}

/** Blocks of a log, in order. Hand-written: `return()` settles a waiting `next()` at once, which an async generator cannot. */
export class BatchIterator<T> implements AsyncIterableIterator<RecordBatch<T>> {
  readonly #view: BatchSource
  readonly #request: BlockRequest
  readonly #maxBytes: number
  readonly #to: number
  readonly #follow: boolean
  readonly #signal: AbortSignal | undefined
  readonly #keepAlive: boolean
  readonly #epoch: number
  #offset: number
  #done = false
  #stopWaiting: (() => void) | undefined
  #blocks = 0
  #ahead: { readonly segment: Segment; readonly offset: number; readonly done: Promise<void> } | undefined
  #tail: Promise<unknown> = Promise.resolve()

  constructor(view: BatchSource, options: BatchOptions) {
    checkNames(options, OPTION_NAMES, 'read')
    view.checkOpen()
    this.#view = view
    this.#offset = offsetOption(options.from, 'from', view.startOffset)
    this.#to = offsetOption(options.to, 'to', Number.POSITIVE_INFINITY)
    this.#maxBytes = integer(options.maxBytes, 'maxBytes', 1, 2 ** 30, DEFAULT_BLOCK)
    this.#follow = options.follow === true
    this.#signal = options.signal
    this.#keepAlive = options.ref !== false
    this.#epoch = view.epoch
    const rows = Math.min(MAX_ROWS, Math.max(64, Math.ceil(this.#maxBytes / 64)))
    this.#request = new BlockRequest(view.codec, Math.min(FIRST_BLOCK, this.#maxBytes), rows, options.reuseBuffers === true)
    if (this.#offset < view.startOffset) throw new OffsetTruncatedError(this.#offset, view.startOffset)
    if (this.#offset > view.acceptedOffset) {
      throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${this.#offset} lies past the end ${view.acceptedOffset}`, {
        offset: this.#offset,
        endOffset: view.acceptedOffset,
      })
    }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Calls queue up: each settles after the one before it. */
  next(): Promise<IteratorResult<RecordBatch<T>>> {
    const step = this.#tail.then(() => this.#next())
    this.#tail = step.catch(() => {})
    return step
  }

  return(): Promise<IteratorResult<RecordBatch<T>>> {
    this.#end()
    return Promise.resolve({ done: true, value: undefined })
  }

  throw(error?: unknown): Promise<IteratorResult<RecordBatch<T>>> {
    this.#end()
    return Promise.reject(error)
  }

  async #next(): Promise<IteratorResult<RecordBatch<T>>> {
    try {
      // The file that was found gone or damaged, until something was read: a writer may replace one after the other.
      for (let rechecked: string | undefined; ; ) {
        if (this.#done) return { done: true, value: undefined }
        if (this.#signal?.aborted) throw this.#signal.reason
        const view = this.#view
        if (view.closed) return this.#finish()
        if (view.epoch !== this.#epoch) {
          throw new LogError(
            'ERR_SEALOG_EPOCH',
            `records were cut since this read began (epoch ${this.#epoch}, now ${view.epoch}); begin again at or below ${view.committedOffset}`,
            {
              epoch: view.epoch,
              endOffset: view.committedOffset,
            },
          )
        }
        if (this.#offset >= this.#to) return this.#finish()
        if (this.#offset < view.startOffset) throw new OffsetTruncatedError(this.#offset, view.startOffset)
        if (this.#offset >= view.committedOffset) {
          await view.catchUp(this.#offset)
          if (this.#offset < view.committedOffset || view.epoch !== this.#epoch) continue
          if (!this.#follow) return this.#finish()
          await this.#wait()
          continue
        }
        view.checkLost(this.#offset)
        const segment = view.segments.find(this.#offset)
        try {
          const batch = this.#readCached() ?? (await this.#read())
          rechecked = undefined
          if (batch !== undefined) return this.#done ? { done: true, value: undefined } : { done: false, value: batch }
        } catch (error) {
          if (segment === undefined || segment.path === rechecked || !(error instanceof ChecksumError || isGone(error))) throw error
          if (view.segments.find(this.#offset) === segment) {
            if (!(await view.recheck())) throw error
            rechecked = segment.path
          }
          this.#request.resume = undefined
        }
      }
    } catch (error) {
      if (ReadReport.wanted) new ReadReport(this.#view.directory, 'block').failed(error)
      this.#end()
      throw error
    }
  }

  /** The next block when it is in memory. What is read ahead already is not asked for again. */
  #readCached(): RecordBatch<T> | undefined {
    const { tail } = this.#view
    if (tail === undefined) return undefined
    if (this.#ahead !== undefined) {
      tail.miss()
      return undefined
    }
    const report = ReadReport.wanted ? new ReadReport(this.#view.directory, 'block') : undefined
    const request = this.#request
    request.limit = Math.min(this.#to, this.#view.committedOffset)
    const batch = this.#view.cachedBlock(this.#offset, request) as RecordBatch<T> | undefined
    if (batch === undefined) return undefined
    request.maxBytes = Math.min(request.maxBytes * 4, this.#maxBytes)
    this.#offset = batch.nextOffset
    if (report !== undefined) {
      report.cached = true
      report.done(batch.length)
    }
    return batch
  }

  /** The next block; undefined when it was the end of a segment and the next call goes on behind it. */
  async #read(): Promise<RecordBatch<T> | undefined> {
    const view = this.#view
    const segment = view.segments.find(this.#offset)
    if (segment === undefined) throw new OffsetTruncatedError(this.#offset, view.startOffset)
    const request = this.#request
    const report = ReadReport.wanted ? new ReadReport(view.directory, 'block') : undefined
    await this.#block(segment)
    request.maxBytes = Math.min(request.maxBytes * 4, this.#maxBytes)
    const batch = request.result as RecordBatch<T> | undefined
    if (batch !== undefined) {
      this.#offset = batch.nextOffset
      report?.done(batch.length)
      if (++this.#blocks >= BLOCKS_BEFORE_READ_AHEAD) this.#readAhead(segment)
      return batch
    }
    const next = view.segments.after(segment)
    if (next !== undefined && !segment.sparse && this.#offset < segment.end)
      throw new ChecksumError(segment.path, segment.endPosition, this.#offset, 'the records are missing')
    if (next !== undefined) this.#offset = Math.max(this.#offset, next.base)
    else if (this.#offset < view.committedOffset && segment.sparse) this.#offset = Math.min(segment.end, view.committedOffset)
    else if (this.#offset < view.committedOffset && !(await view.recheck()))
      throw new ChecksumError(segment.path, segment.endPosition, this.#offset, 'the records are missing')
    return undefined
  }

  /** Has the block at the present offset read, or waits for it when it is being read already. */
  async #block(segment: Segment): Promise<void> {
    const ahead = this.#ahead
    this.#ahead = undefined
    if (ahead !== undefined) {
      if (ahead.segment === segment && ahead.offset === this.#offset) return ahead.done
      await ahead.done.catch(() => {})
    }
    await this.#start(segment)
  }

  #start(segment: Segment): Promise<void> {
    this.#request.limit = Math.min(this.#to, this.#view.committedOffset)
    return this.#view.environment.runner.run(this.#view.block(segment, this.#offset, this.#request))
  }

  /** A long read has its next block read while the present one is used. */
  #readAhead(segment: Segment): void {
    const { tail, committedOffset } = this.#view
    if (this.#done || segment.retired || this.#offset >= Math.min(this.#to, committedOffset, segment.end) || tail?.holds(this.#offset, committedOffset)) return
    const done = this.#start(segment)
    done.catch(() => {})
    this.#ahead = { segment, offset: this.#offset, done }
  }

  async #wait(): Promise<void> {
    // Either may have happened while the last look at the log was under way, when nobody listened.
    if (this.#done || this.#signal?.aborted) return
    const waiting = this.#view.changed(this.#keepAlive)
    let stop = () => {}
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    this.#stopWaiting = stop
    this.#signal?.addEventListener('abort', stop)
    try {
      await Promise.race([waiting.promise, stopped])
    } finally {
      this.#signal?.removeEventListener('abort', stop)
      this.#stopWaiting = undefined
      waiting.cancel()
    }
  }

  #finish(): IteratorResult<RecordBatch<T>> {
    this.#end()
    return { done: true, value: undefined }
  }

  #end(): void {
    this.#done = true
    this.#request.resume = undefined
    this.#stopWaiting?.()
  }
}

/** Record by record, over blocks. */
export class RecordIterator<T> implements AsyncIterableIterator<Record<T>> {
  readonly #batches: AsyncIterableIterator<RecordBatch<T>>
  #batch: RecordBatch<T> | undefined
  #at = 0
  #left: number
  #loading: Promise<void> | undefined

  constructor(batches: AsyncIterableIterator<RecordBatch<T>>, limit: number | undefined) {
    this.#batches = batches
    this.#left = limit === undefined ? Number.POSITIVE_INFINITY : integer(limit, 'limit', 0, Number.MAX_SAFE_INTEGER, 0)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Record<T>>> {
    if (this.#loading === undefined && this.#batch !== undefined && this.#at < this.#batch.length && this.#left > 0) return Promise.resolve(this.#take())
    return this.#nextSlow()
  }

  async return(): Promise<IteratorResult<Record<T>>> {
    this.#left = 0
    this.#batch = undefined
    await this.#batches.return?.()
    return { done: true, value: undefined }
  }

  async throw(error?: unknown): Promise<IteratorResult<Record<T>>> {
    await this.return()
    throw error
  }

  async #nextSlow(): Promise<IteratorResult<Record<T>>> {
    for (;;) {
      while (this.#loading !== undefined) await this.#loading
      if (this.#left <= 0) return this.return()
      if (this.#batch !== undefined && this.#at < this.#batch.length) return this.#take()
      let loaded = () => {}
      this.#loading = new Promise((resolve) => {
        loaded = resolve
      })
      try {
        const step = await this.#batches.next()
        if (step.done === true) {
          this.#left = 0
          return { done: true, value: undefined }
        }
        this.#batch = step.value
        this.#at = 0
      } finally {
        this.#loading = undefined
        loaded()
      }
    }
  }

  #take(): IteratorResult<Record<T>> {
    this.#left--
    return { done: false, value: (this.#batch as RecordBatch<T>).record(this.#at++) }
  }
}

function offsetOption(value: number | undefined, field: string, fallback: number): number {
  if (value === undefined) return fallback
  if (!Number.isSafeInteger(value) || value < 0) throw argumentError(field, value, 'an integer from 0 to 2^53 − 1')
  return value
}
