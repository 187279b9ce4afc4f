import { constants } from 'node:fs'
import path from 'node:path'
import { LogError, warn } from '../errors.js'
import { ARCHIVE_HEADER_BYTES, decodeArchiveHeader } from '../format/archive-file.js'
import { SEGMENTS_DIRECTORY } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { archiveDirectory } from '../options.js'
import { unpackSegment } from '../segment/archived-restore.js'
import type { ArchivedSegment } from '../segment/archived-segment.js'
import type { Segment } from '../segment/segment.js'
import { archivedSegment, closedSegment } from './closed-segment.js'
import type { ArchiveFacts, ClosedSegment } from './manifest.js'
import type { LogParts } from './parts.js'

/** The steps of a segment between its file and its archive. Each is durable in MANIFEST before the next one; all but `unpack` run in the task queue of the log. */

export function archivesOf(parts: LogParts): string {
  return archiveDirectory(parts.directory, parts.session.archive)
}

/** MANIFEST names the archive, which was read back and found equal; false when the segment is another one by now: it was cut, removed, rewritten or archived. */
export function* recordArchive({ manifest }: LogParts, segment: ClosedSegment, archive: ArchiveFacts): Procedure<boolean> {
  const now = factsOf(manifest.state.closed, segment.base)
  if (now === undefined || now.archive !== undefined || now.generation !== segment.generation || now.end !== segment.end) return false
  yield* manifest.append({ type: 'archived', base: segment.base, archive })
  return true
}

/** MANIFEST says that the segment is set aside, and why. */
export function* setAside({ manifest }: LogParts, segment: ClosedSegment, why: string): Procedure<void> {
  const now = factsOf(manifest.state.closed, segment.base)
  if (now === undefined || now.archive !== undefined || now.generation !== segment.generation || now.end !== segment.end) return
  yield* manifest.append({ type: 'quarantined', base: segment.base, why })
}

/** Opens the archive of a closed segment: it is there, belongs to this segment, and its header, index and dictionary are good. ERR_SEALOG_ARCHIVE otherwise. */
export function* checkArchive(parts: LogParts, facts: ClosedSegment): Procedure<void> {
  const { directory, environment, manifest } = parts
  const segment = archivedSegment(directory, facts, archivesOf(parts))
  if (segment?.archive === undefined)
    throw new LogError('ERR_SEALOG_ARCHIVE', `offsets ${facts.base} to ${facts.end - 1} are not archived`, { offset: facts.base })
  yield* segment.open(environment.kernels, manifest.logId)
  yield* segment.release()
  yield* environment.archivedBlocks.checkDictionary(segment.archive, manifest.logId)
}

/** Where a segment is unpacked to; open removes it. */
export function restorePath(segment: Segment): string {
  return `${segment.path}.tmp`
}

/** Unpacks the archive of a segment beside its place, synced and found equal. */
export function* unpack({ environment, manifest }: LogParts, segment: Segment, archive: ArchivedSegment): Procedure<void> {
  yield* unpackSegment(segment, archive, restorePath(segment), environment.archivedBlocks, environment.kernels, manifest.logId)
}

/** Gives the file that `unpack` made its name; then MANIFEST, then this process reads it. False, and the file is gone, when the segment is another one by now. */
export function* putBack(parts: LogParts, segment: Segment): Procedure<boolean> {
  const { manifest, segments, environment, directory } = parts
  const facts = factsOf(manifest.state.closed, segment.base)
  if (facts?.local !== false || segments.find(segment.base) !== segment) {
    yield* io.unlink(restorePath(segment))
    return false
  }
  yield* io.rename(restorePath(segment), segment.path)
  yield* io.syncDirectory(path.join(directory, SEGMENTS_DIRECTORY))
  yield* manifest.append({ type: 'restored', base: segment.base })
  replace(parts, [segment])
  environment.forget(segment)
  yield* segment.release()
  return true
}

/** Unpacks a segment and puts it back. */
export function* restoreSegment(parts: LogParts, segment: Segment): Procedure<void> {
  if (segment.archive === undefined) return
  yield* unpack(parts, segment, segment.archive)
  yield* putBack(parts, segment)
}

/** Removes an archive that is not needed any more. False when there is none, or one that is another log's: the directory is a wrong one then. */
export function* removeArchive({ environment, manifest }: LogParts, file: string): Procedure<boolean> {
  const bytes = yield* io.readFile(file, constants.O_RDONLY, ARCHIVE_HEADER_BYTES)
  if (bytes === undefined) return false
  const header = decodeArchiveHeader(bytes, environment.kernels.crc32c)
  if ('logId' in header && Buffer.compare(header.logId, manifest.logId) !== 0) return false
  yield* io.unlink(file)
  return true
}

/** Removes the archives of closed segments that go. One that cannot be removed is left behind with a warning: nothing names it any more. */
export function* removeArchives(parts: LogParts, goes: (segment: ClosedSegment) => boolean): Procedure<void> {
  const folder = archivesOf(parts)
  let removed = false
  for (const { archive } of parts.manifest.state.closed.filter(goes)) {
    if (archive === undefined) continue
    const file = path.join(folder, archive.file)
    try {
      removed = (yield* removeArchive(parts, file)) || removed
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      warn('SEALOG_ARCHIVE_LEFT', `${file} is not needed any more and could not be removed: ${error.message}`)
    }
  }
  if (removed && (yield* io.statPath(folder)) !== undefined) yield* io.syncDirectory(folder)
}

/** Segments that read what MANIFEST says now take the place of these, which whoever reads them last lets go. */
function replace({ manifest, segments, directory, session }: LogParts, old: readonly Segment[]): void {
  const folder = archiveDirectory(directory, session.archive)
  const next: Segment[] = []
  for (const segment of old) {
    const facts = factsOf(manifest.state.closed, segment.base)
    if (facts === undefined) continue
    const replacement = closedSegment(directory, facts, folder)
    replacement.header = segment.header
    next.push(replacement)
    segment.retired = true
  }
  segments.replace(next)
}

/** Closed segments are in order of their bases. */
function factsOf(closed: readonly ClosedSegment[], base: number): ClosedSegment | undefined {
  let low = 0
  let high = closed.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (closed[middle].base < base) low = middle + 1
    else high = middle
  }
  return closed[low]?.base === base ? closed[low] : undefined
}
