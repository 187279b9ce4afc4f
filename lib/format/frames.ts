import { type Checksum, getU48, getU64, setU48, setU64, viewOf } from './bytes.js'
import { COMMIT_BODY_BYTES, FOOTER_BODY_BYTES, FOOTER_FRAME_BYTES, FRAME_COMMIT, FRAME_FOOTER, FRAME_HEADER_BYTES } from './constants.js'

/** Body of a commit frame, docs/format.md. */
export interface Commit {
  readonly groupStart: number
  readonly syncedOffset: number
  readonly recordCount: number
  readonly epoch: number
  readonly prevChain: number
  readonly chain: number
  /** Offset behind the group. */
  readonly nextOffset: number
  readonly timestamp: number
}

/** Body of the footer that ends a closed segment. */
export interface Footer {
  readonly firstOffset: number
  readonly lastOffset: number
  readonly count: number
  /** Infinity and −1 when there are no records. */
  readonly minTime: number
  readonly maxTime: number
  readonly fileBytes: number
  readonly contentChain: number
  readonly linkChain: number
  readonly chunks: number
  /** Offset behind the segment. */
  readonly nextOffset: number
  readonly closedAt: number
}

export function encodeCommit(commit: Commit, seed: number, crc32c: Checksum): Uint8Array {
  const bytes = frame(FRAME_COMMIT, COMMIT_BODY_BYTES, commit.nextOffset, commit.timestamp)
  const view = viewOf(bytes)
  setU64(view, 24, commit.groupStart)
  setU64(view, 32, commit.syncedOffset)
  view.setUint32(40, commit.recordCount, true)
  view.setUint32(44, commit.epoch, true)
  view.setUint32(48, commit.prevChain, true)
  view.setUint32(52, commit.chain, true)
  return seal(bytes, seed, crc32c)
}

export function encodeFooter(footer: Footer, seed: number, crc32c: Checksum): Uint8Array {
  const bytes = frame(FRAME_FOOTER, FOOTER_BODY_BYTES, footer.nextOffset, footer.closedAt)
  const view = viewOf(bytes)
  setU64(view, 24, footer.firstOffset)
  setU64(view, 32, footer.lastOffset)
  setU64(view, 40, footer.count)
  setU64(view, 48, footer.count === 0 ? 0 : footer.minTime)
  setU64(view, 56, footer.count === 0 ? 0 : footer.maxTime)
  setU64(view, 64, footer.fileBytes)
  view.setUint32(72, footer.contentChain, true)
  view.setUint32(76, footer.linkChain, true)
  view.setUint32(80, footer.chunks, true)
  return seal(bytes, seed, crc32c)
}

/** The footer in the first 88 bytes of `bytes`, undefined when they are none of this segment. */
export function decodeFooter(bytes: Uint8Array, seed: number, crc32c: Checksum): Footer | undefined {
  if (bytes.length < FOOTER_FRAME_BYTES) return undefined
  const view = viewOf(bytes)
  if (view.getUint8(22) !== FRAME_FOOTER || view.getUint8(23) !== 0 || view.getUint32(4, true) !== FOOTER_BODY_BYTES) return undefined
  if (crc32c(bytes.subarray(4, FOOTER_FRAME_BYTES), seed) !== view.getUint32(0, true)) return undefined
  const count = getU64(view, 40)
  return {
    firstOffset: getU64(view, 24),
    lastOffset: getU64(view, 32),
    count,
    minTime: count === 0 ? Number.POSITIVE_INFINITY : getU64(view, 48),
    maxTime: count === 0 ? -1 : getU64(view, 56),
    fileBytes: getU64(view, 64),
    contentChain: view.getUint32(72, true),
    linkChain: view.getUint32(76, true),
    chunks: view.getUint32(80, true),
    nextOffset: getU64(view, 8),
    closedAt: getU48(view, 16),
  }
}

/** Chain over a group: started fresh over the previous chain and the CRCs of the record frames (extending it by itself would give a constant). */
export function chainOf(prevChain: number, frameCrcs: readonly number[], crc32c: Checksum): number {
  const bytes = new Uint8Array(4 + 4 * frameCrcs.length)
  const view = viewOf(bytes)
  view.setUint32(0, prevChain, true)
  for (let i = 0; i < frameCrcs.length; i++) view.setUint32(4 + 4 * i, frameCrcs[i], true)
  return crc32c(bytes, 0)
}

function frame(type: number, bodyLength: number, offset: number, timestamp: number): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + bodyLength)
  const view = viewOf(bytes)
  view.setUint32(4, bodyLength, true)
  setU64(view, 8, offset)
  setU48(view, 16, timestamp)
  view.setUint8(22, type)
  return bytes
}

function seal(bytes: Uint8Array, seed: number, crc32c: Checksum): Uint8Array {
  viewOf(bytes).setUint32(0, crc32c(bytes.subarray(4), seed), true)
  return bytes
}
