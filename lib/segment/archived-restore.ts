import { constants } from 'node:fs'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { ArchivedBlocks } from './archived-blocks.js'
import type { ArchivedSegment } from './archived-segment.js'
import { checksum } from './archived-verify.js'
import type { Segment } from './segment.js'

/**
 * Writes the segment that an archive holds to `target`, byte for byte, and syncs it. What was written is dropped from the page cache (best effort), read back and compared
 * with the CRC of the archive; ERR_SEALOG_ARCHIVE when it differs. After any error there is no file.
 */
export function* unpackSegment(
  segment: Segment,
  archive: ArchivedSegment,
  target: string,
  blocks: ArchivedBlocks,
  kernels: Kernels,
  logId: Uint8Array,
): Procedure<void> {
  segment.pins++
  let done = false
  try {
    yield* segment.open(kernels, logId)
    const fd = yield* io.open(target, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)
    try {
      yield* write(segment, archive, fd, target, blocks)
      yield* io.sync(fd, target)
      yield* io.evict(fd)
      if ((yield* checksum(fd, 0, archive.header?.segmentBytes ?? 0, target)) !== archive.header?.segmentCrc) throw archive.damaged('checksum of the segment')
    } finally {
      yield* io.close(fd)
    }
    done = true
  } finally {
    segment.pins--
    if (!done) yield* io.unlink(target)
  }
}

function* write(segment: Segment, archive: ArchivedSegment, fd: number, target: string, blocks: ArchivedBlocks): Procedure<void> {
  const { header } = archive
  if (header === undefined) throw new Error('the archive is not open')
  yield* io.write(fd, 0, header.segmentHeader, target)
  let buffer = new Uint8Array(0)
  for (const [number, block] of archive.blocks.entries()) {
    if (buffer.length < block.bytes) buffer = new Uint8Array(block.bytes)
    const bytes = buffer.subarray(0, block.bytes)
    yield* blocks.unpack(segment, archive, number, bytes)
    yield* io.write(fd, block.position, bytes, target)
  }
}
