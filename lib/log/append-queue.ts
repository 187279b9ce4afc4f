import { performance } from 'node:perf_hooks'
import { LogError, type LogErrorCode } from '../errors.js'
import { FLAG_BATCH_CONTINUES, FLAG_KEY, FRAME_RECORD, FRAME_TOMBSTONE, frameBytes, OFFSET_LIMIT } from '../format/constants.js'
import * as k from '../kernels/kernels.js'
import { systemError } from '../kernels/system-error.js'
import type { Durability } from '../options.js'
import { commitDone, operationError } from '../telemetry/channels.js'
import { AcceptTimes } from './accept-times.js'
import type { Environment } from './environment.js'

/** A record as it will be framed. */
export interface EncodedRecord {
  readonly key: Uint8Array | undefined
  readonly value: Uint8Array
  readonly tombstone: boolean
  readonly timestamp: number | undefined
}

const RECORD_META = FRAME_RECORD
const KEYED_META = FRAME_RECORD | (FLAG_KEY << 8)
const TOMBSTONE_META = FRAME_TOMBSTONE | (FLAG_KEY << 8)
export const MODES: Readonly<Record<Durability, number>> = { fsync: k.MODE_FSYNC, flush: k.MODE_FLUSH, none: k.MODE_NONE }

/** Hears of records that are accepted after a pause. */
export interface ActivityListener {
  active(): void
}

class Waiter {
  constructor(
    readonly offset: number,
    readonly resolve: (offset: number) => void,
    readonly reject: (error: unknown) => void,
  ) {}
}

/**
 * Acceptance and acknowledgement: gives out offsets, stages records, and resolves promises when the committer reports.
 * Watermarks move on the loop thread only. `endOffset ≥ committedOffset, durableOffset`, all exclusive.
 */
export class AppendQueue {
  readonly log: k.LogHandle
  readonly directory: string
  readonly #environment: Environment
  endOffset: number
  committedOffset: number
  durableOffset: number
  /** Set once a write or sync failed. */
  failure: LogError | undefined
  #failureCause: unknown
  /** Frame bytes of this log that wait. */
  queuedBytes = 0
  groups = 0
  syncs = 0
  /** Frame bytes of the records that were committed. */
  committedBytes = 0
  /** performance.now() of the last commit. */
  lastCommit = 0
  #lastTimestamp: number
  readonly #committed: Waiter[] = []
  #committedHead = 0
  readonly #durable: Waiter[] = []
  /** Only while somebody listens to 'sealog:commit'. */
  #acceptTimes: AcceptTimes | undefined
  #groupsTold = 0
  #syncsTold = 0
  readonly #listener: ActivityListener
  #active = false

  constructor(environment: Environment, directory: string, mode: Durability, end: number, runningTime: number, listener: ActivityListener) {
    this.#environment = environment
    this.#listener = listener
    this.directory = directory
    this.log = environment.kernels.createLog(MODES[mode], mode === 'none' ? 64 * 1024 : 0)
    this.endOffset = end
    this.committedOffset = end
    this.durableOffset = end
    // A user's own timestamp far in the future must not hold up the clock for ever.
    this.#lastTimestamp = runningTime > Date.now() + 86_400_000 ? 0 : Math.max(0, runningTime)
  }

  /** Timestamps given by sealog never decrease. */
  #now(): number {
    const now = this.#environment.now()
    if (now > this.#lastTimestamp) this.#lastTimestamp = now
    return this.#lastTimestamp
  }

  #accept(bytes: number): number {
    const offset = this.endOffset
    this.endOffset = offset + 1
    this.queuedBytes += bytes
    if (commitDone.hasSubscribers) this.#noteAccepted(offset)
    if (!this.#active) {
      this.#active = true
      this.#listener.active()
    }
    return offset
  }

  #noteAccepted(offset: number): void {
    if (this.#acceptTimes === undefined) {
      this.#acceptTimes = new AcceptTimes()
      this.#groupsTold = this.groups
      this.#syncsTold = this.syncs
    }
    this.#acceptTimes.add(offset, this.#environment.submits)
  }

  /** Records accepted before anybody listened are told of together with the first ones whose time is known. */
  #tellCommitted(first: number): void {
    const accepted = this.#acceptTimes?.take(first, this.committedOffset)
    if (!commitDone.hasSubscribers) {
      this.#acceptTimes = undefined
    } else if (accepted !== undefined) {
      commitDone.publish({
        log: this.directory,
        duration: (performance.now() - accepted) / 1000,
        records: this.committedOffset - first,
        groups: this.groups - this.#groupsTold,
        syncs: this.syncs - this.#syncsTold,
      })
      this.#groupsTold = this.groups
      this.#syncsTold = this.syncs
    }
  }

  #tellError(code: LogErrorCode): void {
    if (operationError.hasSubscribers) operationError.publish({ log: this.directory, operation: 'append', code })
  }

  /** The next acceptance is told to the listener again. */
  rest(): void {
    this.#active = false
  }

  ensureRoom(bytes: number, records: number): void {
    const environment = this.#environment
    if (environment.queuedBytes + bytes > environment.queueLimit) {
      this.#tellError('ERR_SEALOG_QUEUE_FULL')
      throw new LogError(
        'ERR_SEALOG_QUEUE_FULL',
        `${environment.queuedBytes} bytes wait to be written (queueBytes is ${environment.queueLimit}); await drain()`,
        { value: environment.queuedBytes },
      )
    }
    if (this.endOffset + records > OFFSET_LIMIT)
      throw new LogError('ERR_SEALOG_OFFSET_RANGE', 'the log is full: offsets end at 2^53 − 2', { endOffset: this.endOffset })
  }

  acceptBytes(value: Uint8Array, timestamp: number | undefined): number {
    this.ensureRoom(frameBytes(value.length), 1)
    return this.#stageValue(value, RECORD_META, timestamp === undefined ? this.#now() : timestamp)
  }

  /** Stages text that fits the slab; `limit` bytes at most, −1 when it is longer. */
  acceptText(text: string, timestamp: number | undefined, limit: number): number {
    this.ensureRoom(frameBytes(text.length), 1)
    const length = this.#environment.encodeText(text)
    if (length > limit) return -1
    const time = timestamp === undefined ? this.#now() : timestamp
    this.#environment.stageEncoded(this.log, length, RECORD_META, time)
    return this.#accept(frameBytes(length))
  }

  /** One record whose key is the first `keyLength` bytes of `key`; the value is checked. */
  acceptKeyed(key: Uint8Array, keyLength: number, value: Uint8Array, tombstone: boolean): number {
    const length = 2 + keyLength + value.length
    this.ensureRoom(frameBytes(length), 1)
    const meta = tombstone ? TOMBSTONE_META : KEYED_META
    if (length <= this.#environment.stagingBytes) this.#environment.stageKeyed(this.log, key, keyLength, value, meta, this.#now())
    else this.#environment.stageLarge(this.log, key.subarray(0, keyLength), value, meta, this.#now())
    return this.#accept(frameBytes(length))
  }

  /** The same for text that fits the slab with its key; `limit` bytes of it at most, −1 when it is longer. */
  acceptKeyedText(key: Uint8Array, keyLength: number, text: string, limit: number): number {
    this.ensureRoom(frameBytes(2 + keyLength + text.length), 1)
    const length = this.#environment.encodeKeyedText(key, keyLength, text)
    if (length - 2 - keyLength > limit) return -1
    this.#environment.stageEncoded(this.log, length, KEYED_META, this.#now())
    return this.#accept(frameBytes(length))
  }

  /** A batch of checked records, or values alone; contiguous offsets, the first is returned. */
  acceptBatch(records: readonly (EncodedRecord | Uint8Array)[], frameBytesOfAll: number): number {
    this.ensureRoom(frameBytesOfAll, records.length)
    const first = this.endOffset
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      const continues = i + 1 < records.length ? FLAG_BATCH_CONTINUES : 0
      if (record instanceof Uint8Array) {
        this.#stageValue(record, RECORD_META | (continues << 8), this.#now())
        continue
      }
      const { key, value, tombstone, timestamp } = record
      const flags = (key === undefined ? 0 : FLAG_KEY) | continues
      const meta = (tombstone ? FRAME_TOMBSTONE : FRAME_RECORD) | (flags << 8)
      const length = (key === undefined ? 0 : 2 + key.length) + value.length
      const time = timestamp === undefined ? this.#now() : timestamp
      if (key === undefined) {
        this.#stageValue(value, meta, time)
        continue
      }
      if (length > this.#environment.stagingBytes) this.#environment.stageLarge(this.log, key, value, meta, time)
      else this.#environment.stageKeyed(this.log, key, key.length, value, meta, time)
      this.#accept(frameBytes(length))
    }
    return first
  }

  #stageValue(value: Uint8Array, meta: number, timestamp: number): number {
    if (value.length <= this.#environment.stagingBytes) this.#environment.stageBytes(this.log, value, meta, timestamp)
    else this.#environment.stageLarge(this.log, undefined, value, meta, timestamp)
    return this.#accept(frameBytes(value.length))
  }

  // ── waiting ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Resolves to `offset` when it is committed. */
  whenCommitted(offset: number): Promise<number> {
    if (offset < this.committedOffset) return Promise.resolve(offset)
    return new Promise((resolve, reject) => {
      this.#environment.wait()
      insert(this.#committed, this.#committedHead, new Waiter(offset, resolve, reject))
    })
  }

  whenDurable(offset: number): Promise<number> {
    if (offset < this.durableOffset) return Promise.resolve(offset)
    return new Promise((resolve, reject) => {
      this.#environment.wait()
      insert(this.#durable, 0, new Waiter(offset, resolve, reject))
    })
  }

  /** COMMITTED row; true when the committed or the durable offset moved. */
  advance(committedOffset: number, durableOffset: number, releasedBytes: number, groups: number, syncs: number): boolean {
    const first = this.committedOffset
    const moved = committedOffset > first || durableOffset > this.durableOffset
    this.committedOffset = committedOffset
    this.durableOffset = durableOffset
    this.groups += groups
    this.syncs += syncs
    this.committedBytes += releasedBytes
    this.queuedBytes -= releasedBytes
    this.#environment.release(releasedBytes)
    this.lastCommit = performance.now()
    if (this.#acceptTimes !== undefined) this.#tellCommitted(first)
    const waiters = this.#committed
    let head = this.#committedHead
    while (head < waiters.length && waiters[head].offset < committedOffset) {
      const waiter = waiters[head++]
      this.#environment.unwait()
      waiter.resolve(waiter.offset)
    }
    if (head === waiters.length) {
      waiters.length = 0
      head = 0
    } else if (head > 4096 && head * 2 > waiters.length) {
      waiters.splice(0, head)
      head = 0
    }
    this.#committedHead = head
    while (this.#durable.length > 0 && this.#durable[0].offset < durableOffset) {
      const waiter = this.#durable.shift() as Waiter
      this.#environment.unwait()
      waiter.resolve(waiter.offset)
    }
    return moved
  }

  /** Poisons: every waiter and every later append gets an error of its own with the one cause. */
  fail(cause: unknown, what: string): void {
    if (this.failure !== undefined) return
    this.#failureCause = cause
    this.failure = new LogError('ERR_SEALOG_FAILED', what, { cause })
    this.#tellError('ERR_SEALOG_FAILED')
    this.#dropFrom(this.committedOffset, () => this.failureError())
  }

  failureError(): LogError {
    return new LogError('ERR_SEALOG_FAILED', this.failure?.message ?? 'the log failed', { cause: this.#failureCause })
  }

  /** Space could not be reserved: everything from `nextOffset` on is taken back; the log goes on. */
  reject(errno: number, nextOffset: number): void {
    this.#environment.submit()
    const cause = systemError(errno, 'fallocate')
    this.#tellError('ERR_SEALOG_NO_SPACE')
    this.#dropFrom(
      nextOffset,
      () =>
        new LogError('ERR_SEALOG_NO_SPACE', `no space for the records from offset ${nextOffset} on; nothing of them was written`, {
          cause,
          offset: nextOffset,
        }),
    )
    this.#environment.kernels.resume(this.log, nextOffset)
  }

  /** After a truncation or reopening: positions start anew. */
  restart(end: number): void {
    this.failure = undefined
    this.#failureCause = undefined
    this.endOffset = end
    this.committedOffset = end
    this.durableOffset = end
  }

  /** Rejects whoever still waits: the log closes without having written it. */
  abandon(makeError: () => unknown): void {
    this.#dropFrom(this.committedOffset, makeError)
  }

  #dropFrom(offset: number, makeError: () => unknown): void {
    this.#environment.release(this.queuedBytes)
    this.queuedBytes = 0
    this.#acceptTimes = undefined
    this.endOffset = Math.max(offset, this.committedOffset)
    const dropped = [...this.#committed.splice(this.#committedHead), ...this.#durable.splice(0)]
    this.#committed.length = 0
    this.#committedHead = 0
    for (const waiter of dropped) {
      this.#environment.unwait()
      if (waiter.offset < this.committedOffset && waiter.offset < offset) waiter.resolve(waiter.offset)
      else waiter.reject(makeError())
    }
  }
}

function insert(waiters: Waiter[], head: number, waiter: Waiter): void {
  let at = waiters.length
  while (at > head && waiters[at - 1].offset > waiter.offset) at--
  if (at === waiters.length) waiters.push(waiter)
  else waiters.splice(at, 0, waiter)
}
