import { performance } from 'node:perf_hooks'
import { TailCache } from '../cache/tail-cache.js'
import { LogError } from '../errors.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { TASK_COMMIT } from '../kernels/procedure.js'
import { ENOSPC, systemError } from '../kernels/system-error.js'
import { type ActivityListener, AppendQueue } from './append-queue.js'
import type { ChangeSignal } from './change-signal.js'
import type { CommitListener, Ticker } from './environment.js'
import type { OpenedLog } from './open.js'
import type { LogParts } from './parts.js'
import { SegmentWriter } from './segment-writer.js'

/**
 * The TypeScript half of the commit path of one open log: listens to the committer, gives it segments, drives it to flush and sync, keeps the
 * time-based promises (syncIntervalMs, idleMarkMs) and ends in good order.
 */
export class CommitDriver implements CommitListener, ActivityListener, Ticker {
  readonly parts: LogParts
  readonly queue: AppendQueue
  readonly writer: SegmentWriter
  /** undefined: nothing is cached. */
  readonly tail: TailCache | undefined
  readonly #changes: ChangeSignal
  #providing = false
  #provideAgain = 0
  #syncing = false
  #lastSync = 0
  #lastHold = 0
  #resting = false
  #marking = false
  #stopped = false

  constructor(opened: OpenedLog, changes: ChangeSignal) {
    const { parts, end } = opened
    this.parts = parts
    this.#changes = changes
    this.queue = new AppendQueue(parts.environment, parts.directory, parts.session.durability, end.offset, end.runningTime, this)
    this.writer = new SegmentWriter(parts, this.queue.log, end)
    const { cache } = parts.session
    const { kernels, cacheSweeper } = parts.environment
    this.tail = cache === undefined ? undefined : new TailCache(kernels, this.queue.log, parts.directory, cache, cacheSweeper)
    kernels.resume(this.queue.log, end.offset)
    parts.environment.listen(this.queue.log, this)
  }

  /** Closes what recovery found complete and takes up the segment it left open. */
  *begin(opened: OpenedLog): Procedure<void> {
    for (const part of opened.complete) yield* this.writer.finish(part.segment, part.state, part.footer !== undefined)
    if (opened.active !== undefined) this.writer.adopt(opened.active.segment, opened.active.state)
  }

  // ── rows of the committer ──────────────────────────────────────────────────────────────────────────────────────

  committed(committedOffset: number, durableOffset: number, position: number, releasedBytes: number, groups: number, syncs: number): void {
    const active = this.writer.active
    if (active !== undefined) {
      active.end = committedOffset
      active.endPosition = position
    }
    const moved = this.queue.advance(committedOffset, durableOffset, releasedBytes, groups, syncs)
    if (this.writer.needsPreparation(position) && this.parts.tasks.idle) {
      // Only to save time at the roll: what fails here fails there again, and is reported there.
      void this.#whileGoing(() => this.writer.prepare()).catch(() => {})
    }
    if (moved) {
      this.tail?.fed()
      this.#changes.notify()
    }
  }

  indexed(offset: number, position: number, batchFirst: number, runningTime: number): void {
    this.parts.segments.find(offset)?.index?.add(offset, position, batchFirst, runningTime)
  }

  failed(errno: number, operation: number, position: number): void {
    const syscall = operation === k.FAILED_SYNC ? 'fdatasync' : 'pwrite'
    this.fail(
      systemError(errno, syscall, this.writer.active?.path),
      `a ${syscall} of ${this.parts.directory} failed at position ${position}; the log accepts nothing until reopen()`,
    )
  }

  fail(cause: unknown, what: string): void {
    this.queue.fail(cause, what)
    this.#changes.notify()
  }

  rejected(errno: number, nextOffset: number): void {
    this.queue.reject(errno, nextOffset)
  }

  needSegment(bytes: number): void {
    if (this.queue.failure !== undefined) return
    if (this.#providing) {
      this.#provideAgain = bytes
      return
    }
    this.#providing = true
    void this.parts.tasks.add(() => this.#provide(bytes))
  }

  /** Errors are dealt with inside: a synchronous caller must see their effect at once. */
  *#provide(bytes: number): Procedure<void> {
    if (this.#stopped) return
    try {
      for (let wanted = bytes; wanted > 0; ) {
        this.#provideAgain = 0
        yield* this.writer.provide(wanted)
        wanted = this.#provideAgain
      }
      if (this.writer.unclosed > 0) this.#closeFullLater()
    } catch (error) {
      if (error instanceof LogError && error.code === 'ERR_SEALOG_NO_SPACE') {
        this.queue.reject(Math.abs(error.errno ?? ENOSPC), this.queue.committedOffset)
      } else {
        this.fail(error, `${this.parts.directory}: the next segment cannot be begun: ${(error as Error).message}`)
        this.#dropQueue()
      }
    } finally {
      this.#providing = false
    }
  }

  #closeFullLater(): void {
    void this.parts.tasks.add(() => this.#closeFull())
  }

  /** A full disk leaves them for later; any other failure poisons. */
  *#closeFull(): Procedure<void> {
    if (this.#stopped) return
    try {
      yield* this.writer.closeAllFull()
      this.#changes.notify()
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'ERR_SEALOG_NO_SPACE')
        this.fail(error, `${this.parts.directory}: a full segment cannot be closed: ${(error as Error).message}`)
    }
  }

  /** Makes everything durable and ends the present segment, which is closed when this resolves. */
  async roll(): Promise<void> {
    await this.commit(k.COMMIT_SYNCED)
    this.writer.syncRequests++
    try {
      await this.#whileGoing(() => this.#rollNow())
    } finally {
      this.writer.syncRequests--
    }
    if (this.queue.failure !== undefined) throw this.queue.failureError()
  }

  *#rollNow(): Procedure<void> {
    try {
      yield* this.writer.rollNow()
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'ERR_SEALOG_NO_SPACE')
        this.fail(error, `${this.parts.directory}: the next segment cannot be begun: ${(error as Error).message}`)
      throw error
    }
    yield* this.#closeFull()
  }

  exiting(): void {
    if (this.#stopped || this.queue.failure !== undefined) return
    try {
      this.commitSync(k.COMMIT_WRITTEN)
    } catch {
      // The process ends; nobody is left to be told.
    }
  }

  // ── driving ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Everything accepted so far to a COMMIT_… level. */
  async commit(level: number): Promise<void> {
    this.parts.environment.submit()
    if (this.queue.failure !== undefined) throw this.queue.failureError()
    const durable = level >= k.COMMIT_SYNCED
    if (durable) this.writer.syncRequests++
    try {
      if (durable && this.writer.unclosed > 0) await this.parts.tasks.add(() => this.#closeFull())
      if (level === k.COMMIT_MARKED && this.writer.owesMark) await this.#whileGoing(() => this.writer.attachForMark())
      this.#check(await this.parts.environment.runner.run(this.#commitStep(level)))
    } finally {
      if (durable) this.writer.syncRequests--
    }
  }

  *#commitStep(level: number): Procedure<number> {
    this.#checkGoing()
    return yield { operation: TASK_COMMIT, fd: this.queue.log, a: level, b: 0 }
  }

  /** In the task queue, unless the log was ended meanwhile by `closeSync`, or to be opened anew: its files may be another writer's by now. */
  #whileGoing<R>(work: () => Procedure<R>): Promise<R> {
    const { tasks } = this.parts
    const checkGoing = () => this.#checkGoing()
    return tasks.add(function* () {
      checkGoing()
      return yield* work()
    })
  }

  #checkGoing(): void {
    if (this.#stopped) throw new LogError('ERR_SEALOG_CLOSED', `${this.parts.directory} was closed, or opened anew, meanwhile`)
  }

  commitSync(level: number): void {
    const { environment, tasks } = this.parts
    environment.submit(level === k.COMMIT_MODE ? this.queue.log : 0)
    if (this.queue.failure !== undefined) throw this.queue.failureError()
    const durable = level >= k.COMMIT_SYNCED
    if (durable) this.writer.syncRequests++
    try {
      if (durable && this.writer.unclosed > 0) {
        this.#closeFullLater()
        tasks.finishSync()
      }
      if (level === k.COMMIT_MARKED && this.writer.owesMark) {
        tasks.finishSync()
        environment.runner.runSync(this.writer.attachForMark())
      }
      const end = this.queue.endOffset
      for (;;) {
        const status = environment.kernels.commitSync(this.queue.log, level)
        if (status !== k.STATUS_NEED_SEGMENT) {
          this.#check(status)
          return
        }
        tasks.finishSync()
        if (this.queue.failure !== undefined) throw this.queue.failureError()
        if (this.queue.endOffset < end) throw this.#noSpace()
      }
    } finally {
      if (durable) this.writer.syncRequests--
    }
  }

  #check(status: number): void {
    if (this.queue.failure !== undefined || status === k.STATUS_FAILED) throw this.queue.failureError()
    if (status === k.STATUS_REJECTED) throw this.#noSpace()
  }

  #noSpace(): LogError {
    return new LogError('ERR_SEALOG_NO_SPACE', `no space in ${this.parts.directory}; the records were not written`, {
      cause: systemError(ENOSPC, 'fallocate', this.parts.directory),
    })
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Records are accepted after a pause. */
  active(): void {
    const now = performance.now()
    this.#lastHold = now
    this.#lastSync = Math.max(this.#lastSync, now - this.parts.session.syncIntervalMs / 2)
    this.queue.lastCommit = now
    this.parts.environment.addTicker(this)
  }

  tick(now: number): boolean {
    const { queue, writer } = this
    const { session, tasks } = this.parts
    if (this.#stopped || queue.failure !== undefined) return false
    if (session.durability === 'none' && queue.committedOffset < queue.endOffset && now - this.#lastHold >= session.syncIntervalMs) {
      this.#lastHold = now
      this.#background(this.commit(k.COMMIT_MODE))
    }
    if (session.durability !== 'fsync' && !this.#syncing && queue.durableOffset < queue.committedOffset && now - this.#lastSync >= session.syncIntervalMs) {
      this.#lastSync = now
      this.#syncing = true
      this.#background(
        this.commit(k.COMMIT_SYNCED).finally(() => {
          this.#syncing = false
        }),
      )
    }
    if (writer.unclosed > 0 && tasks.idle) this.#closeFullLater()
    const idle = queue.queuedBytes === 0 && !this.#syncing && tasks.idle && now - queue.lastCommit >= session.idleMarkMs
    if (idle && !this.#resting) this.#background(this.#rest())
    return true
  }

  /** What fails here has poisoned the log or will be met again by whoever asks next. */
  #background(work: Promise<unknown>): void {
    work.catch(() => {})
  }

  /** Marks the end as durable and lets the files go. */
  async #rest(): Promise<void> {
    this.#resting = true
    try {
      if (this.writer.attached && !this.#marking) {
        this.#marking = true
        try {
          await this.commit(k.COMMIT_MARKED)
        } finally {
          this.#marking = false
        }
      }
      if (this.queue.queuedBytes > 0 || this.#stopped || this.writer.unclosed > 0) return
      await this.#whileGoing(() => this.writer.park())
      if (this.queue.queuedBytes > 0 || this.#stopped) return
      this.queue.rest()
      this.parts.environment.removeTicker(this)
    } finally {
      this.#resting = false
    }
  }

  // ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Stops listening and lets go of every file, whatever fails on the way; without a mark when `clean` is false. Repeats nothing that was done. */
  *end(clean: boolean): Procedure<void> {
    const { environment, segments } = this.parts
    const steps: Array<() => Procedure<void>> = clean ? [() => this.writer.closeAllFull(), () => this.writer.trim()] : []
    steps.push(() => this.writer.park())
    for (const segment of segments.all) {
      segment.retired = true
      environment.forget(segment)
      steps.push(() => segment.release())
    }
    let problem: unknown
    for (const step of steps) {
      try {
        yield* step()
      } catch (error) {
        problem ??= error
      }
    }
    this.stop()
    if (problem !== undefined) throw problem
  }

  /** No more rows, no more ticks. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.parts.environment.removeTicker(this)
    this.parts.environment.unlisten(this.queue.log)
    if (this.queue.failure !== undefined) this.#dropQueue()
    this.tail?.end(false)
    this.writer.keepState()
    this.parts.environment.kernels.destroyLog(this.queue.log)
  }

  /** What a failed log accepted and did not write is not written any more. */
  #dropQueue(): void {
    const { environment } = this.parts
    environment.submit()
    environment.kernels.resume(this.queue.log, this.queue.committedOffset)
  }
}
