import { FLAG_BATCH_CONTINUES, FLAG_KEY, FRAME_HEADER_BYTES, frameBytes } from '../../format/constants.js'
import type { Block, BlockPool } from './blocks.js'
import { padFrame, writeFrameHeader } from './frames.js'

const FLAGS_SHIFT = 8
/** Below this a loop copies faster than making a view of the source. */
const LOOP_COPY_BYTES = 48

/** Records of one log that no group has taken yet, as frames without offset and CRC. A frame never spans blocks. */
export class RecordQueue {
  readonly #pool: BlockPool
  /** In order; the last one is being filled. */
  readonly blocks: Block[] = []
  /** Of complete batches. */
  bytes = 0
  records = 0
  /** Of the batch at the end whose last record has not come. */
  openBytes = 0
  openRecords = 0

  constructor(pool: BlockPool) {
    this.#pool = pool
  }

  append(bytes: Uint8Array, from: number, bodyLength: number, meta: number, timestamp: number): void {
    const size = frameBytes(bodyLength)
    const block = this.#room(size)
    const at = block.filled
    writeFrameHeader(block.view, at, bodyLength, timestamp, meta)
    const to = at + FRAME_HEADER_BYTES
    if (bodyLength <= LOOP_COPY_BYTES) for (let byte = 0; byte < bodyLength; byte++) block.bytes[to + byte] = bytes[from + byte]
    else block.bytes.set(bytes.subarray(from, from + bodyLength), to)
    padFrame(block.bytes, at, bodyLength)
    this.#count(block, size, meta)
  }

  appendParts(meta: number, timestamp: number, key: Uint8Array | undefined, value: Uint8Array): void {
    const prefix = key === undefined ? 0 : 2 + key.length
    const bodyLength = prefix + value.length
    const size = frameBytes(bodyLength)
    const block = this.#room(size)
    const at = block.filled
    writeFrameHeader(block.view, at, bodyLength, timestamp, key === undefined ? meta : meta | (FLAG_KEY << FLAGS_SHIFT))
    if (key !== undefined) {
      block.view.setUint16(at + FRAME_HEADER_BYTES, key.length, true)
      block.bytes.set(key, at + FRAME_HEADER_BYTES + 2)
    }
    block.bytes.set(value, at + FRAME_HEADER_BYTES + prefix)
    padFrame(block.bytes, at, bodyLength)
    this.#count(block, size, meta)
  }

  /** Forgets blocks that groups have taken whole; an empty queue owns none. */
  trim(): void {
    while (this.blocks.length > 0) {
      const block = this.blocks[0]
      if (block.taken < block.filled) return
      this.blocks.shift()
      this.#pool.release(block)
    }
  }

  drop(): void {
    for (const block of this.blocks) this.#pool.release(block)
    this.blocks.length = 0
    this.bytes = this.records = this.openBytes = this.openRecords = 0
  }

  #room(size: number): Block {
    const last = this.blocks.at(-1)
    if (last !== undefined && last.room() >= size) return last
    const block = this.#pool.take(size, last === undefined)
    this.blocks.push(block)
    return block
  }

  #count(block: Block, size: number, meta: number): void {
    block.filled += size
    this.openBytes += size
    this.openRecords++
    if (((meta >> FLAGS_SHIFT) & FLAG_BATCH_CONTINUES) !== 0) return
    this.bytes += this.openBytes
    this.records += this.openRecords
    this.openBytes = this.openRecords = 0
  }
}
