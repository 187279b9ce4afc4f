import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import type { LogSettings } from '../options.js'
import type { ChunkEncoding, ChunkInfo, OpenChunk, WriterChunks } from '../sealing/chunk.js'
import type { ChunkFile } from '../sealing/chunk-file.js'
import { Sealer, type SealSource, type SealStats } from '../sealing/sealer.js'
import type { Segment } from '../segment/segment.js'
import type { SegmentSet } from '../segment/segment-set.js'
import type { CommitDriver } from './commit-driver.js'
import type { Environment } from './environment.js'

const NOTHING_SEALED: SealStats = { sealedChunks: 0, sealedBytes: 0, sealFailures: 0 }

/** What the chunks of a writing log need of it. */
export interface ChunkOwnerLog {
  readonly directory: string
  readonly environment: Environment
  readonly segments: SegmentSet
  readonly logId: Uint8Array
  readonly startOffset: number
  readonly durableOffset: number
  readonly epoch: number
  readonly writable: boolean
  readonly form: LogSettings['form']
  prepare(segment: Segment): Procedure<void>
  /** Throws when the log is closed. */
  checkOpen(): void
  /** Throws when nothing may be written. */
  checkWritable(): void
  commitDriver(): CommitDriver
}

/** The sealed chunks of a log that is open for writing: notices finished ones, has them sealed, removes those that are gone. */
export class LogChunks implements WriterChunks {
  readonly #log: ChunkOwnerLog
  readonly #encodings: readonly ChunkEncoding[]
  /** Made when there is something to seal or to look for: most logs of a process never have a chunk. */
  #sealer: Sealer | undefined
  #chunkLimit: number
  /** The segment that is appended to, and where in it the present chunk can end at the earliest. */
  #active: Segment | undefined
  #earliestEnd = 0
  #finished = 0
  /** Something is to be sealed as soon as everything below is durable and this segment is closed. */
  #dueOffset = -1
  #dueSegment: Segment | undefined
  /** Where the last finished chunk ends. */
  #finishedEnd = -1
  #paused = false

  constructor(log: ChunkOwnerLog, encodings: readonly ChunkEncoding[]) {
    this.#log = log
    this.#encodings = encodings
    this.#chunkLimit = log.durableOffset
    this.#paused = log.form === 'none'
    this.#begin()
  }

  list(): Promise<readonly ChunkInfo[]> {
    return this.#sealing().store.list()
  }

  open(offset: number): Promise<OpenChunk | undefined> {
    return this.#sealing().store.open(offset)
  }

  openNow(offset: number): OpenChunk | undefined {
    return this.#sealer?.store.openNow(offset)
  }

  async seal(): Promise<readonly ChunkInfo[]> {
    this.#log.checkWritable()
    if (this.#log.form === 'none') return []
    await this.#log.commitDriver().roll()
    await this.#sealing().drain()
    return this.list()
  }

  get stats(): SealStats {
    return this.#sealer?.stats ?? NOTHING_SEALED
  }

  /** Records were committed or became durable, or a segment was closed. */
  advanced(): void {
    if (this.#paused) return
    const active = this.#log.segments.last
    if (active !== undefined && (active !== this.#active || active.endPosition >= this.#earliestEnd)) this.#look(active)
    if (this.#dueOffset < 0 || this.#log.durableOffset < this.#dueOffset || isUnclosed(this.#dueSegment)) return
    // What finished meanwhile comes next.
    this.#dueSegment = this.#log.segments.all.find((segment) => segment !== active && !segment.closed)
    this.#dueOffset = this.#dueSegment !== undefined || this.#finishedEnd > this.#log.durableOffset ? this.#finishedEnd : -1
    this.#sealing().kick()
  }

  /** Lets the chunk in work finish and begins no other. */
  async pause(): Promise<void> {
    this.#paused = true
    await this.#sealer?.pause()
  }

  pauseSync(): void {
    this.#paused = true
    this.#sealer?.pauseSync()
  }

  /** The log was opened anew: what was cut is gone, and so are its chunks. */
  resume(reopened: boolean): void {
    this.#paused = this.#log.form === 'none'
    if (reopened) {
      this.#chunkLimit = this.#log.durableOffset
      this.#sealer?.store.reset()
      this.#sealer = undefined
      this.#begin()
    } else {
      this.#sealer?.resume()
      this.#sealer?.kick()
    }
  }

  /** Their files were removed; those in use stay readable until they are closed. */
  forget(gone: (chunk: ChunkFile) => boolean): void {
    this.#sealer?.store.forget(gone)
  }

  /** Segments from `from` to `to` were replaced: their chunks are forgotten and sealed again. */
  replaced(from: number, to: number): void {
    this.forget((chunk) => chunk.first >= from && chunk.last < to)
    if (this.#log.form !== 'none') this.#sealing().sealAgain(from)
  }

  /** What the last session left unsealed is found again. */
  #begin(): void {
    const { segments, writable, form } = this.#log
    this.#active = segments.last
    this.#dueOffset = -1
    this.#dueSegment = undefined
    this.#finishedEnd = -1
    if (this.#active === undefined || !writable || form === 'none') return
    const state = this.#log.commitDriver().writer.state()
    this.#finished = this.#active.closed ? 0 : state[k.STATE_CHUNKS]
    this.#setEarliestEnd(this.#active, state)
    if (segments.all.length === 1 && !this.#active.closed && this.#finished === 0) return
    this.#dueOffset = 0
    setImmediate(() => this.advanced())
  }

  #look(active: Segment): void {
    if (active !== this.#active) {
      this.#dueSegment ??= this.#active
      this.#finishedAt(active.base)
      this.#active = active
      this.#finished = 0
    }
    const state = this.#log.commitDriver().writer.state()
    if (state[k.STATE_CHUNKS] > this.#finished) {
      this.#finished = state[k.STATE_CHUNKS]
      this.#finishedAt(state[k.STATE_NEXT_OFFSET])
    }
    this.#setEarliestEnd(active, state)
  }

  /** The first that waits counts: under a steady load the last one is never durable yet. */
  #finishedAt(end: number): void {
    this.#finishedEnd = end
    if (this.#dueOffset < 0) this.#dueOffset = end
  }

  /** A record's frame has more bytes than its payload. */
  #setEarliestEnd(active: Segment, state: Float64Array): void {
    const chunkBytes = state[k.STATE_CHUNK_BYTES]
    const payload = state[k.STATE_CHUNK_PAYLOAD]
    this.#earliestEnd = chunkBytes === 0 ? Number.POSITIVE_INFINITY : Math.max(SEGMENT_HEADER_BYTES, active.endPosition) + Math.max(1, chunkBytes - payload)
  }

  #sealing(): Sealer {
    if (this.#sealer === undefined) {
      this.#sealer = new Sealer(sealSource(this.#log, this.#encodings, this.#chunkLimit, () => this.#finished))
      if (!this.#paused) this.#sealer.resume()
    }
    return this.#sealer
  }
}

/** A segment that was replaced or removed never is. */
function isUnclosed(segment: Segment | undefined): boolean {
  return segment !== undefined && !segment.closed && !segment.retired
}

function sealSource(log: ChunkOwnerLog, encodings: readonly ChunkEncoding[], chunkLimit: number, activeChunks: () => number): SealSource {
  return {
    directory: log.directory,
    logId: log.logId,
    environment: log.environment,
    writable: log.writable,
    encodings,
    chunkLimit,
    activeChunks,
    get segments() {
      return log.segments
    },
    get epoch() {
      return log.epoch
    },
    get startOffset() {
      return log.startOffset
    },
    get durableOffset() {
      return log.durableOffset
    },
    prepare: (segment) => log.prepare(segment),
    recheck: async () => false,
    checkOpen: () => log.checkOpen(),
  }
}
