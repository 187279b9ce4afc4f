import { viewOf } from '../../format/bytes.js'
import { COMMIT_FRAME_BYTES } from '../../format/constants.js'

const SMALL_BLOCK_BYTES = 16 * 1024
const LARGE_BLOCK_BYTES = 256 * 1024
/** Large blocks kept for reuse by all logs of the environment. */
const KEPT_BLOCKS = 16

/** Memory for the frames of one log, filled from the front by submits and taken from the front by groups. */
export class Block {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** First byte that no group has taken. */
  taken = 0
  /** First free byte. */
  filled = 0
  /** The queue and every group that still needs the bytes. */
  users = 1
  /** An abandoned write may still read it: never filled again. */
  pinned = false

  constructor(size: number) {
    const memory = Buffer.allocUnsafeSlow(size)
    this.bytes = memory
    this.view = viewOf(memory)
  }

  room(): number {
    return this.bytes.length - this.filled
  }
}

export class BlockPool {
  readonly #kept: Block[] = []

  /** A block with room for a frame of `size` bytes and a commit frame; small for the first frames of a log that was idle. */
  take(size: number, first: boolean): Block {
    const needed = size + COMMIT_FRAME_BYTES
    if (first && needed <= SMALL_BLOCK_BYTES) return new Block(SMALL_BLOCK_BYTES)
    if (needed > LARGE_BLOCK_BYTES) return new Block(needed)
    return this.#kept.pop() ?? new Block(LARGE_BLOCK_BYTES)
  }

  release(block: Block): void {
    if (--block.users > 0 || block.pinned) return
    if (block.bytes.length !== LARGE_BLOCK_BYTES || this.#kept.length === KEPT_BLOCKS) return
    block.taken = 0
    block.filled = 0
    block.users = 1
    this.#kept.push(block)
  }
}
