import { LogError, warn } from '../errors.js'
import type { Procedure } from '../kernels/procedure.js'
import { Task } from '../kernels/task.js'
import type { Segment } from '../segment/segment.js'
import { operationError, sealDone, sealError, sealStart } from '../telemetry/channels.js'
import type { ChunkEncoding } from './chunk.js'
import type { ChunkFile } from './chunk-file.js'
import { type ChunkSource, ChunkStore } from './chunk-store.js'
import { type SealJob, type SealResult, sealChunk } from './seal-chunk.js'
import { makeSibling } from './siblings.js'
import type { Slots } from './slots.js'

const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 60_000

export interface SealSource extends ChunkSource {
  readonly environment: ChunkSource['environment'] & { readonly sealing: Slots }
  readonly startOffset: number
  readonly durableOffset: number
  /** Siblings that every chunk gets. */
  readonly encodings: readonly ChunkEncoding[]
  /** Closed chunks of the last segment, which is appended to. */
  activeChunks(): number
}

/** Figures since the log was opened. */
export interface SealStats {
  readonly sealedChunks: number
  readonly sealedBytes: number
  readonly sealFailures: number
}

/**
 * Seals the finished chunks of a log, one after the other, behind everything else: a few at a time over all logs of the environment. What is to be done is
 * found by looking (segments, chunks that are there), so nothing is lost by a restart. A failure is published and tried again with growing delays.
 */
export class Sealer {
  readonly #source: SealSource
  readonly store: ChunkStore
  /** Every finished chunk of a closed segment below is sealed. */
  #doneBelow = 0
  #running: Promise<void> | undefined
  #again = false
  #paused = true
  /** What is being done on the disk. */
  #task: { readonly settled: boolean; finishSync(): unknown } | undefined
  #retry: NodeJS.Timeout | undefined
  #failures = 0
  #lastWarning = ''
  /** What the last run ended with. */
  #failure: unknown
  #sealed = 0
  #bytes = 0
  #failed = 0

  constructor(source: SealSource) {
    this.#source = source
    this.store = new ChunkStore(source, (chunk) => {
      this.#doneBelow = Math.min(this.#doneBelow, chunk.first)
      this.kick()
    })
  }

  get stats(): SealStats {
    return { sealedChunks: this.#sealed, sealedBytes: this.#bytes, sealFailures: this.#failed }
  }

  /** Looks for finished chunks now, in the background. */
  kick(): void {
    if (this.#paused) return
    this.#again = true
    if (this.#running !== undefined) return
    clearTimeout(this.#retry)
    this.#running = this.#run().finally(() => {
      this.#running = undefined
      if (this.#again && this.#retry === undefined) this.kick()
    })
  }

  /** Seals everything that is finished; throws what kept it from that. */
  async drain(): Promise<void> {
    if (this.#paused) throw new LogError('ERR_SEALOG_CLOSED', `${this.#source.directory} is closed`)
    while (this.#running !== undefined) await this.#running
    this.kick()
    while (this.#running !== undefined) await this.#running
    if (this.#failure !== undefined) throw this.#failure
  }

  resume(): void {
    this.#paused = false
  }

  /** Segments from `base` on were replaced: what is gone of their chunks is sealed again. */
  sealAgain(base: number): void {
    this.#doneBelow = Math.min(this.#doneBelow, base)
    this.kick()
  }

  /** Ends with the chunk that is being rendered. */
  async pause(): Promise<void> {
    this.#stop()
    await this.#running
    await this.store.settled()
  }

  /** The same on the calling thread. */
  pauseSync(): void {
    this.#stop()
    if (this.#task === undefined || this.#task.settled) return
    try {
      this.#task.finishSync()
    } catch {
      // Published by the run that waits for it.
    }
  }

  #stop(): void {
    this.#paused = true
    this.#again = false
    clearTimeout(this.#retry)
    this.#retry = undefined
  }

  async #run(): Promise<void> {
    const { sealing } = this.#source.environment
    this.#retry = undefined
    this.#failure = undefined
    let job: SealJob | undefined
    await sealing.take()
    try {
      await this.store.load()
      while (!this.#paused) {
        this.#again = false
        job = await this.#perform(this.#next())
        if (job === undefined || this.#paused) break
        const result = await this.#seal(job)
        if (result === 'unfinished') break
        if (typeof result === 'string') {
          // One that was replaced meanwhile has chunks of its own.
          if (!job.segment.retired) this.#doneBelow = job.segment.end
        } else await this.#addSiblings(result)
      }
      for (const chunk of [...this.store.set.all]) if (!this.#paused) await this.#addSiblings(chunk)
      this.#failures = 0
    } catch (error) {
      // Its segment went meanwhile, and with it the file that was to be read.
      if (job?.segment.retired === true) this.#again = true
      else this.#fail(error, job)
    } finally {
      sealing.release()
    }
  }

  #perform<T>(procedure: Procedure<T>): Promise<T> {
    const task = new Task(this.#source.environment.runner, procedure)
    this.#task = task
    return task.promise
  }

  async #seal(job: SealJob): Promise<SealResult> {
    const { directory: log, environment } = this.#source
    const started = performance.now()
    if (sealStart.hasSubscribers) sealStart.publish({ log, chunk: job.sequence })
    const result = await this.#perform(sealChunk(job, environment.kernels))
    if (typeof result === 'string') return result
    this.store.set.add(result)
    this.#sealed++
    this.#bytes += result.bytes
    if (sealDone.hasSubscribers) {
      const records = result.last - result.first + 1
      sealDone.publish({ log, chunk: result.sequence, duration: (performance.now() - started) / 1000, bytes: result.bytes, records })
    }
    return result
  }

  async #addSiblings(chunk: ChunkFile): Promise<void> {
    const { encodings, environment } = this.#source
    for (const encoding of encodings) {
      if (chunk.siblings.has(encoding)) continue
      if (this.#paused || this.store.set.find(chunk.first) !== chunk) return
      const next = await makeSibling(chunk, encoding, environment.kernels, environment.runner)
      // It may have been removed meanwhile, with its segment.
      if (this.store.set.find(chunk.first) !== chunk) return
      environment.chunkPool.forget(chunk)
      this.store.set.add(next)
      chunk = next
    }
  }

  /** The first finished chunk that is not sealed. */
  *#next(): Procedure<SealJob | undefined> {
    const { segments, startOffset } = this.#source
    let segment: Segment | undefined = segments.find(Math.max(this.#doneBelow, startOffset)) ?? segments.all[0]
    for (; segment !== undefined; segment = segments.after(segment)) {
      const active = segment === segments.last
      // Whoever replaces or removes it says when that is done.
      if (segment.retired || (!segment.closed && !active)) return undefined
      // One that is an archive has the chunks that it has: its records are read without them, and nobody opens it for them.
      if (segment.archive !== undefined) {
        this.#doneBelow = segment.end
        continue
      }
      if ((segment.header === undefined || segment.index === undefined) && !(yield* this.#prepared(segment))) return undefined
      const { header } = segment
      if (header === undefined) throw new Error('the segment is not open')
      if (header.form !== 'none') {
        const { from, count } = this.#covered(segment)
        const open = segment.closed ? from < segment.end : count < this.#source.activeChunks()
        if (open) {
          const { directory, durableOffset } = this.#source
          return { directory, segment, header, form: header.form, sequence: header.firstChunkSequence + count, from, durableOffset }
        }
      }
      if (segment.closed) this.#doneBelow = segment.end
    }
    return undefined
  }

  /** False when it was replaced or removed meanwhile. */
  *#prepared(segment: Segment): Procedure<boolean> {
    try {
      yield* this.#source.prepare(segment)
    } catch (error) {
      if (!segment.retired) throw error
    }
    if (segment.retired) yield* segment.release()
    return !segment.retired
  }

  /** Where the sealed chunks of a segment end that follow each other from its base on. */
  #covered(segment: Segment): { readonly from: number; readonly count: number } {
    let from = segment.base
    let count = 0
    for (const chunk of this.store.set.within(segment.base, segment.end)) {
      const follows = segment.sparse ? chunk.first >= from : chunk.first === from
      if (!follows || chunk.sequence !== (segment.header?.firstChunkSequence ?? 0) + count) break
      from = chunk.last + 1
      count++
    }
    return { from, count }
  }

  #fail(error: unknown, job: SealJob | undefined): void {
    const { directory: log } = this.#source
    if (this.#paused) return
    this.#failed++
    this.#failure = error
    const problem = error instanceof Error ? error : new Error(String(error))
    const retryInMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LAST_RETRY_MS)
    if (sealError.hasSubscribers) sealError.publish({ log, chunk: job?.sequence ?? -1, error: problem, retryInMs })
    if (operationError.hasSubscribers) operationError.publish({ log, operation: 'seal', code: problem instanceof LogError ? problem.code : 'ERR_SEALOG_IO' })
    if (problem.message !== this.#lastWarning) warn('SEALOG_SEAL_FAILED', `${log}: a chunk could not be sealed, it is tried again: ${problem.message}`)
    this.#lastWarning = problem.message
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.kick()
    }, retryInMs)
    this.#retry.unref()
  }
}
