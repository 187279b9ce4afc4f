import type { SegmentSet } from '../segment/segment-set.js'

/** Looks up positions in the sparse offset index. */
export interface IndexView {
  /**
   * Position of the index entry from which `offset` is reached, in its segment file; `out[0]` becomes the segment's base offset.
   * −1 when the offset is outside the log or the index of its segment is not in memory (the first read loads it). Allocates nothing.
   */
  lookup(offset: number, out?: Float64Array): number
}

/** What the look-ups need of a log. */
export interface IndexedLog {
  readonly startOffset: number
  readonly committedOffset: number
  readonly segments: SegmentSet
}

export function indexView(log: IndexedLog): IndexView {
  return {
    lookup(offset, out) {
      if (!(offset >= log.startOffset && offset < log.committedOffset)) return -1
      const segment = log.segments.find(offset)
      const index = segment?.index
      if (segment === undefined || index === undefined) return -1
      const entry = index.find(offset)
      if (entry < 0) return -1
      if (out !== undefined) out[0] = segment.base
      return index.position(entry)
    },
  }
}
