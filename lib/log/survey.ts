import { LogError } from '../errors.js'
import { FOOTER_FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { decodeFooter } from '../format/frames.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import { findGroup, startState, walk } from '../segment/walk.js'

/** A stretch of a segment that is not good. */
export interface DamagedStretch {
  /** Behind the last good commit before it. */
  readonly position: number
  readonly firstOffset: number
  /** Where good groups begin again; undefined: nowhere in this segment. */
  readonly resume: { readonly position: number; readonly offset: number } | undefined
  readonly why: string
}

/** What is good and what is not in one segment. */
export interface SegmentSurvey {
  readonly header: 'good' | LogError
  readonly records: number
  readonly damaged: readonly DamagedStretch[]
  /** State behind the last good group. */
  readonly state: Float64Array | undefined
  readonly size: number
  /** The footer is there and agrees; always false for a segment that was never ended. */
  readonly complete: boolean
}

/** Walks a whole segment, beyond damage too. `end` bounds what is looked at of a segment that is being written. */
export function* surveySegment(
  segment: Segment,
  kernels: k.Kernels,
  logId: Uint8Array,
  intervalBytes: number,
  end = Number.POSITIVE_INFINITY,
): Procedure<SegmentSurvey> {
  segment.pins++
  try {
    try {
      yield* segment.open(kernels, logId)
    } catch (error) {
      if (!(error instanceof LogError) || error.code === 'ERR_SEALOG_FORMAT_NEWER') throw error
      return { header: error, records: 0, damaged: [], state: undefined, size: 0, complete: false }
    }
    if (segment.header === undefined) throw new Error('the segment is not open')
    const { size } = yield* io.stat(segment.fd, segment.path)
    const limit = Math.min(size, end)
    const state = startState(segment.header, segment.fd, intervalBytes)
    const damaged: DamagedStretch[] = []
    const survey = (complete: boolean): SegmentSurvey => ({ header: 'good', records: state[k.STATE_RECORDS], damaged, state, size, complete })
    for (;;) {
      const result = yield* walk(segment, state, limit, intervalBytes)
      const position = state[k.STATE_POSITION]
      const offset = state[k.STATE_NEXT_OFFSET]
      if (result.stop === k.STOP_NEWER) {
        throw new LogError('ERR_SEALOG_FORMAT_NEWER', `${segment.path}, position ${result.stopPosition}: written by a newer version of sealog`, {
          file: segment.path,
          position: result.stopPosition,
        })
      }
      if (result.stop === k.STOP_FOOTER && result.stopPosition === position) {
        const bytes = new Uint8Array(FOOTER_FRAME_BYTES)
        yield* io.read(segment.fd, position, bytes, segment.path)
        const footer = decodeFooter(bytes, segment.seed, kernels.crc32c)
        if (footer !== undefined && (damaged.length > 0 || (footer.nextOffset >= offset && footer.contentChain === state[k.STATE_CHAIN]))) return survey(true)
      }
      if ((result.stop === k.STOP_END || result.stop === k.STOP_ZERO) && result.stopPosition === position) {
        if (limit < size || (yield* io.firstNonZero(segment.fd, position, size, segment.path)) >= size) return survey(false)
      }
      const group = yield* findGroup(segment, position + 8, limit)
      const resume = group === undefined ? undefined : { position: group.start, offset: group.firstOffset }
      damaged.push({ position, firstOffset: offset, resume, why: `${stopWord(result.stop)} at position ${result.stopPosition}` })
      if (group === undefined) return survey(yield* endsWithFooter(segment, kernels, size))
      state[k.STATE_POSITION] = group.start
      state[k.STATE_NEXT_OFFSET] = group.firstOffset
      state[k.STATE_CHAIN] = group.prevChain
    }
  } finally {
    segment.pins--
  }
}

function* endsWithFooter(segment: Segment, kernels: k.Kernels, size: number): Procedure<boolean> {
  if (size < SEGMENT_HEADER_BYTES + FOOTER_FRAME_BYTES) return false
  const bytes = new Uint8Array(FOOTER_FRAME_BYTES)
  yield* io.read(segment.fd, size - FOOTER_FRAME_BYTES, bytes, segment.path)
  return decodeFooter(bytes, segment.seed, kernels.crc32c) !== undefined
}
