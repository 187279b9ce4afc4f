import { performance } from 'node:perf_hooks'
import { CacheSweeper } from '../cache/cache-sweeper.js'
import { LogError } from '../errors.js'
import { FRAME_HEADER_BYTES, frameBytes } from '../format/constants.js'
import { createKernels } from '../kernels/backend.js'
import * as k from '../kernels/kernels.js'
import { TaskRunner } from '../kernels/task.js'
import { DEFAULT_ENVIRONMENT, type EnvironmentOptions, resolveEnvironment } from '../options.js'
import { ChunkPool } from '../sealing/chunk-pool.js'
import { Slots } from '../sealing/slots.js'
import { ArchivedBlocks } from '../segment/archived-blocks.js'
import type { Segment } from '../segment/segment.js'
import { copyInto } from './copy-bytes.js'

const STAGING_BYTES = 256 * 1024
/**
 * Waiting records beyond these make groups no larger, only older: they leave the processor's cache before they are written, and the promises of so
 * many appends leave the young generation before they resolve.
 */
const HIGH_WATER_BYTES = 4 * 1024 * 1024
const TICK_MS = 100

/** The half of a log that listens to the committer. All calls come on the loop thread, in the order in which things happened. */
export interface CommitListener {
  committed(committedOffset: number, durableOffset: number, position: number, releasedBytes: number, groups: number, syncs: number): void
  indexed(offset: number, position: number, batchFirst: number, runningTime: number): void
  failed(errno: number, operation: number, position: number): void
  rejected(errno: number, nextOffset: number): void
  needSegment(bytes: number): void
  /** The process ends: write what was accepted, do not sync. */
  exiting(): void
}

/** What wants to be called about every TICK_MS while it has something to do. */
export interface Ticker {
  /** `now` as by `performance.now()`. false: it need not be called any more. */
  tick(now: number): boolean
}

/**
 * All that the logs of one thread of JavaScript share: kernels, staging slab, queue budget, descriptors, one timer.
 * One per backend; `auto` resolves to one of the two.
 */
export class Environment {
  readonly kernels: k.Kernels
  readonly runner: TaskRunner
  readonly cacheSweeper: CacheSweeper
  readonly queueLimit: number
  readonly highWaterMark: number
  /** Frame bytes accepted and not yet written, over all logs. */
  queuedBytes = 0
  /** Counts calls of `submit`: records accepted under one number went to the committer in one turn. */
  submits = 0
  /** How many chunks are sealed at a time. */
  readonly sealing: Slots
  /** One pass of compaction at a time. */
  readonly compacting = new Slots(1)
  readonly chunkPool: ChunkPool
  readonly archivedBlocks: ArchivedBlocks
  readonly #staging: Uint8Array
  readonly #text: Buffer
  readonly #copyOut: Buffer
  readonly #rows: Float64Array
  readonly #events: Float64Array
  #stagedRows = 0
  /** Where the frame of the next record begins in `#staging`. */
  #stagingAt = 0
  #submitScheduled = false
  #now = 0
  readonly #listeners = new Map<k.LogHandle, CommitListener>()
  readonly #drainWaiters: Array<() => void> = []
  #waiting = 0
  #busy = false
  #referenced = false
  readonly #tickers = new Set<Ticker>()
  #timer: NodeJS.Timeout | undefined
  readonly #openSegments = new Set<Segment>()
  readonly #maxOpenFiles: number
  #useClock = 0

  constructor(backend: 'auto' | k.Backend, options: Required<EnvironmentOptions>) {
    this.kernels = createKernels(backend, { ...options, stagingBytes: STAGING_BYTES }, this.#wake)
    this.cacheSweeper = new CacheSweeper(this.kernels, (ticker) => this.addTicker(ticker))
    this.queueLimit = options.queueBytes
    this.highWaterMark = Math.min(Math.floor(options.queueBytes / 4), HIGH_WATER_BYTES)
    this.#maxOpenFiles = options.maxOpenFiles
    this.sealing = new Slots(options.sealThreads)
    this.chunkPool = new ChunkPool(Math.max(1, Math.floor(options.maxOpenFiles / 8)))
    this.archivedBlocks = new ArchivedBlocks(this.kernels)
    const { staging, rows, events, copyOut } = this.kernels.shared
    this.#staging = staging
    this.#text = Buffer.from(staging.buffer, staging.byteOffset, staging.byteLength)
    this.#copyOut = Buffer.from(copyOut.buffer, copyOut.byteOffset, copyOut.byteLength)
    this.#rows = rows
    this.#events = events
    this.runner = new TaskRunner(this.kernels, (busy) => {
      this.#busy = busy
      this.#updateReference()
    })
    process.on('exit', this.#exit)
  }

  // ── staging ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Bytes that a staged body may have; larger ones go by `stageLarge`. */
  get stagingBytes(): number {
    return STAGING_BYTES - FRAME_HEADER_BYTES
  }

  /** ms since the epoch, read once per submit. */
  now(): number {
    if (this.#now === 0) this.#now = Date.now()
    return this.#now
  }

  stageBytes(log: k.LogHandle, value: Uint8Array, meta: number, timestamp: number): void {
    const length = value.length
    const at = this.#room(length)
    this.#staging.set(value, at)
    this.#row(log, length, meta, timestamp)
  }

  stageKeyed(log: k.LogHandle, key: Uint8Array, keyLength: number, value: Uint8Array, meta: number, timestamp: number): void {
    const length = 2 + keyLength + value.length
    const at = this.#room(length)
    this.#stageKey(at, key, keyLength)
    this.#staging.set(value, at + 2 + keyLength)
    this.#row(log, length, meta, timestamp)
  }

  #stageKey(at: number, key: Uint8Array, keyLength: number): void {
    this.#staging[at] = keyLength & 255
    this.#staging[at + 1] = keyLength >>> 8
    copyInto(this.#staging, at + 2, key, keyLength)
  }

  /** As `encodeText`, with a key before it; the length is that of both. */
  encodeKeyedText(key: Uint8Array, keyLength: number, text: string): number {
    const at = this.#room(2 + keyLength + text.length * 3)
    this.#stageKey(at, key, keyLength)
    return 2 + keyLength + this.#text.write(text, at + 2 + keyLength, 'utf8')
  }

  /** Encodes `text` at the end of the staged bytes and returns its length in bytes; nothing is staged until `stageEncoded`. */
  encodeText(text: string): number {
    const at = this.#room(text.length * 3)
    return this.#text.write(text, at, 'utf8')
  }

  stageEncoded(log: k.LogHandle, length: number, meta: number, timestamp: number): void {
    this.#row(log, length, meta, timestamp)
  }

  stageLarge(log: k.LogHandle, key: Uint8Array | undefined, value: Uint8Array, meta: number, timestamp: number): void {
    this.submit()
    this.kernels.submitLarge(log, meta, timestamp, key, value)
    this.queuedBytes += frameBytes((key === undefined ? 0 : 2 + key.length) + value.length)
    this.#scheduleSubmit()
  }

  /** Text in `Shared.copyOut`. */
  textOut(start: number, end: number): string {
    return this.#copyOut.toString('utf8', start, end)
  }

  /** Hands staged records to the committer; those of `held` wait for its `commitSync`, which must follow at once. */
  submit(held: k.LogHandle = 0): void {
    const rows = this.#stagedRows
    this.#now = 0
    this.submits++
    if (rows === 0) return
    this.#stagedRows = 0
    this.#stagingAt = 0
    this.kernels.submit(rows, held)
  }

  /** Where in `#staging` the next body goes, of `bytes` bytes at most. */
  #room(bytes: number): number {
    if (this.#stagingAt + frameBytes(bytes) > STAGING_BYTES || this.#stagedRows === k.STAGED_ROWS) this.submit()
    return this.#stagingAt + FRAME_HEADER_BYTES
  }

  #row(log: k.LogHandle, length: number, meta: number, timestamp: number): void {
    const rows = this.#rows
    const at = this.#stagedRows * k.STAGED_WIDTH
    rows[at] = log
    rows[at + 1] = length
    rows[at + 2] = meta
    rows[at + 3] = timestamp
    this.#stagedRows++
    const bytes = frameBytes(length)
    this.#stagingAt += bytes
    this.queuedBytes += bytes
    this.#scheduleSubmit()
  }

  #scheduleSubmit(): void {
    if (this.#submitScheduled) return
    this.#submitScheduled = true
    process.nextTick(this.#submitTick)
  }

  readonly #submitTick = (): void => {
    this.#submitScheduled = false
    this.submit()
  }

  // ── completion ─────────────────────────────────────────────────────────────────────────────────────────────────

  listen(log: k.LogHandle, listener: CommitListener): void {
    this.#listeners.set(log, listener)
  }

  unlisten(log: k.LogHandle): void {
    this.#listeners.delete(log)
  }

  readonly #wake = (rows: number): void => {
    const events = this.#events
    for (let i = 0, at = 0; i < rows; i++, at += k.EVENT_WIDTH) {
      if (events[at] === k.EVENT_DONE) {
        this.runner.done(events[at + 1], events[at + 2], events[at + 3])
        continue
      }
      const listener = this.#listeners.get(events[at + 1])
      if (listener === undefined) continue
      switch (events[at]) {
        case k.EVENT_COMMITTED:
          listener.committed(events[at + 2], events[at + 3], events[at + 4], events[at + 5], events[at + 6], events[at + 7])
          break
        case k.EVENT_INDEX:
          listener.indexed(events[at + 2], events[at + 3], events[at + 4], events[at + 5])
          break
        case k.EVENT_FAILED:
          listener.failed(events[at + 2], events[at + 3], events[at + 4])
          break
        case k.EVENT_REJECTED:
          listener.rejected(events[at + 2], events[at + 3])
          break
        case k.EVENT_NEED_SEGMENT:
          listener.needSegment(events[at + 3])
          break
      }
    }
    this.#wakeDrainWaiters()
  }

  /** Releases queue budget. */
  release(bytes: number): void {
    this.queuedBytes -= bytes
  }

  drain(): Promise<void> {
    this.submit()
    if (this.queuedBytes <= this.highWaterMark) return Promise.resolve()
    this.wait()
    return new Promise((resolve) => {
      this.#drainWaiters.push(() => {
        this.unwait()
        resolve()
      })
    })
  }

  #wakeDrainWaiters(): void {
    if (this.#drainWaiters.length === 0 || this.queuedBytes > this.highWaterMark / 2) return
    for (const resolve of this.#drainWaiters.splice(0)) resolve()
  }

  // ── keeping the process alive ──────────────────────────────────────────────────────────────────────────────────

  /** Somebody waits for a commit; the event loop stays alive until `unwait`. */
  wait(): void {
    if (this.#waiting++ === 0) this.#updateReference()
  }

  unwait(): void {
    if (--this.#waiting === 0) this.#updateReference()
  }

  #updateReference(): void {
    const wanted = this.#waiting > 0 || this.#busy
    if (wanted === this.#referenced) return
    this.#referenced = wanted
    if (wanted) this.kernels.ref()
    else this.kernels.unref()
  }

  readonly #exit = (): void => {
    for (const listener of this.#listeners.values()) listener.exiting()
  }

  // ── the one timer ──────────────────────────────────────────────────────────────────────────────────────────────

  addTicker(ticker: Ticker): void {
    this.#tickers.add(ticker)
    if (this.#timer === undefined) {
      this.#timer = setInterval(this.#onTick, TICK_MS)
      this.#timer.unref()
    }
  }

  removeTicker(ticker: Ticker): void {
    this.#tickers.delete(ticker)
    this.#stopTimer()
  }

  readonly #onTick = (): void => {
    const now = performance.now()
    for (const ticker of this.#tickers) if (!ticker.tick(now)) this.#tickers.delete(ticker)
    this.#stopTimer()
  }

  #stopTimer(): void {
    if (this.#tickers.size > 0 || this.#timer === undefined) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  // ── descriptors ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Notes that an open segment was used; closes the least recently used ones beyond `maxOpenFiles`. */
  touch(segment: Segment): void {
    segment.lastUse = ++this.#useClock
    if (this.#openSegments.has(segment)) return
    this.#openSegments.add(segment)
    if (this.#openSegments.size > this.#maxOpenFiles) this.#closeOldest()
  }

  forget(segment: Segment): void {
    this.#openSegments.delete(segment)
  }

  get openFiles(): number {
    return this.#openSegments.size
  }

  #closeOldest(): void {
    const unused = [...this.#openSegments].filter((segment) => segment.pins === 0).sort((a, b) => a.lastUse - b.lastUse)
    const surplus = this.#openSegments.size - Math.floor(this.#maxOpenFiles * 0.9)
    for (const segment of unused.slice(0, surplus)) {
      if (segment.lastUse === this.#useClock) continue
      this.#openSegments.delete(segment)
      void this.runner.run(segment.release())
    }
  }
}

let configured: Required<EnvironmentOptions> | undefined
const environments = new Map<k.Backend, Environment>()

/**
 * Sets the budgets of this thread of JavaScript; once, before the first log is opened in it.
 * Throws ERR_SEALOG_CONFIGURED afterwards, ERR_SEALOG_OPTION for options that are unknown or out of range.
 */
export function configure(options: EnvironmentOptions): void {
  const resolved = resolveEnvironment(options)
  if (configured !== undefined) throw new LogError('ERR_SEALOG_CONFIGURED', 'configure() must be called once, before the first log is opened in this thread')
  configured = resolved
}

export function environmentFor(backend: 'auto' | k.Backend): Environment {
  configured ??= { ...DEFAULT_ENVIRONMENT }
  const existing = backend === 'auto' ? (environments.get('native') ?? environments.get('js')) : environments.get(backend)
  if (existing !== undefined && (backend !== 'auto' || existing.kernels.backend === 'native' || autoIsJs)) return existing
  const environment = new Environment(backend, configured)
  if (backend === 'auto' && environment.kernels.backend === 'js') autoIsJs = true
  environments.set(environment.kernels.backend, environment)
  return environment
}

let autoIsJs = false
