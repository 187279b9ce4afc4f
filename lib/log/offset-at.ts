import type { Procedure } from '../kernels/procedure.js'
import type { CodecName } from '../options.js'
import type { Segment } from '../segment/segment.js'
import type { SegmentSet } from '../segment/segment-set.js'
import { BlockRequest } from './read-block.js'

/** What looking for a time needs of a log. */
interface TimedLog {
  readonly segments: SegmentSet
  readonly startOffset: number
  readonly committedOffset: number
  readonly codec: CodecName
  prepare(segment: Segment): Procedure<void>
  block(segment: Segment, offset: number, request: BlockRequest): Procedure<void>
}

/** The first offset whose running maximum of timestamps is at or above `time` (ms): by the headers of segments, then by the offset index, then record by record. */
export function* offsetAt(log: TimedLog, time: number): Procedure<number> {
  const segments = log.segments.all
  const end = log.committedOffset
  let low = 0
  let high = segments.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (segments[middle].header === undefined) yield* log.prepare(segments[middle])
    if ((segments[middle].header?.runningTime ?? -1) < time) low = middle
    else high = middle - 1
  }
  for (let i = low; i < segments.length; i++) {
    const segment = segments[i]
    yield* log.prepare(segment)
    const index = segment.index
    let offset = index === undefined || index.length === 0 ? segment.base : index.offset(i === low ? index.findTime(time) : 0)
    while (offset < Math.min(segment.end, end)) {
      const request = new BlockRequest(log.codec, 64 * 1024, 1024)
      yield* log.block(segment, offset, request)
      const batch = request.result
      if (batch === undefined) break
      for (let j = 0; j < batch.length; j++) if (batch.timestamp(j) >= time) return Math.min(Math.max(batch.offset(j), log.startOffset), end)
      if (batch.nextOffset <= offset) break
      offset = batch.nextOffset
    }
  }
  return end
}
