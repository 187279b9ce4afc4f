import path from 'node:path'
import { SEGMENTS_DIRECTORY } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { removeChunks } from '../sealing/chunk-directory.js'
import type { LogParts } from './parts.js'

/** Moves the start to `offset`: first in MANIFEST, then closed segments wholly below it are unlinked, and so are their chunks. The last segment stays: it holds the end of the chain. */
export function* removeSegmentsBefore(parts: LogParts, offset: number): Procedure<void> {
  const { manifest, segments, environment, directory } = parts
  if (offset <= manifest.state.startOffset) return
  const last = segments.last
  const goes = (segment: { end: number; closed: boolean }) => segment.closed && segment.end <= offset && segment !== last
  const removed = segments.all.filter(goes).map((segment) => segment.base)
  yield* manifest.append({ type: 'start', offset, removed })
  for (const segment of segments.remove(goes)) {
    segment.retired = true
    environment.forget(segment)
    yield* segment.release()
    yield* io.unlink(segment.path)
    yield* io.unlink(segment.indexPath)
  }
  if (removed.length === 0) return
  yield* io.syncDirectory(path.join(directory, SEGMENTS_DIRECTORY))
  const first = segments.all[0]?.base ?? offset
  yield* removeChunks(directory, (chunk) => chunk.last < first)
}
