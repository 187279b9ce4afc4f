import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import { decodeCommitted } from '../format/committed-file.js'
import { COMMITTED_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { COMMITTED_FILE, parseSegmentFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { type ArchiveLocation, archiveDirectory, archiveLocation, checkDirectory, checkNames, oneOf } from '../options.js'
import type { ArchivedSegment } from '../segment/archived-segment.js'
import { verifyArchive } from '../segment/archived-verify.js'
import { readTail } from '../segment/recovery.js'
import { Segment } from '../segment/segment.js'
import { closedSegment } from './closed-segment.js'
import { type Environment, environmentFor } from './environment.js'
import { isWriterAlive } from './lock.js'
import { type ClosedSegment, Manifest } from './manifest.js'
import { surveySegment } from './survey.js'

export interface VerifyOptions {
  backend?: 'auto' | 'native' | 'js'
  /** Where the archives of the log are. Default: `archive` in its directory. Those are verified whose segments are not there any more. */
  archive?: ArchiveLocation
  /** Bytes looked at so far, and in all. */
  onProgress?: (done: number, total: number) => void
}

/** One stretch of damage. Offsets are inclusive; `lastOffset` undefined: to an unknown end. */
export interface VerifyProblem {
  readonly code: string
  readonly file: string
  readonly position: number
  readonly firstOffset: number
  readonly lastOffset: number | undefined
  readonly message: string
}

export interface VerifyReport {
  readonly ok: boolean
  readonly segments: number
  readonly records: number
  readonly bytes: number
  readonly startOffset: number
  readonly endOffset: number
  readonly problems: readonly VerifyProblem[]
  /** An unfinished write at the end that the next open will cut: normal after a crash, not a problem. */
  readonly tornTail: { readonly file: string; readonly position: number } | undefined
}

const INTERVAL = 4096

/** Reads and verifies every frame of a log, beside a writer or without one; writes nothing. Damage is reported, not thrown. */
export async function verify(directory: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  checkDirectory(directory)
  checkNames(options, new Set(['backend', 'archive', 'onProgress']), 'verify')
  const environment = environmentFor(oneOf(options.backend, 'backend', ['auto', 'native', 'js'], 'auto'))
  const place = path.resolve(directory)
  const archives = archiveDirectory(place, archiveLocation(options.archive))
  return environment.runner.run(verification(place, archives, environment, options.onProgress ?? (() => {})))
}

function* verification(
  directory: string,
  archives: string,
  environment: Environment,
  onProgress: (done: number, total: number) => void,
): Procedure<VerifyReport> {
  const { kernels } = environment
  const problems: VerifyProblem[] = []
  const names = ((yield* io.list(path.join(directory, SEGMENTS_DIRECTORY))) ?? []).map(parseSegmentFile).filter((name) => name !== undefined)
  let manifest: Manifest | undefined
  try {
    manifest = yield* Manifest.load(directory, kernels)
    if (manifest === undefined) {
      const code = names.length > 0 ? 'ERR_SEALOG_MANIFEST' : 'ERR_SEALOG_NOT_FOUND'
      throw new LogError(code, names.length > 0 ? `MANIFEST is missing in ${directory}` : `there is no log in ${directory}`, { file: directory, position: 0 })
    }
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== 'ERR_SEALOG_MANIFEST') throw error
    problems.push(problemOf(error, 0, undefined))
    return { ok: false, segments: names.length, records: 0, bytes: 0, startOffset: 0, endOffset: 0, problems, tornTail: undefined }
  }
  const { state, logId } = manifest
  let records = 0
  let bytes = 0
  let done = 0
  let end = state.startOffset
  let chain: number | undefined
  const closed = state.closed.map((facts) => closedSegment(directory, facts, archives))
  const unclosed = names
    .filter((name) => name.generation === 0 && name.base >= (state.closed.at(-1)?.end ?? 0))
    .sort((a, b) => a.base - b.base)
    .map((name) => new Segment(directory, name.base, 0, name.base, SEGMENT_HEADER_BYTES, false))
  const total = state.closed.reduce((sum, facts) => sum + facts.bytes, 0) + (yield* sizes(unclosed))
  for (const [i, segment] of closed.entries()) {
    const facts = state.closed[i]
    if (segment.archive !== undefined) {
      const found = yield* verifyArchived(segment, segment.archive, facts, environment, logId, chain)
      if (found instanceof LogError) problems.push(problemOf(found, facts.base, facts.end - 1))
      else records += found
      chain = facts.linkChain
      bytes += facts.bytes
      end = facts.end
      done += facts.bytes
      onProgress(done, total)
      continue
    }
    const survey = yield* surveySegment(segment, kernels, logId, INTERVAL)
    if (survey.header !== 'good') {
      problems.push(problemOf(survey.header, segment.base, segment.end - 1))
    } else {
      if (chain !== undefined && segment.header !== undefined && segment.header.prevChain !== chain) {
        problems.push({
          code: 'ERR_SEALOG_CORRUPT',
          file: segment.path,
          position: 0,
          firstOffset: segment.base,
          lastOffset: segment.end - 1,
          message: `${segment.path} does not follow the segment before it`,
        })
      }
      for (const stretch of survey.damaged) {
        const last = (stretch.resume?.offset ?? segment.end) - 1
        problems.push(problem(segment, stretch.position, stretch.firstOffset, last, stretch.why))
      }
      if (survey.damaged.length === 0 && (!survey.complete || survey.size !== facts.bytes)) {
        problems.push(
          problem(
            segment,
            survey.state?.[k.STATE_POSITION] ?? 0,
            survey.state?.[k.STATE_NEXT_OFFSET] ?? segment.base,
            segment.end - 1,
            'the footer is missing or does not agree',
          ),
        )
      }
    }
    chain = facts.linkChain
    records += survey.records
    bytes += facts.bytes
    end = facts.end
    done += facts.bytes
    onProgress(done, total)
    yield* segment.release()
  }
  const tail = yield* verifyTail(directory, kernels, manifest, unclosed, chain === undefined ? undefined : { chain, end }, problems)
  onProgress(total, total)
  return {
    ok: problems.length === 0,
    segments: closed.length + unclosed.length,
    records: records + tail.records,
    bytes: bytes + tail.bytes,
    startOffset: state.startOffset,
    endOffset: Math.max(end, tail.end),
    problems,
    tornTail: tail.torn,
  }
}

/** Number of records of a segment that is an archive, or what is wrong with it. */
function* verifyArchived(
  segment: Segment,
  archive: ArchivedSegment,
  facts: ClosedSegment,
  { archivedBlocks, kernels }: Environment,
  logId: Uint8Array,
  chain: number | undefined,
): Procedure<number | LogError> {
  try {
    const { footer } = yield* verifyArchive(segment, archive, archivedBlocks, kernels, logId, facts.archive?.crc)
    const follows = chain === undefined || segment.header?.prevChain === chain
    return follows && footer.linkChain === facts.linkChain ? footer.count : archive.damaged('it does not follow the segment before it')
  } catch (error) {
    if (!(error instanceof LogError) || error.code === 'ERR_SEALOG_FORMAT_NEWER' || error.code === 'ERR_SEALOG_UNSUPPORTED') throw error
    return error
  } finally {
    yield* segment.release()
  }
}

interface TailFacts {
  readonly records: number
  readonly bytes: number
  readonly end: number
  readonly torn: { readonly file: string; readonly position: number } | undefined
}

/** The unclosed segments: judged as recovery would when nobody writes, else only what is committed. */
function* verifyTail(
  directory: string,
  kernels: k.Kernels,
  manifest: Manifest,
  segments: readonly Segment[],
  link: { chain: number; end: number } | undefined,
  problems: VerifyProblem[],
): Procedure<TailFacts> {
  const alive = yield* isWriterAlive(directory)
  const file = yield* io.readFile(path.join(directory, COMMITTED_FILE), constants.O_RDONLY, COMMITTED_BYTES)
  const slots = file === undefined ? undefined : decodeCommitted(file, kernels.crc32c(manifest.logId, 0), kernels.crc32c)
  const durable = slots?.durable?.epoch === manifest.state.epoch ? slots.durable : undefined
  const context = { directory, kernels, logId: manifest.logId, intervalBytes: INTERVAL, durable: alive ? undefined : durable, evict: false }
  try {
    const tail = yield* readTail(context, segments, constants.O_RDONLY, link)
    const last = tail.parts.at(-1)
    const records = tail.parts.reduce((sum, part) => sum + part.state[k.STATE_RECORDS], 0)
    const bytes = tail.parts.reduce((sum, part) => sum + part.state[k.STATE_POSITION], 0)
    const end = last?.state[k.STATE_NEXT_OFFSET] ?? 0
    const { damage } = tail
    if (damage?.rot !== undefined) {
      problems.push(
        problem(damage.segment, damage.position, damage.end, damage.goodAgain === undefined ? undefined : damage.goodAgain - 1, `${damage.why}; ${damage.rot}`),
      )
    }
    const torn = damage !== undefined && damage.rot === undefined && !alive ? { file: damage.segment.path, position: damage.position } : undefined
    return { records, bytes, end, torn }
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== 'ERR_SEALOG_CORRUPT') throw error
    problems.push(problemOf(error, error.offset ?? 0, error.endOffset === undefined ? undefined : error.endOffset - 1))
    return { records: 0, bytes: 0, end: 0, torn: undefined }
  } finally {
    for (const segment of segments) yield* segment.release()
  }
}

function* sizes(segments: readonly Segment[]): Procedure<number> {
  let total = 0
  for (const segment of segments) total += (yield* io.statPath(segment.path))?.size ?? 0
  return total
}

function problem(segment: Segment, position: number, firstOffset: number, lastOffset: number | undefined, why: string): VerifyProblem {
  const range = lastOffset === undefined ? `records from offset ${firstOffset} on` : `offsets ${firstOffset} to ${lastOffset}`
  return {
    code: 'ERR_SEALOG_CHECKSUM',
    file: segment.path,
    position,
    firstOffset,
    lastOffset,
    message: `${segment.path}, position ${position}: ${range} are damaged (${why})`,
  }
}

function problemOf(error: LogError, firstOffset: number, lastOffset: number | undefined): VerifyProblem {
  return { code: error.code, file: error.file ?? '', position: error.position ?? 0, firstOffset, lastOffset, message: error.message }
}
