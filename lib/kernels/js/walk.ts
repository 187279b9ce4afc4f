import { constants } from 'node:os'
import * as s from '../kernels.js'
import { extendCrcWord } from './crc32c.js'
import { type Commit, FRAME_GOOD, type Frame, FrameOrder, frameRules } from './frame-check.js'
import type { Task } from './task.js'
import { FrameWindow, MIN_WINDOW_BYTES, NOT_LOADED } from './window.js'

/** FILE_WALK */
export function* walkGroups(fd: number, end: number, work: Uint8Array, numbers: Float64Array, entries: Float64Array | undefined): Task {
  if (work.length < MIN_WINDOW_BYTES) return -constants.errno.EINVAL
  const rules = frameRules(numbers[s.STATE_SEED], numbers[s.STATE_SPARSE] !== 0, numbers[s.STATE_MAX_RECORD_BYTES])
  const window = new FrameWindow(fd, end, work, rules)
  const walk = new Walk(numbers, entries, rules.sparse)
  let verdict = FRAME_GOOD
  while (verdict === FRAME_GOOD) {
    verdict = window.check(walk.position)
    if (verdict === NOT_LOADED) verdict = yield* window.load(walk.position)
    if (verdict === FRAME_GOOD) verdict = walk.take(window.frame, window.commit)
  }
  if (verdict < 0) return verdict
  if (verdict === s.STOP_NEWER) numbers[s.WALK_NEWER] = window.frame.type | (window.frame.flags << 8)
  numbers[s.WALK_STOP] = verdict
  numbers[s.WALK_STOP_POSITION] = walk.position
  return 0
}

/** Fields of the state vector that records change. */
const RECORD_FIELDS = [
  s.STATE_CHUNKS,
  s.STATE_CHUNK_PAYLOAD,
  s.STATE_CHUNK_RECORDS,
  s.STATE_RECORDS,
  s.STATE_RUNNING_TIME,
  s.STATE_MIN_TIME,
  s.STATE_MAX_TIME,
  s.STATE_LAST_INDEXED,
]

class Walk {
  /** Of the next frame. */
  position: number
  readonly #numbers: Float64Array
  readonly #entries: Float64Array | undefined
  readonly #order: FrameOrder
  /** The state with the group under way; what counts is in #numbers. */
  readonly #next: Float64Array
  #groupStart: number
  #groupRecords = 0
  #chain: number
  #entryCount = 0

  constructor(numbers: Float64Array, entries: Float64Array | undefined, sparse: boolean) {
    this.#numbers = numbers
    this.#entries = entries
    this.#order = new FrameOrder(sparse, numbers[s.STATE_NEXT_OFFSET], -1)
    this.#next = numbers.slice(0, s.STATE_LENGTH)
    this.position = this.#groupStart = numbers[s.STATE_POSITION]
    this.#chain = extendCrcWord(0, numbers[s.STATE_CHAIN])
    numbers[s.WALK_GROUPS] = numbers[s.WALK_MARKS] = numbers[s.WALK_ENTRIES] = numbers[s.WALK_NEWER] = 0
    numbers[s.WALK_LAST_SYNCED] = numbers[s.WALK_LAST_COMMIT] = numbers[s.WALK_LAST_EPOCH] = numbers[s.WALK_MAX_SYNCED] = -1
  }

  /** Takes in the good frame at `position`, or says why the walk stops in front of it. */
  take(frame: Frame, commit: Commit): number {
    if (frame.isRecord) return this.#takeRecord(frame)
    if (frame.isCommit) return this.#takeCommit(frame, commit)
    return this.#groupRecords === 0 && this.#order.acceptEnd(frame) ? s.STOP_FOOTER : s.STOP_ORDER
  }

  #takeRecord(frame: Frame): number {
    const next = this.#next
    if (!this.#order.acceptRecord(frame)) return s.STOP_ORDER
    const last = next[s.STATE_LAST_INDEXED]
    if (last < 0 || this.position - last >= next[s.STATE_INDEX_INTERVAL]) {
      if (this.#entries !== undefined && !this.#addEntry(this.#entries, frame.offset)) return s.STOP_TABLE_FULL
      next[s.STATE_LAST_INDEXED] = this.position
    }
    const { timestamp } = frame
    if (timestamp > next[s.STATE_RUNNING_TIME]) next[s.STATE_RUNNING_TIME] = timestamp
    if (timestamp < next[s.STATE_MIN_TIME]) next[s.STATE_MIN_TIME] = timestamp
    if (timestamp > next[s.STATE_MAX_TIME]) next[s.STATE_MAX_TIME] = timestamp
    if (next[s.STATE_CHUNK_BYTES] > 0) this.#countForChunk(frame)
    next[s.STATE_RECORDS]++
    this.position += frame.size
    this.#groupRecords++
    this.#chain = extendCrcWord(this.#chain, frame.crc)
    return FRAME_GOOD
  }

  #addEntry(entries: Float64Array, offset: number): boolean {
    const at = this.#entryCount * s.ENTRY_WIDTH
    if (at + s.ENTRY_WIDTH > entries.length) return false
    entries[at] = offset
    entries[at + 1] = this.position
    entries[at + 2] = this.#order.batchFirst
    entries[at + 3] = this.#next[s.STATE_RUNNING_TIME]
    this.#entryCount++
    return true
  }

  #countForChunk(frame: Frame): void {
    const next = this.#next
    next[s.STATE_CHUNK_PAYLOAD] += frame.bodyLength - frame.prefix
    next[s.STATE_CHUNK_RECORDS]++
    if (frame.continuesBatch || next[s.STATE_CHUNK_PAYLOAD] < next[s.STATE_CHUNK_BYTES]) return
    next[s.STATE_CHUNKS]++
    next[s.STATE_CHUNK_PAYLOAD] = next[s.STATE_CHUNK_RECORDS] = 0
  }

  #takeCommit(frame: Frame, commit: Commit): number {
    const numbers = this.#numbers
    const mark = commit.records === 0
    if (!this.#order.acceptEnd(frame) || !commit.isSane(frame.offset, this.position)) return s.STOP_ORDER
    if (commit.records !== this.#groupRecords || commit.groupStart !== this.#groupStart) return s.STOP_ORDER
    if (commit.prevChain !== numbers[s.STATE_CHAIN] || (!mark && commit.chain !== this.#chain)) return s.STOP_ORDER
    if (commit.epoch < numbers[s.STATE_EPOCH]) return s.STOP_ORDER

    numbers[mark ? s.WALK_MARKS : s.WALK_GROUPS]++
    numbers[s.WALK_LAST_SYNCED] = commit.syncedOffset
    numbers[s.WALK_LAST_COMMIT] = this.position
    numbers[s.WALK_LAST_EPOCH] = commit.epoch
    numbers[s.WALK_ENTRIES] = this.#entryCount
    if (commit.syncedOffset > numbers[s.WALK_MAX_SYNCED]) numbers[s.WALK_MAX_SYNCED] = commit.syncedOffset

    this.position += frame.size
    for (const field of RECORD_FIELDS) numbers[field] = this.#next[field]
    numbers[s.STATE_POSITION] = this.position
    numbers[s.STATE_NEXT_OFFSET] = frame.offset
    numbers[s.STATE_CHAIN] = commit.chain
    numbers[s.STATE_EPOCH] = commit.epoch
    numbers[s.STATE_MARKED] = mark ? 1 : 0
    this.#groupStart = this.position
    this.#groupRecords = 0
    this.#chain = extendCrcWord(0, commit.chain)
    return FRAME_GOOD
  }
}
