import { setTimeout as sleep } from 'node:timers/promises'
import { LogError, warn } from '../errors.js'
import { type CompactionRules, compactableSegments, compactSegment } from '../log/compaction.js'
import { slowestConsumer } from '../log/consumer-files.js'
import { isReplaceable } from '../log/generations.js'
import type { Log } from '../log/log.js'
import type { ClosedSegment } from '../log/manifest.js'
import { compactionDone, operationError } from '../telemetry/channels.js'
import type { CompactionSettings, PassSettings } from './compaction-options.js'
import type { KeyIndex } from './key-index.js'
import { type Merge, mergeWindow } from './merge-window.js'
import type { OpenViews } from './open-views.js'
import { firstProved, type HeldVersion, type Snapshots } from './snapshots.js'

/** After failures the next pass in the background waits up to so many times longer. */
const LONGEST_DELAY = 64

/** What a pass did. */
export interface CompactionResult {
  /** Segments rewritten. */
  readonly segments: number
  readonly recordsRemoved: number
  /** Bytes of these segments before and after. */
  readonly bytesBefore: number
  readonly bytesAfter: number
  /** `get` with `at` below is ERR_SEALOG_COMPACTED from now on. 0: nothing was ever removed. */
  readonly throughOffset: number
}

/** Sums since the store was opened. */
export interface CompactionStats {
  readonly running: boolean
  /** Passes that came to their end. */
  readonly passes: number
  readonly failures: number
  readonly segments: number
  readonly recordsRemoved: number
  readonly bytesFreed: number
  readonly throughOffset: number
}

/** What compaction needs of a store. */
export interface CompactionSource<V> {
  readonly log: Log<V>
  readonly snapshots: Snapshots<V>
  readonly views: OpenViews
  /** Throws when nothing may be written. */
  checkWritable(): void
  /** `merge` has given records other values at their own offsets. */
  valuesChanged(): void
}

/** Compacts the log of one store: one pass at a time, and one over all stores of this thread. */
export class Compactor<V> {
  readonly #source: CompactionSource<V>
  readonly #background: CompactionSettings<V> | undefined
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<unknown> | undefined
  /** Ends of segments that a pass has looked at lie below. */
  #lookedThrough: number
  #failuresInRow = 0
  #passes = 0
  #failures = 0
  #segments = 0
  #recordsRemoved = 0
  #bytesFreed = 0

  /** `background` undefined: only by call. */
  constructor(source: CompactionSource<V>, background: CompactionSettings<V> | undefined) {
    this.#source = source
    this.#background = background
    this.#lookedThrough = source.log.compactedThrough
    this.#schedule()
  }

  get stats(): CompactionStats {
    return {
      running: this.#running !== undefined,
      passes: this.#passes,
      failures: this.#failures,
      segments: this.#segments,
      recordsRemoved: this.#recordsRemoved,
      bytesFreed: this.#bytesFreed,
      throughOffset: this.#source.log.compactedThrough,
    }
  }

  /** A pass now, or after the one under way. */
  async compact(settings: PassSettings<V>): Promise<CompactionResult> {
    while (this.#running !== undefined) await this.#running.catch(() => {})
    this.#source.checkWritable()
    return this.#start(settings)
  }

  /** No more passes; resolves when the one under way has ended, which it does at the end of its slice. */
  async stop(): Promise<void> {
    this.stopSync()
    await this.#running?.catch(() => {})
  }

  /** The same without waiting: what is under way ends by itself and changes nothing any more. */
  stopSync(): void {
    clearTimeout(this.#timer)
    this.#stop.abort()
  }

  #schedule(): void {
    if (this.#background === undefined || this.#stop.signal.aborted) return
    const delay = this.#background.intervalMs * Math.min(2 ** this.#failuresInRow, LONGEST_DELAY)
    this.#timer = setTimeout(() => this.#tick(), Math.min(delay, 2 ** 31 - 1))
    this.#timer.unref()
  }

  #tick(): void {
    const { log } = this.#source
    const readOnly = log.failure !== undefined || log.readOnlyReason !== undefined
    if (this.#background === undefined || this.#running !== undefined || readOnly || !this.#isDue(this.#background)) {
      this.#schedule()
      return
    }
    this.#start(this.#background)
      .then(
        () => {
          this.#failuresInRow = 0
        },
        (error: unknown) => {
          if (this.#stop.signal.aborted) return
          this.#failuresInRow++
          warn('SEALOG_COMPACTION', `${log.directory}: compaction failed, it is tried again later: ${(error as Error).message}`)
        },
      )
      .finally(() => this.#schedule())
  }

  /** Whether enough came since the last pass, by what is in memory. */
  #isDue({ keepCompleteChunks, minDeadRatio }: CompactionSettings<V>): boolean {
    const { log } = this.#source
    const segments = compactableSegments(log, firstProved(log, log.committedOffset), keepCompleteChunks).filter(isReplaceable)
    const news = segments.filter((facts) => facts.end > this.#lookedThrough)
    return news.length > 0 && sumOf(news) >= minDeadRatio * sumOf(segments)
  }

  #start(settings: PassSettings<V>): Promise<CompactionResult> {
    const { log } = this.#source
    const started = performance.now()
    const pass = this.#inTurn(settings).then(
      (result) => {
        this.#passes++
        if (compactionDone.hasSubscribers) compactionDone.publish({ log: log.directory, duration: (performance.now() - started) / 1000, ...result })
        return result
      },
      (error: unknown) => {
        if (!this.#stop.signal.aborted) this.#failures++
        if (operationError.hasSubscribers)
          operationError.publish({ log: log.directory, operation: 'compact', code: error instanceof LogError ? error.code : 'ERR_SEALOG_ARGUMENT' })
        throw error
      },
    )
    const running = pass.finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }

  async #inTurn(settings: PassSettings<V>): Promise<CompactionResult> {
    const { compacting } = this.#source.log.environment
    const turn = compacting.take()
    await this.#orStopped(turn)
    try {
      this.#checkGoing()
      return await this.#pass(settings)
    } finally {
      void turn.then(() => compacting.release())
    }
  }

  /** Closing does not wait for the pass of another store. */
  #orStopped(turn: Promise<void>): Promise<void> {
    const { signal } = this.#stop
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done)
        resolve()
      }
      signal.addEventListener('abort', done)
      void turn.then(done)
      if (signal.aborted) done()
    })
  }

  #checkGoing(): void {
    if (this.#stop.signal.aborted) throw new LogError('ERR_SEALOG_CLOSED', `${this.#source.log.directory} is closed`)
    this.#source.checkWritable()
  }

  async #pass(settings: PassSettings<V>): Promise<CompactionResult> {
    const held = await this.#source.snapshots.hold()
    try {
      return await this.#compact(settings, held)
    } finally {
      held.index.close()
    }
  }

  /**
   * Versions that a key index of now, or one that was copied when an iterator began, leads to are kept. An iterator that begins later needs no more than that: in its
   * version a key leads to the same record as in the held one, or to one behind it, which no pass touches yet.
   */
  async #compact(settings: PassSettings<V>, { index, snapshot }: HeldVersion): Promise<CompactionResult> {
    const { log, views } = this.#source
    const iterated = views.all()
    const openViews = () => iterated.filter((view) => !view.closed)
    // What a consumer has not acknowledged it gets as it was written. The snapshot is proved by frames from `proofFrom` on; a rewritten frame is another.
    const slowest = await log.environment.runner.run(slowestConsumer(log))
    const segments = compactableSegments(log, Math.min(snapshot.proofFrom, slowest?.offset ?? snapshot.proofFrom), settings.keepCompleteChunks)
    const work = new Work(settings, segments.length, () => this.#checkGoing(), this.#stop.signal)
    const rules: CompactionRules = {
      index: index.handle,
      views: () => openViews().map((view) => view.handle),
      through: snapshot.endOffset - 1,
      minDeadRatio: settings.minDeadRatio,
      pace: work.pace,
    }
    const { merge } = settings
    if (merge === undefined) await this.#dropVersions(segments, rules, work, iterated.length === 0 ? Date.now() - settings.tombstoneMs : -1)
    else await this.#mergeRuns(segments, merge, openViews, rules, work)
    this.#lookedThrough = Math.max(this.#lookedThrough, segments.at(-1)?.end ?? 0)
    return { ...work.result, throughOffset: log.compactedThrough }
  }

  /**
   * A tombstone goes only while every older segment was rewritten, or holds nothing dead, in this very pass: then no older version of its key is left that a replay could bring
   * back. What an iterator still reads, an archive keeps, or was not worth rewriting may be such a version.
   */
  async #dropVersions(segments: readonly ClosedSegment[], rules: CompactionRules, work: Work, tombstonesBefore: number): Promise<void> {
    const { log } = this.#source
    const { history = [] } = log.commitDriver().parts.manifest.state
    let before = history.length === 0 ? Math.max(-1, tombstonesBefore) : -1
    for (const facts of segments) {
      if (isReplaceable(facts)) {
        const done = await compactSegment(log, facts, rules, before)
        if (done.kind === 'rewritten') this.#count(work, 1, done.recordsRemoved, done.bytesBefore, done.bytesAfter)
        if (done.kind === 'left') before = -1
      } else {
        before = -1
      }
      work.advance(1)
    }
  }

  async #mergeRuns(segments: readonly ClosedSegment[], merge: Merge<V>, views: () => readonly KeyIndex[], rules: CompactionRules, work: Work): Promise<void> {
    const { log } = this.#source
    for (let at = 0; at < segments.length; ) {
      const window = windowAt(segments, at, work.settings.windowBytes)
      if (window.length > 0) {
        const done = await mergeWindow(log, window, merge, views, rules)
        if (done.recordsRemoved > 0) this.#source.valuesChanged()
        this.#count(work, done.segments, done.recordsRemoved, done.bytesBefore, done.bytesAfter)
      }
      const passed = Math.max(1, window.length)
      work.advance(passed)
      at += passed
    }
  }

  #count(work: Work, segments: number, recordsRemoved: number, bytesBefore: number, bytesAfter: number): void {
    work.add(segments, recordsRemoved, bytesBefore, bytesAfter)
    this.#segments += segments
    this.#recordsRemoved += recordsRemoved
    this.#bytesFreed += bytesBefore - bytesAfter
  }
}

/** Consecutive segments from `at` on that can be replaced and have `bytes` together, or one larger one; none when that at `at` cannot. */
function windowAt(segments: readonly ClosedSegment[], at: number, bytes: number): readonly ClosedSegment[] {
  let end = at
  for (let sum = 0; end < segments.length && isReplaceable(segments[end]); end++) {
    sum += segments[end].bytes
    if (end > at && sum > bytes) break
  }
  return segments.slice(at, end)
}

function sumOf(segments: readonly ClosedSegment[]): number {
  return segments.reduce((sum, facts) => sum + facts.bytes, 0)
}

/** How far a pass has come, and how fast it may go. */
class Work {
  readonly settings: Pick<PassSettings<never>, 'bytesPerSecond' | 'windowBytes' | 'onProgress'>
  readonly #total: number
  readonly #check: () => void
  readonly #signal: AbortSignal
  readonly #started = performance.now()
  #done = 0
  #bytesRead = 0
  #sums = { segments: 0, recordsRemoved: 0, bytesBefore: 0, bytesAfter: 0 }

  constructor(settings: Work['settings'], total: number, check: () => void, signal: AbortSignal) {
    this.settings = settings
    this.#total = total
    this.#check = check
    this.#signal = signal
  }

  get result(): Omit<CompactionResult, 'throughOffset'> {
    return this.#sums
  }

  add(segments: number, recordsRemoved: number, bytesBefore: number, bytesAfter: number): void {
    const sums = this.#sums
    this.#sums = {
      segments: sums.segments + segments,
      recordsRemoved: sums.recordsRemoved + recordsRemoved,
      bytesBefore: sums.bytesBefore + bytesBefore,
      bytesAfter: sums.bytesAfter + bytesAfter,
    }
  }

  advance(segments: number): void {
    this.#done += segments
    this.#report()
  }

  readonly pace = async (bytes: number): Promise<void> => {
    this.#check()
    if (bytes === 0) return
    this.#bytesRead += bytes
    this.#report()
    const wait = this.#started + (this.#bytesRead / this.settings.bytesPerSecond) * 1000 - performance.now()
    // Ended early when the store is closed, which the check tells.
    if (wait > 0) await sleep(wait, undefined, { signal: this.#signal }).catch(() => {})
    this.#check()
  }

  #report(): void {
    const { bytesBefore, bytesAfter } = this.#sums
    this.settings.onProgress?.({
      segmentsDone: this.#done,
      segmentsTotal: this.#total,
      bytesRead: this.#bytesRead,
      bytesFreed: bytesBefore - bytesAfter,
    })
  }
}
