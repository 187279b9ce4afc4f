import { viewOf } from '../../format/bytes.js'
import { COMMITTED_BYTES, COMMITTED_SLOT, DURABLE_SLOT } from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrc } from './crc32c.js'
import type { EventQueue } from './events.js'
import { writeU64 } from './frames.js'
import { type Io, type IoCall, writeCall } from './io.js'

/** How far a log has come. Records and writes are counted from its creation, offsets are those of the log; all ends exclusive. */
export interface Progress {
  readonly committedRecords: number
  readonly committedOffset: number
  /** Behind the last commit frame that counts. */
  readonly position: number
  readonly syncedRecords: number
  readonly durableOffset: number
  /** Groups and marks written, and how many of them are synced. */
  readonly writes: number
  readonly syncedWrites: number
}

/** Tells the file COMMITTED and then the engine what has been committed. One write to the file is under way at most, so it never goes back. */
export class Announcement {
  readonly #io: Io
  readonly #events: EventQueue
  readonly #log: s.LogHandle
  readonly #state: Float64Array
  readonly #told: () => void
  /** What has been told. */
  last: Progress = { committedRecords: 0, committedOffset: 0, position: 0, syncedRecords: 0, durableOffset: 0, writes: 0, syncedWrites: 0 }
  /** COMMITTED; −1: not published. */
  #fd = -1
  #publishing = false
  #next: Progress | undefined
  /** INDEX rows of groups that have not been told, ENTRY_WIDTH numbers each. */
  readonly index: number[] = []
  releasedBytes = 0
  groups = 0
  syncs = 0

  /** `told`: rows were queued by a call that came back from libuv. */
  constructor(io: Io, events: EventQueue, log: s.LogHandle, state: Float64Array, told: () => void) {
    this.#io = io
    this.#events = events
    this.#log = log
    this.#state = state
    this.#told = told
  }

  get busy(): boolean {
    return this.#publishing
  }

  tell(progress: Progress): void {
    if (this.#fd < 0) return this.#queueRows(progress)
    this.#next = progress
    if (!this.#publishing) this.#publish()
  }

  /** The same on the calling thread. What is under way may reach the file behind it, so the file is written once more when that has come back. */
  tellNow(progress: Progress): void {
    if (this.#fd >= 0 && this.#isNews(progress)) {
      this.#next = this.#publishing ? progress : undefined
      this.#io.call(this.#slots(progress))
    }
    this.#queueRows(progress)
  }

  /** A segment was attached; nothing of it has been told. */
  begin(progress: Progress): void {
    this.last = progress
    this.#fd = this.#state[s.STATE_COMMITTED_FD]
  }

  /** The descriptor may be closed and its number given out again from now on. */
  end(): void {
    this.#fd = -1
    this.#next = undefined
  }

  /** The log has failed. What was committed before is told without the file. */
  endWith(progress: Progress): void {
    this.end()
    if (progress.committedRecords > this.last.committedRecords || progress.durableOffset > this.last.durableOffset) this.#queueRows(progress)
  }

  #publish(): void {
    const progress = this.#next
    if (progress === undefined) return
    this.#next = undefined
    this.#publishing = true
    // A failure costs readers elsewhere some freshness, no more.
    this.#io.start(this.#slots(progress), () => {
      this.#publishing = false
      this.#queueRows(progress)
      this.#publish()
      this.#told()
    })
  }

  #queueRows(progress: Progress): void {
    const { last } = this
    if (progress.writes < last.writes || progress.syncedWrites < last.syncedWrites || progress.durableOffset < last.durableOffset) return
    const news = this.#isNews(progress)
    this.last = progress
    let entries = 0
    for (; entries < this.index.length && this.index[entries] < progress.committedOffset; entries += s.ENTRY_WIDTH) {
      this.#events.push(s.EVENT_INDEX, this.#log, this.index[entries], this.index[entries + 1], this.index[entries + 2], this.index[entries + 3])
    }
    if (entries === this.index.length) this.index.length = 0
    else this.index.splice(0, entries)
    if (!news && this.releasedBytes === 0 && this.groups === 0 && this.syncs === 0) return
    const { committedOffset, durableOffset, position } = progress
    this.#events.push(s.EVENT_COMMITTED, this.#log, committedOffset, durableOffset, position, this.releasedBytes, this.groups, this.syncs)
    this.releasedBytes = this.groups = this.syncs = 0
  }

  #isNews(progress: Progress): boolean {
    const { last } = this
    return progress.writes > last.writes || progress.syncedWrites > last.syncedWrites || progress.durableOffset > last.durableOffset
  }

  #slots(progress: Progress): IoCall {
    const slots = new Uint8Array(COMMITTED_BYTES)
    const view = viewOf(slots)
    this.#fill(view, COMMITTED_SLOT, progress.committedOffset)
    this.#fill(view, DURABLE_SLOT, progress.durableOffset)
    return writeCall(this.#fd, [slots], 0)
  }

  #fill(view: DataView, at: number, end: number): void {
    writeU64(view, at, end)
    view.setUint32(at + 8, this.#state[s.STATE_EPOCH], true)
    view.setUint32(at + 12, extendCrc(this.#state[s.STATE_LOG_SEED], view, at, at + 12), true)
  }
}
