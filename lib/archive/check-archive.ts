import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import { ARCHIVE_HEADER_BYTES, decodeArchiveHeader } from '../format/archive-file.js'
import { parseArchiveFile } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { archivesOf } from '../log/archive-moves.js'
import { archivedSegment } from '../log/closed-segment.js'
import type { ClosedSegment } from '../log/manifest.js'
import type { LogParts } from '../log/parts.js'
import type { ArchivedSegment } from '../segment/archived-segment.js'
import { checksum, verifyArchive } from '../segment/archived-verify.js'
import type { Segment } from '../segment/segment.js'

/** Names of temporary files. */
const TEMPORARY = /^(\d{20}-\d{20}\.zst|dict-[0-9a-f]{8}|trial)\.tmp$/

/** Removes what an ended pass left half done. ERR_SEALOG_ARCHIVE when the folder holds archives of another log. */
export function* takeFolder(parts: LogParts): Procedure<void> {
  const folder = archivesOf(parts)
  const names = (yield* io.list(folder)) ?? []
  for (const name of names) {
    if (parseArchiveFile(name) === undefined) continue
    const file = path.join(folder, name)
    const bytes = yield* io.readFile(file, constants.O_RDONLY, ARCHIVE_HEADER_BYTES)
    const header = bytes === undefined ? undefined : decodeArchiveHeader(bytes, parts.environment.kernels.crc32c)
    // Who it belongs to is all that is asked; one that is damaged does not tell.
    if (header === undefined || 'kind' in header) continue
    if (Buffer.compare(header.logId, parts.manifest.logId) !== 0)
      throw new LogError('ERR_SEALOG_ARCHIVE', `${folder} holds archives of another log (${name}); every log needs a directory of its own`, { file })
    break
  }
  for (const name of names) if (TEMPORARY.test(name)) yield* io.unlink(path.join(folder, name))
}

/** Verifies the archive of a segment whole; the number of its records. */
export function* verifyFacts(parts: LogParts, facts: ClosedSegment): Procedure<number> {
  const { environment, manifest } = parts
  const { segment, archive } = archiveOf(parts, facts)
  try {
    const { footer } = yield* verifyArchive(segment, archive, environment.archivedBlocks, environment.kernels, manifest.logId, facts.archive?.crc)
    if (footer.linkChain !== facts.linkChain) throw archive.damaged('it holds another segment')
    return footer.count
  } finally {
    yield* segment.release()
  }
}

/** Reads the archive of a segment and compares it with what MANIFEST says: it is the one that was verified. Its dictionary is looked at too. */
export function* compareFile(parts: LogParts, facts: ClosedSegment): Procedure<void> {
  const { environment, manifest } = parts
  const { segment, archive } = archiveOf(parts, facts)
  try {
    yield* segment.open(environment.kernels, manifest.logId)
    if ((yield* checksum(segment.fd, 0, archive.bytes, archive.path)) !== facts.archive?.crc) throw archive.damaged('checksum of the file')
    yield* environment.archivedBlocks.checkDictionary(archive, manifest.logId)
  } finally {
    yield* segment.release()
  }
}

function archiveOf(parts: LogParts, facts: ClosedSegment): { readonly segment: Segment; readonly archive: ArchivedSegment } {
  const segment = archivedSegment(parts.directory, facts, archivesOf(parts))
  if (segment?.archive === undefined) throw new Error('the segment has no archive')
  return { segment, archive: segment.archive }
}
