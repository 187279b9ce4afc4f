import { constants } from 'node:fs'
import path from 'node:path'
import { ChecksumError, LogError } from '../errors.js'
import { getU64, toHex, viewOf } from '../format/bytes.js'
import { encodeChunkIndexHeader } from '../format/chunk-index.js'
import { CHUNK_INDEX_HEADER_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import type { SegmentHeader } from '../format/segment-header.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { ChunkForm } from '../options.js'
import { stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import { chunksFolder } from './chunk-directory.js'
import { ChunkFile } from './chunk-file.js'

const FORMS = { json: k.FORM_JSON, ndjson: k.FORM_NDJSON, raw: k.FORM_RAW } as const

export interface SealJob {
  readonly directory: string
  /** Its index is in memory; its file is opened once more, for this job alone. */
  readonly segment: Segment
  readonly header: SegmentHeader
  readonly form: ChunkForm
  readonly sequence: number
  /** Offset the chunk begins at, the start of a batch. */
  readonly from: number
  /** Every record below is durable. */
  readonly durableOffset: number
}

/** The new chunk; `unfinished`: it has not reached its size yet; `empty`: no record of the segment lies at or behind `from`. */
export type SealResult = ChunkFile | 'unfinished' | 'empty'

/**
 * Renders one chunk of a segment from disk and puts its content and index in place: temporary files, synced, renamed, the folder synced. The range that is
 * asked for is rendered whole or not at all: damage throws ChecksumError, and nothing is left behind. Memory does not depend on the chunk's size.
 */
export function* sealChunk(job: SealJob, kernels: k.Kernels): Procedure<SealResult> {
  const { directory, segment } = job
  const folder = chunksFolder(directory)
  if (yield* io.mkdir(folder)) yield* io.syncDirectory(directory)
  const temporary = path.join(folder, `${job.sequence}.tmp`)
  const temporaryIndex = path.join(folder, `${job.sequence}.idx.tmp`)
  const open: number[] = []
  let chunk: ChunkFile
  try {
    open.push(yield* io.open(segment.path, constants.O_RDONLY))
    open.push(yield* io.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC))
    open.push(yield* io.open(temporaryIndex, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC))
    const [source, content, positions] = open
    // Taken before the rendering: a segment that grows meanwhile is read up to here.
    const { closed, endPosition } = segment
    const numbers = yield* render(job, source, content, positions, endPosition)
    const stop = numbers[k.RENDER_STOP]
    if (stop !== k.STOP_FULL && stop !== k.STOP_END) throw damage(job, numbers)
    const records = numbers[k.RENDER_COUNT]
    const last = numbers[k.RENDER_LAST]
    if (stop === k.STOP_END && !closed) return 'unfinished'
    if (stop === k.STOP_END && !job.header.sparse && numbers[k.RENDER_NEXT_OFFSET] !== segment.end) throw damage(job, numbers)
    if (records === 0) return 'empty'
    if (last >= job.durableOffset) return 'unfinished'
    const first = job.header.sparse ? yield* firstOffset(positions, temporaryIndex) : job.from
    if (!job.header.sparse && records !== last - first + 1) throw damage(job, numbers)
    const crc = numbers[k.RENDER_CRC]
    const header = encodeChunkIndexHeader(
      {
        form: job.form,
        sparse: job.header.sparse,
        logId: job.header.logId,
        seed: job.header.seed,
        generation: segment.generation,
        base: segment.base,
        sequence: job.sequence,
        first,
        last,
        records,
        bytes: numbers[k.RENDER_BYTES],
        crc,
        positionsCrc: numbers[k.RENDER_POSITIONS_CRC],
      },
      kernels.crc32c,
    )
    yield* io.write(positions, 0, header, temporaryIndex)
    yield* io.sync(positions, temporaryIndex)
    yield* io.sync(content, temporary)
    chunk = new ChunkFile(directory, { sequence: job.sequence, first, last, crc: toHex(crc) }, job.form)
    chunk.bytes = numbers[k.RENDER_BYTES]
    chunk.verified = true
    if (segment.retired) return 'empty'
    yield* io.rename(temporaryIndex, chunk.indexPath)
    yield* io.rename(temporary, chunk.path)
    yield* io.syncDirectory(folder)
  } finally {
    for (const fd of open) yield* io.close(fd)
    yield* io.unlink(temporary)
    yield* io.unlink(temporaryIndex)
  }
  if (!segment.retired) return chunk
  // The segment went while its chunk came: nobody else removes it.
  for (const file of chunk.paths) yield* io.unlink(file)
  return 'empty'
}

function* render(job: SealJob, source: number, content: number, positions: number, end: number): Procedure<Float64Array> {
  const { segment, header, from } = job
  const { index } = segment
  const entry = index === undefined ? -1 : index.find(from)
  const numbers = new Float64Array(k.RENDER_LENGTH)
  numbers[k.RENDER_SEED] = header.seed
  numbers[k.RENDER_MAX_RECORD] = header.maxRecordBytes
  numbers[k.RENDER_SPARSE] = header.sparse ? 1 : 0
  numbers[k.RENDER_FROM] = from
  numbers[k.RENDER_FORM] = FORMS[job.form]
  numbers[k.RENDER_CHUNK_BYTES] = header.chunkBytes
  numbers[k.RENDER_CONTENT_FD] = content
  numbers[k.RENDER_POSITIONS_FD] = positions
  const indexed = index !== undefined && entry >= 0
  numbers[k.RENDER_OFFSET] = indexed ? index.offset(entry) : header.sparse ? -1 : segment.base
  numbers[k.RENDER_BATCH_FIRST] = indexed ? index.batchFirst(entry) : -1
  const position = indexed ? index.position(entry) : SEGMENT_HEADER_BYTES
  io.check(yield { operation: k.FILE_RENDER, fd: source, a: position, b: end, numbers }, k.FILE_RENDER, segment.path)
  return numbers
}

function* firstOffset(positions: number, file: string): Procedure<number> {
  const bytes = new Uint8Array(8)
  yield* io.read(positions, CHUNK_INDEX_HEADER_BYTES + 8, bytes, file)
  return getU64(viewOf(bytes), 0)
}

function damage(job: SealJob, numbers: Float64Array): LogError {
  const { segment } = job
  const position = numbers[k.RENDER_NEXT_POSITION]
  const offset = Math.max(numbers[k.RENDER_NEXT_OFFSET], job.from)
  const stop = numbers[k.RENDER_STOP]
  if (stop === k.STOP_NEWER)
    return new LogError('ERR_SEALOG_FORMAT_NEWER', `${segment.path}, position ${position}: a frame was written by a newer version of sealog`, {
      file: segment.path,
      position,
      offset,
    })
  return new ChecksumError(segment.path, position, offset, stop === k.STOP_END ? 'records are missing' : stopWord(stop))
}
