import { constants } from 'node:fs'
import path from 'node:path'
import { FOOTER_FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { encodeFooter } from '../format/frames.js'
import { COMMITTED_FILE, NEXT_SEGMENT_FILE, SEGMENTS_DIRECTORY } from '../format/names.js'
import { decodeSegmentHeader, encodeSegmentHeader, type SegmentHeader } from '../format/segment-header.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { TASK_DETACH } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { writeIndex } from '../segment/index-store.js'
import { OffsetIndex } from '../segment/offset-index.js'
import { Segment } from '../segment/segment.js'
import { startState } from '../segment/walk.js'
import type { ClosedSegment } from './manifest.js'
import type { LogParts } from './parts.js'

const FIRST_SPACE = 64 * 1024

/** What the next segment continues. */
export interface LogEnd {
  readonly offset: number
  readonly chain: number
  readonly runningTime: number
  readonly chunkSequence: number
  readonly syncedOffset: number
}

interface FullSegment {
  readonly segment: Segment
  readonly closed: ClosedSegment
  /** Truncated to size and synced. */
  synced: boolean
}

/**
 * Gives the committer a segment to write to: creates the first, rolls to the next (format.md rule 3), lets idle ones go, takes them up again.
 * All procedures run one at a time in the task queue of the log.
 */
export class SegmentWriter {
  readonly #parts: LogParts
  readonly #log: k.LogHandle
  /** The unclosed segment that is appended to. */
  active: Segment | undefined
  /** State of `active` while the kernels do not have it: before it is attached for the first time, and after the end. */
  #state: Float64Array | undefined = new Float64Array(k.STATE_LENGTH)
  #end: LogEnd
  attached = false
  /** `active` has its footer; only the next segment takes records. */
  #ended = false
  #committedFd = -1
  /** Full, with footer, not yet synced (modes flush and none). */
  readonly #full: FullSegment[] = []
  /** Somebody waits for durability: a roll must sync what it leaves behind. */
  syncRequests = 0
  #next: { readonly fd: number; readonly reserved: number } | undefined
  preallocated: boolean

  constructor(parts: LogParts, log: k.LogHandle, end: LogEnd) {
    this.#parts = parts
    this.#log = log
    this.#end = end
    this.preallocated = parts.environment.kernels.can.preallocate
  }

  /** Goes on with a segment that recovery left open. */
  adopt(segment: Segment, state: Float64Array): void {
    this.active = segment
    this.#ended = false
    this.#state = state.slice(0, k.STATE_LENGTH)
  }

  get unclosed(): number {
    return this.#full.length
  }

  /** Bytes from which on the committer needs the next segment. */
  needsPreparation(position: number): boolean {
    return this.#next === undefined && this.attached && position > this.#parts.session.segmentBytes / 2
  }

  /** Current state vector of the log in its segment. */
  state(): Float64Array {
    if (this.#state !== undefined) return this.#state
    const state = new Float64Array(k.STATE_LENGTH)
    this.#parts.environment.kernels.state(this.#log, state)
    return state
  }

  /** The kernels are about to forget the log. */
  keepState(): void {
    this.#state = this.state()
  }

  /** Answers NEED_SEGMENT for a group of `bytes`, commit frame included. */
  *provide(bytes: number): Procedure<void> {
    if (this.attached) {
      const position = this.state()[k.STATE_POSITION]
      const fits = position + bytes + FOOTER_FRAME_BYTES <= this.#parts.session.segmentBytes
      if (fits || position === SEGMENT_HEADER_BYTES) return
      yield* this.detach()
      yield* this.#roll()
    } else if (this.active === undefined || this.#ended) {
      yield* this.#roll()
    } else {
      yield* this.#takeUp(this.active)
    }
  }

  /** Prepares the space of the next segment ahead of time; a full disk shows when it is needed. */
  *prepare(): Procedure<void> {
    if (this.#next !== undefined) return
    const file = this.#nextPath()
    yield* io.unlink(file)
    const fd = yield* io.open(file, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
    try {
      const reserved = yield* io.allocate(fd, 0, FIRST_SPACE, file)
      if (!reserved) this.preallocated = false
      this.#next = { fd, reserved: reserved ? FIRST_SPACE : 0 }
    } catch (error) {
      yield* io.close(fd)
      yield* io.unlink(file)
      throw error
    }
  }

  *detach(): Procedure<void> {
    if (!this.attached || this.active === undefined) return
    yield { operation: TASK_DETACH, fd: this.#log, a: 0, b: 0 }
    this.attached = false
    this.active.pins--
  }

  /** Lets an idle segment go: nothing but LOCK stays open. */
  *park(): Procedure<void> {
    yield* this.detach()
    const active = this.active
    if (active !== undefined) {
      yield* writeIndex(active, this.#parts.environment.kernels, this.#parts.session.indexIntervalBytes)
      this.#parts.environment.forget(active)
      yield* active.release()
    }
    yield* this.#closeCommitted()
    yield* this.#dropNext()
  }

  /** Ends the active segment before it is full; nothing happens while it holds no record. */
  *rollNow(): Procedure<void> {
    const active = this.active
    if (active === undefined || this.#ended || this.state()[k.STATE_NEXT_OFFSET] === active.base) return
    yield* this.detach()
    yield* active.open(this.#parts.environment.kernels, this.#parts.manifest.logId, constants.O_RDWR)
    yield* this.#roll()
  }

  /** Goes on with the unclosed segment. Its header bounds the records that readers accept: where larger ones are allowed now, the next one is begun. */
  *#takeUp(active: Segment): Procedure<void> {
    const { environment, manifest, segments, settings } = this.#parts
    yield* active.open(environment.kernels, manifest.logId, constants.O_RDWR)
    if (active.header !== undefined && active.header.maxRecordBytes >= settings.maxRecordBytes) {
      yield* this.#attach(active)
      return
    }
    if (this.state()[k.STATE_NEXT_OFFSET] === active.base) {
      // It holds no record: the next one replaces it under its name.
      segments.remove((segment) => segment === active)
      active.retired = true
      environment.forget(active)
      yield* active.release()
      this.active = undefined
    }
    yield* this.#roll()
  }

  /** The log was opened and nothing appended, and its end has no mark yet: a clean close still owes one. */
  get owesMark(): boolean {
    if (this.active === undefined || this.attached || this.#ended) return false
    const state = this.state()
    return state[k.STATE_MARKED] !== 1 && state[k.STATE_RECORDS] > 0
  }

  *attachForMark(): Procedure<void> {
    const active = this.active
    if (active === undefined || !this.owesMark) return
    yield* active.open(this.#parts.environment.kernels, this.#parts.manifest.logId, constants.O_RDWR)
    yield* this.#attach(active)
  }

  *#attach(segment: Segment): Procedure<void> {
    const { environment, session, settings, manifest, logSeed } = this.#parts
    yield* this.#openCommitted()
    const state = this.state()
    state[k.STATE_FD] = segment.fd
    state[k.STATE_COMMITTED_FD] = this.#committedFd
    state[k.STATE_SEGMENT_BYTES] = session.segmentBytes
    state[k.STATE_EPOCH] = manifest.state.epoch
    state[k.STATE_LOG_SEED] = logSeed
    state[k.STATE_INDEX_INTERVAL] = session.indexIntervalBytes
    state[k.STATE_MAX_RECORD_BYTES] = settings.maxRecordBytes
    segment.pins++
    environment.touch(segment)
    this.active = segment
    this.attached = true
    this.#ended = false
    environment.kernels.attach(this.#log, state)
    this.#state = undefined
  }

  /** Ends the active segment, if any, and begins the next. */
  *#roll(): Procedure<void> {
    const { directory, environment, session, settings, manifest, segments, sources } = this.#parts
    const kernels = environment.kernels
    const old = this.active
    const oldState = this.state()
    yield* this.prepare()
    const next = this.#next
    if (next === undefined) throw new Error('the next segment is not prepared')
    let full: FullSegment | undefined
    const mustSync = session.durability === 'fsync' || this.syncRequests > 0
    if (old !== undefined) {
      full = yield* this.#writeFooter(old)
      while (this.#full.length > (mustSync ? 0 : 1)) yield* this.closeOldest()
      if (mustSync) yield* this.#syncFull(full)
      this.#end = {
        offset: full.closed.end,
        chain: full.closed.linkChain,
        runningTime: oldState[k.STATE_RUNNING_TIME],
        chunkSequence: full.closed.firstChunkSequence + full.closed.chunks,
        syncedOffset: mustSync ? full.closed.end : oldState[k.STATE_SYNCED_OFFSET],
      }
    }
    const end = this.#end
    const header = encodeSegmentHeader(
      {
        sparse: false,
        logId: manifest.logId,
        salt: sources.randomBytes(8),
        base: end.offset,
        createdAt: sources.now(),
        epoch: manifest.state.epoch,
        generation: 0,
        prevChain: end.chain,
        maxRecordBytes: settings.maxRecordBytes,
        chunkBytes: settings.chunkBytes,
        form: settings.form,
        codec: settings.codec,
        firstChunkSequence: end.chunkSequence,
        syncedOffset: end.syncedOffset,
        runningTime: end.runningTime,
      },
      kernels.crc32c,
    )
    const segment = new Segment(directory, end.offset, 0, end.offset, SEGMENT_HEADER_BYTES, false)
    const file = this.#nextPath()
    yield* io.write(next.fd, 0, header.bytes, file)
    yield* io.datasync(next.fd, file)
    yield* io.rename(file, segment.path)
    this.#next = undefined
    try {
      yield* io.syncDirectory(path.join(directory, SEGMENTS_DIRECTORY))
    } catch (error) {
      yield* io.close(next.fd)
      throw error
    }
    segment.fd = next.fd
    segment.header = decodeSegmentHeader(header.bytes, kernels.crc32c, manifest.logId) as SegmentHeader
    const state = startState(segment.header, segment.fd, session.indexIntervalBytes).slice(0, k.STATE_LENGTH)
    state[k.STATE_ALLOCATED] = Math.max(next.reserved, SEGMENT_HEADER_BYTES)
    state[k.STATE_SYNCED_OFFSET] = Math.max(end.syncedOffset, oldState[k.STATE_SYNCED_OFFSET])
    this.#state = state
    segment.index = new OffsetIndex(segment.base)
    segments.push(segment)
    yield* this.#attach(segment)
    if (full === undefined || old === undefined) return
    this.#full.push(full)
    yield* writeIndex(old, kernels, session.indexIntervalBytes)
  }

  /** Footer, at the end of the data; the segment takes no more records. Repeating it writes the same bytes. */
  *#writeFooter(segment: Segment): Procedure<FullSegment> {
    const { environment, sources } = this.#parts
    const state = this.state()
    const header = segment.header
    if (header === undefined || segment.fd < 0) throw new Error('the segment is not open')
    const closedAt = sources.now()
    const position = state[k.STATE_POSITION]
    const end = state[k.STATE_NEXT_OFFSET]
    const count = end - segment.base
    const chunks = header.form === 'none' ? 0 : state[k.STATE_CHUNKS] + (state[k.STATE_CHUNK_RECORDS] > 0 ? 1 : 0)
    const footer = {
      firstOffset: segment.base,
      lastOffset: count === 0 ? end : end - 1,
      count,
      minTime: state[k.STATE_MIN_TIME],
      maxTime: state[k.STATE_MAX_TIME],
      fileBytes: position + FOOTER_FRAME_BYTES,
      contentChain: state[k.STATE_CHAIN],
      linkChain: state[k.STATE_CHAIN],
      chunks,
      nextOffset: end,
      closedAt,
    }
    yield* io.write(segment.fd, position, encodeFooter(footer, segment.seed, environment.kernels.crc32c), segment.path)
    segment.end = end
    segment.endPosition = position
    this.#ended = true
    return {
      segment,
      synced: false,
      closed: {
        base: segment.base,
        generation: segment.generation,
        end,
        bytes: footer.fileBytes,
        linkChain: footer.linkChain,
        firstChunkSequence: header.firstChunkSequence,
        chunks,
        runningTime: state[k.STATE_RUNNING_TIME],
        closedAt,
      },
    }
  }

  /** Truncates to size and syncs; then durable. */
  *#syncFull(full: FullSegment): Procedure<void> {
    const { segment, closed } = full
    if (full.synced) return
    if (segment.fd < 0) yield* segment.open(this.#parts.environment.kernels, this.#parts.manifest.logId, constants.O_RDWR)
    yield* io.truncate(segment.fd, closed.bytes, segment.path)
    yield* io.sync(segment.fd, segment.path)
    full.synced = true
  }

  *#markClosed(full: FullSegment): Procedure<void> {
    yield* this.#parts.manifest.append({ type: 'closed', segment: full.closed })
    full.segment.closed = true
  }

  /** Finishes the oldest full segment: size, sync, MANIFEST. */
  *closeOldest(): Procedure<void> {
    const full = this.#full[0]
    if (full === undefined) return
    yield* this.#syncFull(full)
    yield* this.#markClosed(full)
    this.#full.shift()
  }

  *closeAllFull(): Procedure<void> {
    while (this.#full.length > 0) yield* this.closeOldest()
  }

  /** Takes over a complete segment that recovery found: it still has to be closed. */
  *finish(segment: Segment, state: Float64Array, hasFooter: boolean): Procedure<void> {
    this.#state = state.slice(0, k.STATE_LENGTH)
    const full = hasFooter ? undefined : yield* this.#writeFooter(segment)
    const header = segment.header
    if (header === undefined) throw new Error('the segment is not open')
    const closed: FullSegment = full ?? {
      segment,
      synced: false,
      closed: {
        base: segment.base,
        generation: segment.generation,
        end: segment.end,
        bytes: segment.endPosition + FOOTER_FRAME_BYTES,
        linkChain: state[k.STATE_CHAIN],
        firstChunkSequence: header.firstChunkSequence,
        chunks: header.form === 'none' ? 0 : state[k.STATE_CHUNKS] + (state[k.STATE_CHUNK_RECORDS] > 0 ? 1 : 0),
        runningTime: state[k.STATE_RUNNING_TIME],
        closedAt: this.#parts.sources.now(),
      },
    }
    yield* this.#syncFull(closed)
    yield* this.#markClosed(closed)
    this.#end = {
      offset: closed.closed.end,
      chain: closed.closed.linkChain,
      runningTime: state[k.STATE_RUNNING_TIME],
      chunkSequence: closed.closed.firstChunkSequence + closed.closed.chunks,
      syncedOffset: closed.closed.end,
    }
  }

  /** Cuts reserved space off the active segment; for a clean close. */
  *trim(): Procedure<void> {
    const active = this.active
    if (active === undefined || active.fd < 0 || !this.attached) return
    yield* this.detach()
    const state = this.state()
    yield* io.truncate(active.fd, state[k.STATE_POSITION], active.path)
    state[k.STATE_ALLOCATED] = state[k.STATE_POSITION]
    this.#state = state
  }

  *#openCommitted(): Procedure<void> {
    if (this.#committedFd >= 0) return
    this.#committedFd = yield* io.open(path.join(this.#parts.directory, COMMITTED_FILE), constants.O_RDWR | constants.O_CREAT)
  }

  *#closeCommitted(): Procedure<void> {
    if (this.#committedFd < 0) return
    const fd = this.#committedFd
    this.#committedFd = -1
    yield* io.close(fd)
  }

  *#dropNext(): Procedure<void> {
    const next = this.#next
    if (next === undefined) return
    this.#next = undefined
    yield* io.close(next.fd)
    yield* io.unlink(this.#nextPath())
  }

  #nextPath(): string {
    return path.join(this.#parts.directory, SEGMENTS_DIRECTORY, NEXT_SEGMENT_FILE)
  }
}
