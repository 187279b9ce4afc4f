import { constants } from 'node:fs'
import {
  ARCHIVE_HEADER_BYTES,
  ARCHIVE_TRAILER_BYTES,
  type ArchiveBlock,
  type ArchiveHeader,
  encodeArchiveHeader,
  encodeArchiveIndex,
  encodeArchiveTrailer,
} from '../format/archive-file.js'
import { FOOTER_FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { decodeFooter } from '../format/frames.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { TaskRunner } from '../kernels/task.js'
import { verifyClosed } from '../log/verify-segment.js'
import { checksum } from '../segment/archived-verify.js'
import { loadIndex } from '../segment/index-store.js'
import { corrupt, stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import type { Pace } from './pace.js'

/** Segment bytes that are compressed in one go: between them others get their turn, and the work can be cancelled. Slow levels take as long for less. */
const SLICE_BYTES = 5 * 1024 * 1024
const SLOW_SLICE_BYTES = 1024 * 1024
const SLOW_LEVEL = 10

/** How segments are compressed. */
export interface Compression {
  readonly level: number
  readonly blockBytes: number
  /** undefined: none. */
  readonly dictionary: { readonly id: number; readonly handle: k.DictionaryHandle } | undefined
}

/** Pacing and cancelling of the work on one segment. */
export interface Progress {
  readonly pace: Pace
  /** Throws when the work is to be given up. */
  check(): void
}

/** What the header of the archive of a segment says. The segment has been read and verified whole: ERR_SEALOG_CORRUPT or ERR_SEALOG_CHECKSUM when it is damaged. */
export function* describeSegment(
  segment: Segment,
  linkChain: number,
  compression: Compression,
  kernels: k.Kernels,
  logId: Uint8Array,
  intervalBytes: number,
): Procedure<ArchiveHeader> {
  // Of what the walk finds no index is made: one entry is enough.
  yield* verifyClosed(segment, kernels, logId, Math.max(intervalBytes, segment.endPosition))
  yield* loadIndex(segment, kernels, Math.max(intervalBytes, compression.blockBytes), false)
  const segmentHeader = new Uint8Array(SEGMENT_HEADER_BYTES)
  yield* io.read(segment.fd, 0, segmentHeader, segment.path)
  const bytes = new Uint8Array(FOOTER_FRAME_BYTES)
  yield* io.read(segment.fd, segment.endPosition, bytes, segment.path)
  const footer = decodeFooter(bytes, segment.seed, kernels.crc32c)
  if (footer === undefined || footer.linkChain !== linkChain)
    throw corrupt(segment, segment.endPosition, segment.end, 'the footer does not agree with MANIFEST', segment.end)
  return {
    logId,
    base: segment.base,
    end: segment.end,
    count: footer.count,
    firstOffset: footer.firstOffset,
    lastOffset: footer.lastOffset,
    minTime: footer.minTime,
    maxTime: footer.maxTime,
    segmentBytes: footer.fileBytes,
    segmentCrc: yield* checksum(segment.fd, 0, footer.fileBytes, segment.path),
    generation: segment.generation,
    level: compression.level,
    dictionary: compression.dictionary?.id ?? 0,
    blockBytes: compression.blockBytes,
    segmentHeader,
  }
}

/** Writes the archive of an open segment to `file`, synced and out of the page cache (best effort). Resolves to its size. */
export async function writeArchive(
  segment: Segment,
  header: ArchiveHeader,
  runningTime: number,
  file: string,
  compression: Compression,
  runner: TaskRunner,
  progress: Progress,
): Promise<number> {
  const { crc32c } = runner.kernels
  const fd = await runner.run(io.open(file, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC))
  try {
    await runner.run(io.write(fd, 0, encodeArchiveHeader(header, crc32c), file))
    const { blocks, position, crc } = await pack(segment, header, runningTime, fd, compression, runner, progress)
    const index = encodeArchiveIndex(blocks, crc32c)
    const trailer = encodeArchiveTrailer({ indexPosition: position, indexBytes: index.length, blocks: blocks.length, blocksCrc: crc }, crc32c)
    await runner.run(finish(fd, position, Buffer.concat([index, trailer]), file))
    return position + index.length + ARCHIVE_TRAILER_BYTES
  } finally {
    await runner.run(io.close(fd))
  }
}

function* finish(fd: number, position: number, bytes: Uint8Array, file: string): Procedure<void> {
  yield* io.write(fd, position, bytes, file)
  yield* io.sync(fd, file)
  yield* io.evict(fd)
}

interface PackedBlocks {
  readonly blocks: readonly ArchiveBlock[]
  /** Behind the last one. */
  readonly position: number
  readonly crc: number
}

async function pack(
  segment: Segment,
  header: ArchiveHeader,
  runningTime: number,
  out: number,
  compression: Compression,
  runner: TaskRunner,
  { pace, check }: Progress,
): Promise<PackedBlocks> {
  const numbers = packNumbers(segment, out, compression)
  const sliceBytes = compression.level < SLOW_LEVEL ? SLICE_BYTES : SLOW_SLICE_BYTES
  const rows = pace.limited ? 1 : Math.max(1, Math.floor(sliceBytes / compression.blockBytes))
  const entries = new Float64Array(rows * k.PACK_COLUMNS)
  const blocks: ArchiveBlock[] = []
  for (let position = SEGMENT_HEADER_BYTES; ; ) {
    check()
    await runner.run(packSlice(segment, position, header.segmentBytes, numbers, entries))
    for (let row = 0; row < numbers[k.PACK_COUNT]; row++) blocks.push(blockOf(segment, entries, row * k.PACK_COLUMNS, runningTime))
    const next = numbers[k.PACK_NEXT_POSITION]
    if (numbers[k.PACK_STOP] === k.STOP_END) return { blocks, position: numbers[k.PACK_OUT_POSITION], crc: numbers[k.PACK_CRC] }
    // Whoever gives the work up wakes those who wait, once.
    check()
    await pace.spent(next - position)
    position = next
  }
}

/** What the first slice of a segment begins with. */
export function packNumbers(segment: Segment, out: number, { level, blockBytes, dictionary }: Compression): Float64Array {
  const { header } = segment
  if (header === undefined) throw new Error('the segment is not open')
  const numbers = new Float64Array(k.PACK_LENGTH)
  numbers[k.PACK_SEED] = header.seed
  numbers[k.PACK_MAX_RECORD] = header.maxRecordBytes
  numbers[k.PACK_SPARSE] = header.sparse ? 1 : 0
  numbers[k.PACK_OUT_FD] = out
  numbers[k.PACK_LEVEL] = level
  numbers[k.PACK_BLOCK_BYTES] = blockBytes
  numbers[k.PACK_DICTIONARY] = dictionary?.handle ?? -1
  numbers[k.PACK_OFFSET] = header.sparse ? -1 : segment.base
  numbers[k.PACK_BATCH_FIRST] = -1
  numbers[k.PACK_OUT_POSITION] = ARCHIVE_HEADER_BYTES
  return numbers
}

/** Compresses what `entries` has room for. Throws for damage. */
export function* packSlice(segment: Segment, position: number, end: number, numbers: Float64Array, entries: Float64Array): Procedure<void> {
  const status = yield { operation: k.FILE_PACK, fd: segment.fd, a: position, b: end, numbers, table: entries }
  io.check(status, k.FILE_PACK, segment.path)
  const stop = numbers[k.PACK_STOP]
  if (stop !== k.STOP_END && stop !== k.STOP_TABLE_FULL)
    throw corrupt(segment, numbers[k.PACK_NEXT_POSITION], Math.max(segment.base, numbers[k.PACK_OFFSET]), stopWord(stop), segment.end)
}

function blockOf(segment: Segment, entries: Float64Array, at: number, runningTime: number): ArchiveBlock {
  const [position, bytes, offset, batchFirst, archivePosition, archiveBytes] = entries.subarray(at, at + k.PACK_COLUMNS)
  return {
    position,
    bytes,
    offset,
    batchFirst,
    runningTime: runningTimeBefore(segment, Math.max(offset, segment.base), runningTime),
    archivePosition,
    archiveBytes,
  }
}

/** Nothing before the first index entry at or behind `offset` is later than that says, nothing in the segment later than its own running maximum. */
function runningTimeBefore({ index }: Segment, offset: number, whole: number): number {
  if (index === undefined || index.length === 0) return whole
  const entry = index.find(offset)
  const next = entry >= 0 && index.offset(entry) === offset ? entry : entry + 1
  return next < index.length ? index.runningTime(next) : whole
}
