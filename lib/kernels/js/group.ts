import { viewOf } from '../../format/bytes.js'
import * as f from '../../format/constants.js'
import * as s from '../kernels.js'
import type { Block, BlockPool } from './blocks.js'
import { extendCrcWord } from './crc32c.js'
import { stampFrame, writeCommitFrame } from './frames.js'
import type { RecordQueue } from './queue.js'

const GROUP_BYTES_LIMIT = 8 * 2 ** 20
const BATCH_CONTINUES_META = f.FLAG_BATCH_CONTINUES << 24

/** Frames that are written together, the commit frame last. The bytes stay as they are until `release`. */
export class Group {
  readonly position: number
  readonly firstOffset: number
  readonly parts: Uint8Array[] = []
  readonly #blocks: Block[] = []
  /** Queue bytes that it took. */
  queuedBytes = 0
  records = 0
  /** Bytes in the file. */
  bytes = 0

  constructor(position: number, firstOffset: number) {
    this.position = position
    this.firstOffset = firstOffset
  }

  add(block: Block, from: number, to: number): void {
    if (from === to) return
    block.users++
    this.#blocks.push(block)
    this.parts.push(block.bytes.subarray(from, to))
    this.bytes += to - from
  }

  addCommit(frame: Uint8Array): void {
    this.parts.push(frame)
    this.bytes += frame.length
  }

  /** An abandoned write may read the bytes at any time from now on: they are left to the garbage collector. */
  pin(): void {
    for (const block of this.#blocks) block.pinned = true
  }

  release(pool: BlockPool): void {
    for (const block of this.#blocks) pool.release(block)
    this.#blocks.length = 0
  }
}

/** Bytes of the frames of the first batch in the queue. */
export function firstBatchBytes(queue: RecordQueue): number {
  const first = firstWithFrames(queue)
  return batchBytes(queue, first, queue.blocks[first].taken)
}

/**
 * Takes whole batches off the queue, stamps their frames and adds the commit frame; `state` moves behind the group. `index` receives
 * INDEX rows without log: offset, position, batchFirst, runningMaxTimestamp. undefined: not even the first batch fits.
 */
export function cutGroup(queue: RecordQueue, state: Float64Array, index: number[]): Group | undefined {
  const room = state[s.STATE_SEGMENT_BYTES] - state[s.STATE_POSITION] - f.COMMIT_FRAME_BYTES - f.FOOTER_FRAME_BYTES
  const limit = Math.min(GROUP_BYTES_LIMIT, room)
  const group = new Group(state[s.STATE_POSITION], state[s.STATE_NEXT_OFFSET])
  const chainBefore = state[s.STATE_CHAIN]
  let chain = extendCrcWord(0, chainBefore)
  let at = firstWithFrames(queue)
  let block = queue.blocks[at]
  let from = block.taken
  while (queue.bytes > 0) {
    if (block.taken === block.filled) {
      group.add(block, from, block.taken)
      block = queue.blocks[++at]
      from = block.taken
    }
    const size = batchBytes(queue, at, block.taken)
    const fits = group.queuedBytes === 0 ? size <= room || state[s.STATE_RECORDS] === 0 : group.queuedBytes + size <= limit
    if (!fits) break
    const batchFirst = state[s.STATE_NEXT_OFFSET]
    for (let left = size; left > 0; ) {
      if (block.taken === block.filled) {
        group.add(block, from, block.taken)
        block = queue.blocks[++at]
        from = block.taken
      }
      const frame = block.taken
      const bodyLength = block.view.getUint32(frame + 4, true)
      countRecord(block.view, frame, bodyLength, group.position + group.queuedBytes, batchFirst, state, index)
      chain = extendCrcWord(chain, stampFrame(block.view, frame, bodyLength, state[s.STATE_NEXT_OFFSET]++, state[s.STATE_SEED]))
      const bytes = f.frameBytes(bodyLength)
      block.taken += bytes
      group.queuedBytes += bytes
      group.records++
      left -= bytes
    }
    queue.bytes -= size
    if (state[s.STATE_CHUNK_BYTES] > 0 && state[s.STATE_CHUNK_PAYLOAD] >= state[s.STATE_CHUNK_BYTES]) {
      state[s.STATE_CHUNKS]++
      state[s.STATE_CHUNK_PAYLOAD] = state[s.STATE_CHUNK_RECORDS] = 0
    }
  }
  if (group.records === 0) return undefined
  queue.records -= group.records
  state[s.STATE_CHAIN] = chain
  state[s.STATE_MARKED] = 0
  // Behind the last frame taken, where nothing is queued yet, the commit frame costs no write of its own.
  if (at === queue.blocks.length - 1 && block.taken === block.filled && block.room() >= f.COMMIT_FRAME_BYTES) {
    writeCommit(block.view, block.filled, group, state, chainBefore)
    block.taken = block.filled += f.COMMIT_FRAME_BYTES
    group.add(block, from, block.taken)
  } else {
    group.add(block, from, block.taken)
    group.addCommit(commitFrame(group, state, chainBefore))
  }
  state[s.STATE_POSITION] += group.bytes
  return group
}

/** An empty commit frame that says: everything before it is synced. */
export function cutMark(state: Float64Array): Group {
  const group = new Group(state[s.STATE_POSITION], state[s.STATE_NEXT_OFFSET])
  group.addCommit(commitFrame(group, state, state[s.STATE_CHAIN]))
  state[s.STATE_POSITION] += group.bytes
  state[s.STATE_MARKED] = 1
  return group
}

function commitFrame(group: Group, state: Float64Array, chainBefore: number): Uint8Array {
  const frame = new Uint8Array(f.COMMIT_FRAME_BYTES)
  writeCommit(viewOf(frame), 0, group, state, chainBefore)
  return frame
}

function writeCommit(view: DataView, at: number, group: Group, state: Float64Array, chainBefore: number): void {
  writeCommitFrame(
    view,
    at,
    state[s.STATE_SEED],
    state[s.STATE_NEXT_OFFSET],
    Math.max(0, state[s.STATE_RUNNING_TIME]),
    group.position,
    state[s.STATE_SYNCED_OFFSET],
    group.records,
    state[s.STATE_EPOCH],
    chainBefore,
    state[s.STATE_CHAIN],
  )
}

function firstWithFrames(queue: RecordQueue): number {
  let at = 0
  while (queue.blocks[at].taken === queue.blocks[at].filled) at++
  return at
}

function batchBytes(queue: RecordQueue, index: number, from: number): number {
  let block = queue.blocks[index]
  let at = from
  let bytes = 0
  for (;;) {
    if (at === block.filled) {
      block = queue.blocks[++index]
      at = block.taken
    }
    const size = f.frameBytes(block.view.getUint32(at + 4, true))
    bytes += size
    if ((block.view.getUint32(at + 20, true) & BATCH_CONTINUES_META) === 0) return bytes
    at += size
  }
}

/** Takes one record into the facts that are kept per segment, at its place in the file. */
function countRecord(view: DataView, frame: number, bodyLength: number, position: number, batchFirst: number, state: Float64Array, index: number[]): void {
  const last = state[s.STATE_LAST_INDEXED]
  if (last < 0 || position - last >= state[s.STATE_INDEX_INTERVAL]) {
    index.push(state[s.STATE_NEXT_OFFSET], position, batchFirst, state[s.STATE_RUNNING_TIME])
    state[s.STATE_LAST_INDEXED] = position
  }
  state[s.STATE_RECORDS]++
  const high = view.getUint32(frame + 20, true)
  const timestamp = view.getUint32(frame + 16, true) + (high & 0xffff) * 2 ** 32
  if (timestamp > state[s.STATE_RUNNING_TIME]) state[s.STATE_RUNNING_TIME] = timestamp
  if (timestamp > state[s.STATE_MAX_TIME]) state[s.STATE_MAX_TIME] = timestamp
  if (timestamp < state[s.STATE_MIN_TIME]) state[s.STATE_MIN_TIME] = timestamp
  if (state[s.STATE_CHUNK_BYTES] === 0) return
  const keyBytes = (high >>> 24) & f.FLAG_KEY ? 2 + view.getUint16(frame + f.FRAME_HEADER_BYTES, true) : 0
  state[s.STATE_CHUNK_PAYLOAD] += bodyLength - keyBytes
  state[s.STATE_CHUNK_RECORDS]++
}
