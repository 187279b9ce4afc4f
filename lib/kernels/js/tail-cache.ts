import { performance } from 'node:perf_hooks'
import { viewOf } from '../../format/bytes.js'
import * as f from '../../format/constants.js'
import * as s from '../kernels.js'
import type { Group } from './group.js'

/** A block is freed as a whole: small ones leave little in memory that is not cached any more. */
const MAX_BLOCK_FRAME_BYTES = 64 * 1024
const MIN_BLOCKS_OF_FULL_CACHE = 8
/** What a block costs besides its frames: this much, and an entry per record. */
const BLOCK_BYTES = 64
const RECORD_BYTES = 8

/** Consecutive records; never changed once it is filled. */
interface CachedBlock {
  readonly owner: TailCache
  readonly first: number
  readonly records: number
  readonly committedMs: number
  /** Where each record's frame starts, and the end. */
  readonly starts: Uint32Array
  /** Each record's place in its batch. */
  readonly batchIndexes: Uint32Array
  readonly bytes: Uint8Array
  readonly view: DataView
}

/** The last frames of a group, parts of it without copies. */
interface Frames {
  readonly parts: Uint8Array[]
  readonly batchIndexes: number[]
}

interface Range {
  records: number
  bytes: number
}

/** What the tail caches of an environment share: the budget, and the order in which blocks came. */
export class TailCaches {
  readonly budget: number
  readonly blocks = new Set<CachedBlock>()
  /** Caches that hold anything. */
  readonly filled = new Set<TailCache>()
  bytes = 0

  constructor(budget: number) {
    this.budget = budget
  }

  /** Drops what is too old; bytes that are still cached. */
  sweep(): number {
    const now = performance.now()
    for (const cache of this.filled) cache.evictOld(now)
    return this.bytes
  }
}

/** The newest records of one log: a contiguous stretch that ends where the log ends as committed. */
export class TailCache {
  readonly #shared: TailCaches
  #maxRecords = 0
  #maxAgeMs = 0
  #maxBytes = 0
  /** Oldest first; the first may begin with records that are gone. */
  readonly #blocks: CachedBlock[] = []
  #oldest = 0
  #bytes = 0
  /** Records that left, by reason: from CACHE_EVICTED_RECORDS on. */
  readonly #evicted = new Float64Array(s.CACHE_LENGTH)

  constructor(shared: TailCaches) {
    this.#shared = shared
  }

  get #end(): number {
    const last = this.#blocks.at(-1)
    return last === undefined ? 0 : last.first + last.records
  }

  setLimits(records: number, ageMs: number, bytes: number): void {
    this.#maxRecords = records
    this.#maxAgeMs = ageMs
    this.#maxBytes = bytes
    this.#enforce(performance.now())
  }

  /** Takes in a group that has been committed. */
  add(group: Group): void {
    if (this.#maxRecords === 0 || group.records === 0) return
    const now = performance.now()
    const frames = lastFrames(group, this.#maxRecords)
    const first = group.firstOffset + group.records - frames.parts.length
    const blocks = this.#fit(frames, first, now)
    const reason = blocks.length > 0 && blocks[0].first === first ? s.CACHE_EVICTED_RECORDS : s.CACHE_EVICTED_BYTES
    if (blocks.length === 0 || blocks[0].first !== this.#end) while (this.#blocks.length > 0) this.#evict(reason)
    for (const block of blocks) this.#append(block)
    this.#enforce(now)
  }

  copyState(numbers: Float64Array): void {
    this.evictOld(performance.now())
    const filled = this.#blocks.length > 0
    numbers.set(this.#evicted)
    numbers[s.CACHE_OLDEST] = filled ? this.#oldest : 0
    numbers[s.CACHE_END] = this.#end
    numbers[s.CACHE_RECORDS] = filled ? this.#end - this.#oldest : 0
    numbers[s.CACHE_BYTES] = this.#bytes
  }

  read(offset: number, into: ArrayBuffer, to: number, { copyOut, out }: s.Shared): number {
    const at = this.#find(offset)
    if (at < 0) return s.READ_NOT_FOUND
    const { first, starts, batchIndexes, bytes, view } = this.#blocks[at]
    const record = offset - first
    const start = starts[record]
    const end = starts[record + 1]
    const keyBytes = keyPart(view, start)
    const valueStart = f.FRAME_HEADER_BYTES + keyBytes
    const valueLength = view.getUint32(start + 4, true) - keyBytes
    const placed = keyBytes === 0 && to + valueLength <= into.byteLength
    if (placed) new Uint8Array(into, to, valueLength).set(bytes.subarray(start + valueStart, start + valueStart + valueLength))
    else if (end - start > copyOut.length) return s.READ_LARGE
    else copyOut.set(bytes.subarray(start, end))
    out[s.OUT_VALUE_START] = valueStart
    out[s.OUT_VALUE_LENGTH] = valueLength
    out[s.OUT_KEY_START] = f.FRAME_HEADER_BYTES + Math.min(keyBytes, 2)
    out[s.OUT_KEY_LENGTH] = keyBytes === 0 ? -1 : keyBytes - 2
    out[s.OUT_TYPE] = bytes[start + 22]
    out[s.OUT_TIMESTAMP] = view.getUint32(start + 16, true) + view.getUint16(start + 20, true) * 2 ** 32
    out[s.OUT_BATCH_FIRST] = offset - batchIndexes[record]
    return placed ? s.READ_PLACED : s.READ_OK
  }

  readBlock(offset: number, limit: number, maxBytes: number, bytes: Uint8Array, numbers: Float64Array, table: Uint32Array): number {
    numbers[s.SCAN_COUNT] = numbers[s.SCAN_NEEDED] = 0
    const rows = Math.floor(table.length / s.SCAN_COLUMNS)
    let at = offset < limit ? this.#find(offset) : -1
    if (at < 0) return 0
    const range = this.#measure(at, offset, Math.min(limit, this.#end), maxBytes, rows)
    numbers[s.SCAN_COUNT] = range.records
    if (range.bytes > bytes.length || range.records > rows) {
      numbers[s.SCAN_NEEDED] = range.bytes
      return 0
    }
    let row = 0
    let to = 0
    for (let next = offset, left = range.records; left > 0; at++) {
      const block = this.#blocks[at]
      const begin = next - block.first
      const end = Math.min(block.records, begin + left)
      const from = block.starts[begin]
      bytes.set(block.bytes.subarray(from, block.starts[end]), to)
      for (let record = begin; record < end; record++, row += s.SCAN_COLUMNS) {
        const start = block.starts[record]
        const keyBytes = keyPart(block.view, start)
        table[row] = to + start - from
        table[row + 1] = table[row] + f.FRAME_HEADER_BYTES + keyBytes
        table[row + 2] = block.view.getUint32(start + 4, true) - keyBytes
        table[row + 3] = block.batchIndexes[record]
      }
      to += block.starts[end] - from
      left -= end - begin
      next += end - begin
    }
    numbers[s.SCAN_NEXT_OFFSET] = offset + range.records
    return 1
  }

  dropBelow(offset: number): number {
    let records = 0
    while (this.#blocks.length > 0 && this.#blocks[0].first + this.#blocks[0].records <= offset) records += this.#removeOldest()
    if (this.#blocks.length === 0 || this.#oldest >= offset) return records
    records += offset - this.#oldest
    this.#oldest = offset
    return records
  }

  evictOld(now: number): void {
    while (this.#blocks.length > 0 && now - this.#blocks[0].committedMs >= this.#maxAgeMs) this.#evict(s.CACHE_EVICTED_AGE)
  }

  /** Blocks for as many of the frames, from the last one back, as the bounds allow. */
  #fit(frames: Frames, first: number, committedMs: number): CachedBlock[] {
    const limit = Math.min(this.#maxBytes, this.#shared.budget)
    const maxBlock = Math.min(MAX_BLOCK_FRAME_BYTES, Math.floor(limit / MIN_BLOCKS_OF_FULL_CACHE))
    const blocks: CachedBlock[] = []
    let total = 0
    for (let end = frames.parts.length; end > 0; ) {
      let begin = end
      let bytes = 0
      for (; begin > 0; begin--) {
        const withNext = bytes + frames.parts[begin - 1].length
        if (begin < end && withNext > maxBlock) break
        if (total + BLOCK_BYTES + (end - begin + 1) * RECORD_BYTES + withNext > limit) break
        bytes = withNext
      }
      if (begin === end) break
      const block = blockOf(this, frames, begin, end, bytes, first + begin, committedMs)
      total += costOf(block)
      blocks.unshift(block)
      end = begin
    }
    return blocks
  }

  /** Whole batches from `offset` in block `at` on. */
  #measure(at: number, offset: number, limit: number, maxBytes: number, maxRecords: number): Range {
    const whole: Range = { records: 0, bytes: 0 }
    let block = this.#blocks[at]
    let record = offset - block.first
    for (let records = 1, bytes = 0; ; records++) {
      bytes += block.starts[record + 1] - block.starts[record]
      if (whole.records > 0 && (bytes > maxBytes || records > maxRecords)) return whole
      if (offset + records === limit) return { records, bytes }
      if (++record === block.records) {
        block = this.#blocks[++at]
        record = 0
      }
      if (block.batchIndexes[record] !== 0) continue
      whole.records = records
      whole.bytes = bytes
      if (bytes >= maxBytes) return whole
    }
  }

  #find(offset: number): number {
    if (this.#blocks.length === 0 || offset < this.#oldest || offset >= this.#end) return -1
    let low = 0
    let high = this.#blocks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.#blocks[middle].first <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  #append(block: CachedBlock): void {
    if (this.#blocks.length === 0) this.#oldest = block.first
    this.#blocks.push(block)
    this.#bytes += costOf(block)
    this.#shared.bytes += costOf(block)
    this.#shared.blocks.add(block)
    this.#shared.filled.add(this)
  }

  #evict(reason: number): void {
    this.#evicted[reason] += this.#removeOldest()
  }

  #removeOldest(): number {
    const block = this.#blocks.shift()
    if (block === undefined) return 0
    const end = block.first + block.records
    const records = end - this.#oldest
    this.#oldest = end
    this.#bytes -= costOf(block)
    this.#shared.bytes -= costOf(block)
    this.#shared.blocks.delete(block)
    if (this.#blocks.length === 0) this.#shared.filled.delete(this)
    return records
  }

  #enforce(now: number): void {
    if (this.#maxRecords === 0) while (this.#blocks.length > 0) this.#evict(s.CACHE_EVICTED_RECORDS)
    this.evictOld(now)
    if (this.#blocks.length > 0) this.#evicted[s.CACHE_EVICTED_RECORDS] += this.dropBelow(this.#end - this.#maxRecords)
    while (this.#bytes > this.#maxBytes) this.#evict(s.CACHE_EVICTED_BYTES)
    for (const { owner } of this.#shared.blocks) {
      if (this.#shared.bytes <= this.#shared.budget) break
      owner.#evict(s.CACHE_EVICTED_BUDGET)
    }
  }
}

function costOf(block: CachedBlock): number {
  return BLOCK_BYTES + block.records * RECORD_BYTES + block.bytes.length
}

function lastFrames(group: Group, most: number): Frames {
  const skipped = Math.max(0, group.records - most)
  const frames: Frames = { parts: [], batchIndexes: [] }
  let seen = 0
  let batchIndex = 0
  for (const part of group.parts) {
    const view = viewOf(part)
    for (let at = 0; at < part.length && seen < group.records; seen++) {
      const size = f.frameBytes(view.getUint32(at + 4, true))
      if (seen >= skipped) {
        frames.parts.push(part.subarray(at, at + size))
        frames.batchIndexes.push(batchIndex)
      }
      batchIndex = (view.getUint8(at + 23) & f.FLAG_BATCH_CONTINUES) === 0 ? 0 : batchIndex + 1
      at += size
    }
  }
  return frames
}

function blockOf(owner: TailCache, frames: Frames, begin: number, end: number, length: number, first: number, committedMs: number): CachedBlock {
  const records = end - begin
  const starts = new Uint32Array(records + 1)
  const batchIndexes = Uint32Array.from(frames.batchIndexes.slice(begin, end))
  const bytes = new Uint8Array(length)
  for (let record = 0; record < records; record++) {
    const frame = frames.parts[begin + record]
    bytes.set(frame, starts[record])
    starts[record + 1] = starts[record] + frame.length
  }
  return { owner, first, records, committedMs, starts, batchIndexes, bytes, view: viewOf(bytes) }
}

/** Bytes of the key and its length; 0: no key. */
function keyPart(view: DataView, frame: number): number {
  return (view.getUint8(frame + 23) & f.FLAG_KEY) === 0 ? 0 : 2 + view.getUint16(frame + f.FRAME_HEADER_BYTES, true)
}
