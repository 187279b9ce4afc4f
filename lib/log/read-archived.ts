import { FLAG_BATCH_CONTINUES, frameBytes } from '../format/constants.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import { check } from '../kernels/requests.js'
import type { ArchivedBlocks } from '../segment/archived-blocks.js'
import type { ArchivedSegment } from '../segment/archived-segment.js'
import { stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import { type BlockRequest, finish } from './read-block.js'

/**
 * `readBlock` for a segment that is an archive: the records come from one of its blocks, or from as many as a batch of the writer needs that spans several. What
 * is given out is a copy.
 */
export function* readArchived(segment: Segment, archive: ArchivedSegment, offset: number, request: BlockRequest, cache: ArchivedBlocks): Procedure<void> {
  request.result = undefined
  const { header } = segment
  if (header === undefined) throw new Error('the segment is not open')
  const { numbers } = request
  let { position, next, batchFirst } = startIn(segment, archive, offset, request)
  for (let count = 1; position < segment.endPosition; ) {
    const window = yield* frames(segment, archive, position, count, cache)
    numbers[k.SCAN_SEED] = header.seed
    numbers[k.SCAN_OFFSET] = next
    numbers[k.SCAN_BATCH_FIRST] = batchFirst
    numbers[k.SCAN_FROM] = offset
    numbers[k.SCAN_MAX_RECORD] = header.maxRecordBytes
    numbers[k.SCAN_SPARSE] = header.sparse ? 1 : 0
    const end = position + window.length
    check(yield { operation: k.FILE_SCAN_BYTES, fd: -1, a: position, b: end, bytes: window, numbers, table: request.table }, k.FILE_SCAN_BYTES, archive.path)
    const stop = numbers[k.SCAN_STOP]
    const listed = numbers[k.SCAN_COUNT]
    if (stop !== k.STOP_END && stop !== k.STOP_TABLE_FULL && stop !== k.STOP_FOOTER) throw archive.damaged(stopWord(stop), blockPosition(archive, position))
    if (listed > 0) {
      const whole = numbers[k.SCAN_BATCH_END]
      if (whole === 0 && !request.single && (stop === k.STOP_TABLE_FULL || end < segment.endPosition)) {
        // One batch of the writer is larger than the window.
        if (stop === k.STOP_TABLE_FULL) request.table = new Uint32Array(request.table.length * 4)
        else count *= 2
        continue
      }
      const complete = whole > 0 && whole < listed && !request.single ? whole : listed
      finish(segment, request, window, position, within(window, request, complete), listed, true)
      return
    }
    if (stop === k.STOP_FOOTER) break
    if (numbers[k.SCAN_NEXT_POSITION] <= position) throw archive.damaged('framing', blockPosition(archive, position))
    position = numbers[k.SCAN_NEXT_POSITION]
    next = numbers[k.SCAN_NEXT_OFFSET]
    batchFirst = numbers[k.SCAN_NEXT_BATCH_FIRST]
    count = 1
  }
  if (!header.sparse && next < segment.end && offset < segment.end) throw archive.damaged('records are missing')
}

/** Where the last block ended, or the beginning of the block that `offset` is in. */
function startIn(segment: Segment, archive: ArchivedSegment, offset: number, { resume }: BlockRequest): { position: number; next: number; batchFirst: number } {
  if (resume?.segment === segment && resume.offset === offset) return { position: resume.position, next: resume.offset, batchFirst: resume.batchFirst }
  const entry = segment.index?.find(offset) ?? -1
  const block = archive.blocks[segment.index === undefined || entry < 0 ? 0 : archive.blockAt(segment.index.position(entry))]
  return { position: block.position, next: block.offset, batchFirst: block.batchFirst }
}

/** Segment bytes from `position` to the end of its block or, joined, of the `count`th from there. */
function* frames(segment: Segment, archive: ArchivedSegment, position: number, count: number, cache: ArchivedBlocks): Procedure<Uint8Array> {
  const first = archive.blockAt(position)
  const pieces: Uint8Array[] = []
  for (let number = first; number < Math.min(first + count, archive.blocks.length); number++) pieces.push(yield* cache.block(segment, archive, number))
  const joined = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
  return joined.subarray(position - archive.blocks[first].position)
}

/** How many of the first `listed` records to take: whole batches of at most `maxBytes`, or the first batch alone. */
function within(window: Uint8Array, request: BlockRequest, listed: number): number {
  const { table, maxBytes } = request
  if (request.single) return 1
  const start = table[0]
  const view = new DataView(window.buffer, window.byteOffset, window.byteLength)
  let taken = 0
  for (let row = 0; row < listed; row++) {
    const frame = table[row * k.SCAN_COLUMNS]
    if (taken > 0 && frame + frameBytes(view.getUint32(frame + 4, true)) - start > maxBytes) return taken
    if ((window[frame + 23] & FLAG_BATCH_CONTINUES) === 0) taken = row + 1
  }
  return taken === 0 ? listed : taken
}

function blockPosition(archive: ArchivedSegment, position: number): number {
  return archive.blocks[archive.blockAt(position)].archivePosition
}
