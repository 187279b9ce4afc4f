import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import { ARCHIVE_HEADER_BYTES, decodeArchiveHeader } from '../format/archive-file.js'
import { SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { parseArchiveFile, SEGMENTS_DIRECTORY, segmentFile } from '../format/names.js'
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { verifyArchive } from '../segment/archived-verify.js'
import { archivedSegment } from './closed-segment.js'
import type { Environment } from './environment.js'
import type { ClosedSegment } from './manifest.js'

/** An archive that was found good without MANIFEST: what MANIFEST would say of its segment. */
export interface FoundArchive {
  readonly facts: ClosedSegment
  readonly header: SegmentHeader
}

/**
 * The archives in a folder, by base, of segments that are not in `present` (base → generation); those that are no good, or of another log than the first segment or archive, are left
 * out and told in `actions`. Reads and verifies each whole.
 */
export function* findArchives(
  directory: string,
  folder: string,
  present: ReadonlyMap<number, number>,
  environment: Environment,
  actions: string[],
): Procedure<Map<number, FoundArchive>> {
  const found = new Map<number, FoundArchive>()
  let logId = yield* logIdOf(directory, present, environment)
  for (const name of (yield* io.list(folder)) ?? []) {
    const range = parseArchiveFile(name)
    if (range === undefined || present.has(range.base)) continue
    try {
      const archive = yield* readArchive(directory, folder, name, environment)
      logId ??= archive.header.logId
      if (Buffer.compare(archive.header.logId, logId) === 0) found.set(range.base, archive)
      else actions.push(`left out ${path.join(folder, name)}: it is an archive of another log`)
    } catch (error) {
      if (!(error instanceof LogError) || (error.code !== 'ERR_SEALOG_ARCHIVE' && error.code !== 'ERR_SEALOG_FORMAT_NEWER')) throw error
      actions.push(`left out an archive: ${error.message}`)
    }
  }
  return found
}

function* readArchive(directory: string, folder: string, file: string, environment: Environment): Procedure<FoundArchive> {
  const { kernels, archivedBlocks } = environment
  const place = path.join(folder, file)
  const size = (yield* io.statPath(place))?.size ?? 0
  const bytes = yield* io.readFile(place, constants.O_RDONLY, ARCHIVE_HEADER_BYTES)
  const header = bytes === undefined ? undefined : decodeArchiveHeader(bytes, kernels.crc32c)
  if (header === undefined || 'kind' in header) throw new LogError('ERR_SEALOG_ARCHIVE', `${place}: ${header?.why ?? 'it is missing'}`, { file: place })
  const segmentHeader = decodeSegmentHeader(header.segmentHeader, kernels.crc32c)
  if (typeof segmentHeader === 'string') throw new LogError('ERR_SEALOG_ARCHIVE', `${place}: segment header: ${segmentHeader}`, { file: place })
  const facts: ClosedSegment = {
    base: header.base,
    generation: header.generation,
    end: header.end,
    bytes: header.segmentBytes,
    linkChain: 0,
    firstChunkSequence: segmentHeader.firstChunkSequence,
    chunks: 0,
    runningTime: Math.max(segmentHeader.runningTime, header.maxTime),
    closedAt: 0,
    archive: { file, bytes: size, crc: 0, dictionary: header.dictionary, archivedAt: Date.now() },
    local: false,
  }
  const segment = archivedSegment(directory, facts, folder)
  if (segment?.archive === undefined || facts.archive === undefined) throw new Error('the segment has no archive')
  try {
    const { footer, crc } = yield* verifyArchive(segment, segment.archive, archivedBlocks, kernels, header.logId, undefined)
    const { linkChain, chunks, closedAt } = footer
    return { header: segmentHeader, facts: { ...facts, linkChain, chunks, closedAt, archive: { ...facts.archive, crc } } }
  } finally {
    yield* segment.release()
  }
}

function* logIdOf(directory: string, present: ReadonlyMap<number, number>, { kernels }: Environment): Procedure<Uint8Array | undefined> {
  for (const [base, generation] of present) {
    const bytes = yield* io.readFile(path.join(directory, SEGMENTS_DIRECTORY, segmentFile(base, generation)), constants.O_RDONLY, SEGMENT_HEADER_BYTES)
    const header = bytes === undefined ? undefined : decodeSegmentHeader(bytes, kernels.crc32c)
    if (header !== undefined && typeof header !== 'string') return header.logId
  }
  return undefined
}
