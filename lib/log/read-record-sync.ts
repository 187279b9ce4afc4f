import * as k from '../kernels/kernels.js'
import type { OffsetIndex } from '../segment/offset-index.js'
import type { Segment } from '../segment/segment.js'

/**
 * Reads the record at `offset` to `Shared.copyOut`: `Kernels.readRecord` from `entry` of the segment's index on, the last at or below it.
 * `flags`: READ_RESIDENT or 0. A status of `Kernels.readRecord`; READ_OK alone promises anything.
 */
export function readRecordSync(kernels: k.Kernels, segment: Segment, index: OffsetIndex, entry: number, offset: number, flags: number): number {
  const first = index.offset(entry)
  const position = index.position(entry)
  // A record ends before the next entry: no byte is read that cannot be needed.
  const end = entry + 1 < index.length ? index.position(entry + 1) : segment.endPosition
  if (entry + 2 < index.length && index.evenlySpaced && !segment.sparse) {
    const spacing = spacingBehind(index, entry)
    // By chance that is a multiple of 8 now and then, but seldom the same twice.
    if (spacing % 8 === 0 && spacing === spacingBehind(index, entry + 1)) {
      const status = readEvenlySpaced(kernels, segment, index, entry, offset, spacing, flags)
      if (status < 0) return status
      index.noteSpacing(status === k.READ_OK)
      if (status === k.READ_OK) return status
    }
  }
  const sparse = segment.sparse ? k.READ_SPARSE : 0
  return kernels.readRecord(segment.fd, segment.seed, position, end, first, index.batchFirst(entry), offset, sparse | flags)
}

/** Bytes of the file per record between two entries. */
function spacingBehind(index: OffsetIndex, entry: number): number {
  return (index.position(entry + 1) - index.position(entry)) / (index.offset(entry + 1) - index.offset(entry))
}

/** The same if nothing has to be opened and no disk waited for. Whether the record is in `Shared.copyOut`. */
export function readResident(kernels: k.Kernels, segment: Segment, offset: number): boolean {
  const { index } = segment
  if (index === undefined || segment.fd < 0 || segment.archive !== undefined || segment.retired) return false
  const entry = index.find(offset)
  return entry >= 0 && readRecordSync(kernels, segment, index, entry, offset, k.READ_RESIDENT) === k.READ_OK
}

/**
 * Records of one size lie at even distances, so that the place of one follows from the two entries around it, and instead of an index interval one or two
 * frames are read: most of what a read from the page cache costs is copying. The frame is verified as always, and it names its offset. Not found: the records
 * are of several sizes.
 */
function readEvenlySpaced(kernels: k.Kernels, segment: Segment, index: OffsetIndex, entry: number, offset: number, spacing: number, flags: number): number {
  const first = index.offset(entry)
  const nextBatch = index.batchFirst(entry + 1)
  // Where the record's batch began is known at the first record of the interval, and when the batch lasts to the next entry. Otherwise the frame before tells
  // whether a batch was open.
  const known = nextBatch <= offset || offset === first
  const from = known ? offset : offset - 1
  const batch = nextBatch <= offset ? nextBatch : known ? index.batchFirst(entry) : -1
  const position = index.position(entry)
  const start = position + (from - first) * spacing
  const end = position + (offset - first + 1) * spacing
  const status = kernels.readRecord(segment.fd, segment.seed, start, end, from, batch, offset, flags)
  return status !== k.READ_OK || known || kernels.shared.out[k.OUT_BATCH_FIRST] === offset ? status : k.READ_NOT_FOUND
}
