import { constants } from 'node:os'
import { COMMIT_FRAME_BYTES } from '../../format/constants.js'
import * as s from '../kernels.js'
import { Announcement, type Progress } from './announcement.js'
import { type CommitterHost, nextWrite, type SyncStep, type WriteStep, type Written } from './commit-steps.js'
import { cutGroup, cutMark, firstBatchBytes, type Group } from './group.js'
import { fileCall } from './io.js'
import { RecordQueue } from './queue.js'
import { TailCache } from './tail-cache.js'
import { type Waiter, Waiters } from './waiters.js'

const { EIO } = constants.errno

/**
 * The commit path of one log (docs/commit-path.md): queue → group → write → sync → COMMITTED. At most one write and one sync are under way. In mode
 * `fsync` a group is synced before the next is written; `flush` and `none` sync only when asked to, beside the writes.
 */
export class LogCommitter {
  readonly handle: s.LogHandle
  /** Set while `submit` has rows of this log that it has not acted on. */
  touched = false
  readonly cache: TailCache
  readonly #host: CommitterHost
  readonly #mode: number
  readonly #holdBytes: number
  readonly #queue: RecordQueue
  /** Behind the last group that was cut. */
  readonly #state = new Float64Array(s.STATE_LENGTH)
  /** Behind the last group that counts. */
  readonly #counted = new Float64Array(s.STATE_LENGTH)
  #attached = false
  #needSent = false
  #failed = false
  #gone = false

  /** Records of complete batches, and those of them that groups have taken, since creation. */
  #submitted = 0
  #cutRecords = 0
  /** Up to here `commit` wants the queue written, whatever `holdBytes` says. */
  #wanted = 0
  #written: Written = { records: 0, offset: 0, position: 0, writes: 0 }
  /** As known when the last successful sync was started. */
  #synced = this.#written
  #durableRecords = 0
  #write: WriteStep | undefined
  #sync: SyncStep | undefined
  /** Mode `fsync`: written but not synced; a synchronous commit may have to write them once more. */
  readonly #unsynced: Group[] = []
  readonly #announcement: Announcement
  readonly #waiters: Waiters
  #detachTickets: s.Ticket[] = []

  constructor(host: CommitterHost, handle: s.LogHandle, mode: number, holdBytes: number) {
    this.#host = host
    this.handle = handle
    this.cache = new TailCache(host.caches)
    this.#mode = mode
    this.#holdBytes = holdBytes
    this.#queue = new RecordQueue(host.pool)
    this.#waiters = new Waiters(host.events)
    this.#announcement = new Announcement(host.io, host.events, handle, this.#state, () => this.#goOn())
    this.#state[s.STATE_FD] = this.#state[s.STATE_COMMITTED_FD] = -1
    this.#state[s.STATE_RUNNING_TIME] = this.#state[s.STATE_MAX_TIME] = this.#state[s.STATE_LAST_INDEXED] = -1
    this.#state[s.STATE_MIN_TIME] = Infinity
    this.#counted.set(this.#state)
  }

  // ── what the engine asks for ───────────────────────────────────────────────────────────────────────────────────

  append(bytes: Uint8Array, from: number, bodyLength: number, meta: number, timestamp: number): void {
    if (this.#failed) return
    this.#queue.append(bytes, from, bodyLength, meta, timestamp)
    this.#submitted = this.#cutRecords + this.#queue.records
  }

  appendParts(meta: number, timestamp: number, key: Uint8Array | undefined, value: Uint8Array): void {
    if (this.#failed) return
    this.#queue.appendParts(meta, timestamp, key, value)
    this.#submitted = this.#cutRecords + this.#queue.records
  }

  attach(state: Float64Array): void {
    if (this.#attached) throw new Error('a segment is attached already')
    if (this.#queuedRecords() > 0 && state[s.STATE_NEXT_OFFSET] !== this.#state[s.STATE_NEXT_OFFSET])
      throw new Error('the segment does not go on where the queue does')
    this.#state.set(state.subarray(0, s.STATE_LENGTH))
    this.#counted.set(this.#state)
    this.#attached = true
    this.#needSent = false
    const { records, writes } = this.#written
    this.#written = { records, offset: state[s.STATE_NEXT_OFFSET], position: state[s.STATE_POSITION], writes }
    // Where the engine does not know everything to be durable, a commit that is to be synced finds something left to sync.
    const durable = state[s.STATE_SYNCED_OFFSET] >= state[s.STATE_NEXT_OFFSET]
    this.#synced = this.#written
    this.#durableRecords = durable ? records : Math.min(this.#durableRecords, records - 1)
    this.#announcement.begin(this.#progress())
    this.pump()
  }

  detach(ticket: s.Ticket): void {
    this.#detachTickets.push(ticket)
    this.pump()
  }

  detachSync(): void {
    if (this.#attached && !this.#failed) {
      this.#finishWrite()
      if (this.#sync !== undefined || this.#isSyncDue()) this.#syncNow()
      if (!this.#failed) this.#announcement.tellNow(this.#progress())
    }
    this.#attached = false
    this.#announcement.end()
    this.pump()
  }

  copyState(into: Float64Array): void {
    into.set(this.#counted)
    into[s.STATE_SYNCED_OFFSET] = this.#state[s.STATE_SYNCED_OFFSET]
  }

  commit(level: number, ticket: s.Ticket): void {
    if (this.#failed) return this.#host.events.push(s.EVENT_DONE, ticket, s.STATUS_FAILED)
    this.#wanted = this.#submitted
    this.#waiters.add({ level, target: this.#submitted, ticket })
    this.pump()
  }

  commitSync(level: number): number {
    if (this.#failed) return s.STATUS_FAILED
    this.#wanted = this.#submitted
    const status = this.#commitNow(level)
    if (this.#failed) return s.STATUS_FAILED
    this.#announcement.tellNow(this.#progress())
    this.pump()
    return status
  }

  /** The twin reserves no space and so never rejects; what is queued is forgotten all the same. */
  resume(nextOffset: number): void {
    if (this.#attached && this.#state[s.STATE_NEXT_OFFSET] !== nextOffset) throw new Error('the attached segment goes on at another offset')
    this.#queue.drop()
    this.#needSent = false
    this.#submitted = this.#wanted = this.#cutRecords
    this.#state[s.STATE_NEXT_OFFSET] = this.#counted[s.STATE_NEXT_OFFSET] = nextOffset
    this.#waiters.end(s.STATUS_REJECTED, ({ target }) => target > this.#cutRecords)
  }

  destroy(): void {
    if (this.#queuedRecords() > 0 && !this.#failed) throw new Error('records of the log are still queued')
    this.#gone = true
    this.cache.setLimits(0, 0, 0)
    this.#announcement.end()
    this.#waiters.end(s.STATUS_FAILED, () => true)
    this.#endDetach()
  }

  /** Writes what fits the segment, syncs and tells nothing. */
  stop(): void {
    if (this.#attached && !this.#failed) {
      this.#finishWrite()
      this.#writeQueue()
      if (this.#mode !== s.MODE_FSYNC && !this.#failed) this.#announcement.tellNow(this.#progress())
    }
    this.#announcement.end()
    this.#gone = true
  }

  // ── what happens when ──────────────────────────────────────────────────────────────────────────────────────────

  /** Starts whatever may be started now. */
  pump(): void {
    if (this.#gone) return
    this.#settleWaiters()
    this.#completeDetach()
    if (this.#failed) return
    if (this.#isSyncDue()) this.#startSync()
    this.#startWrite()
  }

  #goOn(): void {
    this.pump()
    this.#host.events.flush()
  }

  #startWrite(): void {
    if (this.#write !== undefined || this.#detachTickets.length > 0) return
    if (this.#mode === s.MODE_FSYNC && (this.#sync !== undefined || this.#synced.writes < this.#written.writes)) return
    let group: Group | undefined
    if (this.#attached && this.#waiters.wantMark(this.#written.records)) {
      if (this.#sync !== undefined || this.#hasUnsynced() || !this.#isMarkNeeded()) return
      group = cutMark(this.#state)
    } else {
      if (this.#needSent || !this.#wantsToWrite()) return
      group = this.#cut()
      if (group === undefined) return this.#askForSegment()
    }
    this.#write = { group, done: 0 }
    this.#continueWrite(this.#write)
  }

  #continueWrite(step: WriteStep): void {
    const { group } = step
    this.#host.io.start(nextWrite(this.#state[s.STATE_FD], group, step.done), (result) => {
      if (this.#write !== step || this.#gone) return
      if (result > 0) step.done += result
      if (result > 0 && step.done < group.bytes) return this.#continueWrite(step)
      if (result <= 0) {
        this.#fail(result === 0 ? EIO : -result, s.FAILED_WRITE)
      } else {
        this.#write = undefined
        this.#countWrite(group)
        if (this.#mode !== s.MODE_FSYNC) this.#announcement.tell(this.#progress())
      }
      this.#goOn()
    })
  }

  #startSync(): void {
    const step: SyncStep = { covers: this.#written, groups: this.#unsynced.length, superseded: false }
    this.#sync = step
    this.#host.io.start(fileCall('datasync', this.#state[s.STATE_FD]), (result) => {
      const current = this.#sync === step
      if (current) this.#sync = undefined
      if (this.#gone || this.#failed) return
      if (result < 0 && !step.superseded) {
        this.#fail(-result, s.FAILED_SYNC)
      } else if (current) {
        this.#countSync(step.covers)
        this.#announcement.tell(this.#progress())
      }
      this.#goOn()
    })
  }

  #cut(): Group | undefined {
    if (!this.#attached) return undefined
    const group = cutGroup(this.#queue, this.#state, this.#announcement.index)
    this.#cutRecords += group?.records ?? 0
    return group
  }

  #countWrite(group: Group): void {
    const state = this.#state
    const { records, writes } = this.#written
    this.#written = {
      records: records + group.records,
      offset: state[s.STATE_NEXT_OFFSET],
      position: group.position + group.bytes,
      writes: writes + 1,
    }
    state[s.STATE_ALLOCATED] = Math.max(state[s.STATE_ALLOCATED], this.#written.position)
    this.#announcement.releasedBytes += group.queuedBytes
    if (group.records > 0) this.#announcement.groups++
    if (this.#mode === s.MODE_FSYNC) {
      this.#unsynced.push(group)
      return
    }
    this.#counted.set(state)
    this.cache.add(group)
    group.release(this.#host.pool)
    this.#queue.trim()
  }

  #countSync(covers: Written): void {
    const state = this.#state
    this.#synced = covers
    this.#durableRecords = covers.records
    this.#announcement.syncs++
    if (covers.offset > state[s.STATE_SYNCED_OFFSET]) state[s.STATE_SYNCED_OFFSET] = covers.offset
    if (this.#mode !== s.MODE_FSYNC || covers.writes < this.#written.writes) return
    for (const group of this.#unsynced) {
      this.cache.add(group)
      group.release(this.#host.pool)
    }
    this.#unsynced.length = 0
    this.#queue.trim()
    if (this.#write === undefined) this.#counted.set(state)
  }

  #progress(): Progress {
    const committed = this.#mode === s.MODE_FSYNC ? this.#synced : this.#written
    return {
      committedRecords: committed.records,
      committedOffset: committed.offset,
      position: committed.position,
      syncedRecords: this.#durableRecords,
      durableOffset: this.#state[s.STATE_SYNCED_OFFSET],
      writes: this.#written.writes,
      syncedWrites: this.#synced.writes,
    }
  }

  #fail(errno: number, operation: number): void {
    const { events, pool } = this.#host
    this.#announcement.endWith(this.#progress())
    this.#failed = true
    events.push(s.EVENT_FAILED, this.handle, errno, operation, this.#counted[s.STATE_POSITION])
    this.#abandonWrite()?.release(pool)
    this.#sync = undefined
    for (const group of this.#unsynced) group.release(pool)
    this.#unsynced.length = 0
    this.#queue.drop()
    this.#waiters.end(s.STATUS_FAILED, () => true)
  }

  // ── decisions ──────────────────────────────────────────────────────────────────────────────────────────────────

  #wantsToWrite(): boolean {
    const { bytes } = this.#queue
    return bytes > 0 && (bytes >= this.#holdBytes || this.#wanted > this.#cutRecords)
  }

  #queuedRecords(): number {
    return this.#queue.records + this.#queue.openRecords
  }

  #hasUnsynced(): boolean {
    return this.#synced.writes < this.#written.writes || this.#durableRecords < this.#written.records
  }

  #isSyncDue(): boolean {
    if (!this.#attached || this.#failed || this.#sync !== undefined) return false
    if (this.#mode === s.MODE_FSYNC && this.#write === undefined && this.#synced.writes < this.#written.writes) return true
    return this.#waiters.wantSync(this.#written.records, this.#durableRecords, this.#hasUnsynced())
  }

  #isMarkNeeded(): boolean {
    return this.#attached && this.#state[s.STATE_MARKED] !== 1 && this.#state[s.STATE_RECORDS] > 0
  }

  #isReached({ level, target }: Waiter): boolean {
    if (!this.#attached && this.#queue.bytes === 0) return true
    const told = this.#announcement.last
    switch (level) {
      case s.COMMIT_WRITTEN:
        return (this.#mode === s.MODE_FSYNC ? this.#written.records : told.committedRecords) >= target
      case s.COMMIT_MODE:
        return told.committedRecords >= target
      case s.COMMIT_SYNCED:
        return told.syncedRecords >= target
      default:
        return told.syncedRecords >= target && told.syncedWrites === this.#written.writes && this.#write === undefined && !this.#isMarkNeeded()
    }
  }

  #askForSegment(): void {
    if (this.#needSent) return
    this.#needSent = true
    this.#host.events.push(s.EVENT_NEED_SEGMENT, this.handle, this.#state[s.STATE_NEXT_OFFSET], firstBatchBytes(this.#queue) + COMMIT_FRAME_BYTES)
  }

  #completeDetach(): void {
    if (this.#detachTickets.length === 0) return
    if (!this.#failed && this.#attached) {
      if (this.#write !== undefined || this.#sync !== undefined || this.#announcement.busy || this.#isSyncDue()) return
    }
    this.#attached = false
    this.#announcement.end()
    this.#endDetach()
    this.#settleWaiters()
  }

  #endDetach(): void {
    for (const ticket of this.#detachTickets) this.#host.events.push(s.EVENT_DONE, ticket, 0)
    this.#detachTickets = []
  }

  #settleWaiters(): void {
    this.#waiters.end(0, (waiter) => this.#isReached(waiter))
  }

  // ── on the calling thread ──────────────────────────────────────────────────────────────────────────────────────

  #commitNow(level: number): number {
    if (!this.#attached && this.#queue.bytes === 0) return 0
    this.#finishWrite()
    this.#writeQueue()
    if (this.#failed) return s.STATUS_FAILED
    const incomplete = this.#queue.bytes > 0
    // A segment is left with nothing unsynced behind, where that matters.
    const toSync = level >= s.COMMIT_SYNCED || (this.#mode === s.MODE_FSYNC && (level === s.COMMIT_MODE || incomplete))
    const unsynced = level >= s.COMMIT_SYNCED ? this.#hasUnsynced() : this.#synced.writes < this.#written.writes
    if (toSync && this.#attached && unsynced) this.#syncNow()
    if (this.#failed) return s.STATUS_FAILED
    if (incomplete) {
      this.#askForSegment()
      return s.STATUS_NEED_SEGMENT
    }
    if (level < s.COMMIT_MARKED || !this.#isMarkNeeded() || this.#detachTickets.length > 0) return 0
    if (this.#writeNow(cutMark(this.#state))) this.#syncNow()
    return this.#failed ? s.STATUS_FAILED : 0
  }

  /** Writes a group that is under way once more: it cannot be waited for. */
  #finishWrite(): void {
    const group = this.#abandonWrite()
    if (group !== undefined) this.#writeNow(group)
  }

  #abandonWrite(): Group | undefined {
    const group = this.#write?.group
    this.#write = undefined
    group?.pin()
    return group
  }

  /** As many groups as the segment takes. */
  #writeQueue(): void {
    while (!this.#failed && this.#queue.bytes > 0 && this.#detachTickets.length === 0) {
      const group = this.#cut()
      if (group === undefined || !this.#writeNow(group)) return
    }
  }

  /** What it means is told once, when the synchronous call is through. */
  #writeNow(group: Group): boolean {
    if (!this.#writeBytes(group)) return false
    this.#countWrite(group)
    return true
  }

  /**
   * A sync under way is not waited for. In mode `fsync` its groups are written once more, which makes their pages dirty again for this sync; in the
   * other modes the bytes are gone, so if it still fails, that counts.
   */
  #syncNow(): void {
    const step = this.#sync
    if (step !== undefined && this.#mode === s.MODE_FSYNC) {
      for (const group of this.#unsynced.slice(0, step.groups)) if (!this.#writeBytes(group)) return
      step.superseded = true
    }
    this.#sync = undefined
    const result = this.#host.io.call(fileCall('datasync', this.#state[s.STATE_FD]))
    if (result < 0) this.#fail(-result, s.FAILED_SYNC)
    else this.#countSync(this.#written)
  }

  #writeBytes(group: Group): boolean {
    for (let done = 0; done < group.bytes; ) {
      const result = this.#host.io.call(nextWrite(this.#state[s.STATE_FD], group, done))
      if (result <= 0) {
        this.#fail(result === 0 ? EIO : -result, s.FAILED_WRITE)
        return false
      }
      done += result
    }
    return true
  }
}
