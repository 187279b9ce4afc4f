import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import { ARCHIVE_HEADER_BYTES, type ArchiveHeader, decodeArchiveHeader } from '../format/archive-file.js'
import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { archiveFile } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { archivesOf, recordArchive } from '../log/archive-moves.js'
import { archivedSegment } from '../log/closed-segment.js'
import type { Log } from '../log/log.js'
import type { ArchiveFacts, ClosedSegment } from '../log/manifest.js'
import type { LogParts } from '../log/parts.js'
import { verifyArchive } from '../segment/archived-verify.js'
import { Segment } from '../segment/segment.js'
import { type Compression, describeSegment, type Progress, writeArchive } from './write-archive.js'

/**
 * Archives one closed segment: temporary file, sync, rename, sync of the directory, then the archive is read back from the disk and compared with the segment,
 * and only then MANIFEST says so. Resolves to undefined when the segment is not there any more, or another one: nothing is left then. A complete archive that an
 * earlier pass left is taken over; any other file under its name is not overwritten (ERR_SEALOG_ARCHIVE) unless it is one of this log that MANIFEST does not name.
 */
export async function archiveSegment(
  log: Log<unknown>,
  parts: LogParts,
  facts: ClosedSegment,
  compression: Compression,
  progress: Progress,
): Promise<ArchiveFacts | undefined> {
  const { environment, manifest, session } = parts
  const { runner, kernels } = environment
  const file = path.join(archivesOf(parts), archiveFile(facts.base, Math.max(facts.base, facts.end - 1)))
  const segment = new Segment(parts.directory, facts.base, facts.generation, facts.end, facts.bytes - FOOTER_FRAME_BYTES, true)
  let archive: ArchiveFacts
  try {
    const header = await runner.run(describeSegment(segment, facts.linkChain, compression, kernels, manifest.logId, session.indexIntervalBytes))
    progress.check()
    archive = (await runner.run(takeOver(parts, facts, header, file))) ?? (await makeArchive(parts, segment, facts, header, file, compression, progress))
    progress.check()
  } finally {
    await runner.run(segment.release())
  }
  return whileOpen(log, parts, function* () {
    if (yield* recordArchive(parts, facts, archive)) return archive
    if (!isNamed(parts, archive.file)) yield* io.unlink(file)
    return undefined
  })
}

/** What is told to MANIFEST, in the task queue of the log. ERR_SEALOG_CLOSED once `closeSync` has ended the log: its files may be another writer's by now. */
export function whileOpen<R>(log: Log<unknown>, parts: LogParts, move: () => Procedure<R>): Promise<R> {
  return parts.tasks.add(function* () {
    log.checkOpen()
    return yield* move()
  })
}

const DAMAGE: ReadonlySet<string> = new Set(['ERR_SEALOG_CORRUPT', 'ERR_SEALOG_CHECKSUM', 'ERR_SEALOG_FORMAT'])

/** Is this what damage of a segment is told with? */
export function isDamage(error: unknown): error is LogError {
  return error instanceof LogError && DAMAGE.has(error.code)
}

async function makeArchive(
  parts: LogParts,
  segment: Segment,
  facts: ClosedSegment,
  header: ArchiveHeader,
  file: string,
  compression: Compression,
  progress: Progress,
): Promise<ArchiveFacts> {
  const { runner } = parts.environment
  const temporary = `${file}.tmp`
  let bytes = 0
  let named = false
  try {
    await runner.run(makeFolder(path.dirname(file)))
    bytes = await writeArchive(segment, header, facts.runningTime, temporary, compression, runner, progress)
    progress.check()
    await runner.run(giveName(temporary, file))
    named = true
  } finally {
    if (!named) await runner.run(io.unlink(temporary))
  }
  return runner.run(readBack(parts, facts, header, { file: path.basename(file), bytes, dictionary: header.dictionary }))
}

/** The archives of a log have a folder of their own. */
export function* makeFolder(folder: string): Procedure<void> {
  if (yield* io.mkdir(folder)) yield* io.syncDirectory(path.dirname(folder))
}

export function* giveName(temporary: string, file: string): Procedure<void> {
  yield* io.rename(temporary, file)
  yield* io.syncDirectory(path.dirname(file))
}

/** The complete archive of the very same segment that a pass left which was ended before it could tell MANIFEST; undefined: there is no file by this name (any more). */
function* takeOver(parts: LogParts, facts: ClosedSegment, header: ArchiveHeader, file: string): Procedure<ArchiveFacts | undefined> {
  const found = yield* readHeader(parts, file)
  if (found === undefined) return undefined
  const name = path.basename(file)
  if (isNamed(parts, name)) throw refusal(file, 'MANIFEST names it')
  const same = found.header.segmentCrc === header.segmentCrc && Buffer.compare(found.header.segmentHeader, header.segmentHeader) === 0
  if (same) {
    try {
      const archive = yield* readBack(parts, facts, header, { file: name, bytes: found.bytes, dictionary: found.header.dictionary })
      yield* io.syncDirectory(path.dirname(file))
      return archive
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'ERR_SEALOG_ARCHIVE') throw error
    }
  }
  yield* io.unlink(file)
  return undefined
}

/** Header and size of an archive of this log; undefined when there is no such file. */
export function* readHeader(parts: LogParts, file: string): Procedure<{ readonly header: ArchiveHeader; readonly bytes: number } | undefined> {
  const size = (yield* io.statPath(file))?.size
  const bytes = yield* io.readFile(file, constants.O_RDONLY, ARCHIVE_HEADER_BYTES)
  if (bytes === undefined || size === undefined) return undefined
  const header = decodeArchiveHeader(bytes, parts.environment.kernels.crc32c)
  if ('kind' in header) throw refusal(file, header.kind === 'newer' ? `it is newer: ${header.why}` : header.why)
  if (Buffer.compare(header.logId, parts.manifest.logId) !== 0) throw refusal(file, 'it is an archive of another log')
  return { header, bytes: size }
}

/** Reads the archive from the disk; it must hold the segment that `header` describes. */
function* readBack(
  parts: LogParts,
  facts: ClosedSegment,
  header: ArchiveHeader,
  { file, bytes, dictionary }: Pick<ArchiveFacts, 'file' | 'bytes' | 'dictionary'>,
): Procedure<ArchiveFacts> {
  const { environment, manifest, directory } = parts
  const archive: ArchiveFacts = { file, bytes, crc: 0, dictionary, archivedAt: parts.sources.now() }
  const segment = archivedSegment(directory, { ...facts, archive }, archivesOf(parts))
  if (segment?.archive === undefined) throw new Error('the segment has no archive')
  try {
    const found = yield* verifyArchive(segment, segment.archive, environment.archivedBlocks, environment.kernels, manifest.logId, undefined)
    if (found.header.segmentCrc !== header.segmentCrc || found.footer.linkChain !== facts.linkChain) throw segment.archive.damaged('it holds another segment')
    return { ...archive, crc: found.crc }
  } finally {
    yield* segment.release()
  }
}

function isNamed({ manifest }: LogParts, file: string): boolean {
  const { closed, history = [] } = manifest.state
  return [...closed, ...history].some(({ archive }) => archive?.file === file)
}

function refusal(file: string, why: string): LogError {
  return new LogError('ERR_SEALOG_ARCHIVE', `${file} is there already and is not overwritten (${why})`, { file })
}
