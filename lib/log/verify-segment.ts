import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { decodeFooter } from '../format/frames.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { corrupt, stopWord } from '../segment/recovery.js'
import type { Segment } from '../segment/segment.js'
import { findGroup, startState, walk } from '../segment/walk.js'

/** Verifies every frame of a closed segment against footer and MANIFEST. Throws ERR_SEALOG_CORRUPT at the first damage; returns the number of records. */
export function* verifyClosed(segment: Segment, kernels: k.Kernels, logId: Uint8Array, intervalBytes: number): Procedure<number> {
  segment.pins++
  try {
    yield* segment.open(kernels, logId)
    if (segment.header === undefined) throw new Error('the segment is not open')
    const state = startState(segment.header, segment.fd, intervalBytes)
    const { size } = yield* io.stat(segment.fd, segment.path)
    const result = yield* walk(segment, state, size, intervalBytes)
    const position = state[k.STATE_POSITION]
    const next = state[k.STATE_NEXT_OFFSET]
    if (result.stop !== k.STOP_FOOTER || result.stopPosition !== position) {
      const good = yield* findGroup(segment, position, size)
      throw corrupt(segment, result.stopPosition, next, stopWord(result.stop), good?.firstOffset ?? segment.end)
    }
    const bytes = new Uint8Array(FOOTER_FRAME_BYTES)
    yield* io.read(segment.fd, position, bytes, segment.path)
    const footer = decodeFooter(bytes, segment.seed, kernels.crc32c)
    if (
      footer === undefined ||
      footer.nextOffset !== segment.end ||
      footer.contentChain !== state[k.STATE_CHAIN] ||
      position !== segment.endPosition ||
      size !== footer.fileBytes
    ) {
      throw corrupt(segment, position, next, 'the footer does not agree with the records', segment.end)
    }
    return footer.count
  } finally {
    segment.pins--
  }
}
