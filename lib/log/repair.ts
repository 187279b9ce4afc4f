import { randomFillSync } from 'node:crypto'
import { constants } from 'node:fs'
import path from 'node:path'
import { LogError, optionError } from '../errors.js'
import { decodeCommitted } from '../format/committed-file.js'
import { COMMITTED_BYTES, FOOTER_FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { decodeFooter } from '../format/frames.js'
import { COMMITTED_FILE, MANIFEST_FILE, parseSegmentFile, SEGMENTS_DIRECTORY } from '../format/names.js'
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { TaskQueue } from '../kernels/task.js'
import {
  type ArchiveLocation,
  archiveDirectory,
  archiveLocation,
  checkDirectory,
  checkNames,
  type LogOptions,
  type LogSettings,
  oneOf,
  resolveSession,
} from '../options.js'
import { removeChunks } from '../sealing/chunk-directory.js'
import { saveBytes } from '../segment/cut-tail.js'
import { readTail } from '../segment/recovery.js'
import { Segment } from '../segment/segment.js'
import { SegmentSet } from '../segment/segment-set.js'
import { type Environment, environmentFor } from './environment.js'
import { findArchives } from './find-archives.js'
import { WriterLock } from './lock.js'
import { Log } from './log.js'
import { type ClosedSegment, Manifest, type ManifestState, type OffsetRange } from './manifest.js'
import type { LogParts } from './parts.js'
import { salvageSegment } from './salvage.js'
import { SegmentWriter } from './segment-writer.js'
import { type SegmentSurvey, surveySegment } from './survey.js'
import { applyTruncation } from './truncation.js'

export interface RepairOptions {
  /** `point-in-time`: keep everything before the first damage, cut the rest. `salvage`: keep all that verifies, give up only what does not. */
  policy: 'point-in-time' | 'salvage'
  /** Rebuild MANIFEST from the segments first if it is damaged or missing. Default false. */
  manifest?: boolean
  /** Where the archives of the log are; a rebuilt MANIFEST names those whose segments are not there. Default: `archive` in its directory. */
  archive?: ArchiveLocation
  backend?: 'auto' | 'native' | 'js'
}

export interface RepairReport {
  /** What was done, in words, in order; empty when nothing had to be. */
  readonly actions: readonly string[]
  /** Offsets that are gone: `from` inclusive, `to` exclusive. */
  readonly lost: readonly OffsetRange[]
  readonly endOffset: number
}

const INTERVAL = 4096

/** Mends a damaged log on explicit demand; needs the writer's lock. What is cut or replaced is saved beside the log first. */
export async function repair(directory: string, options: RepairOptions): Promise<RepairReport> {
  checkDirectory(directory)
  checkNames(options, new Set(['policy', 'manifest', 'archive', 'backend']), 'repair')
  if (options.policy === undefined) throw optionError('policy', options.policy, `'point-in-time' or 'salvage'`)
  const policy = oneOf(options.policy, 'policy', ['point-in-time', 'salvage'], 'salvage')
  const archive = archiveLocation(options.archive)
  const backend = oneOf(options.backend, 'backend', ['auto', 'native', 'js'], 'auto')
  const environment = environmentFor(backend)
  const place = path.resolve(directory)
  const actions: string[] = []
  const lost: OffsetRange[] = []
  const lock = await WriterLock.acquire(place, environment.runner, 'fsync', 'os')
  try {
    await environment.runner.run(mend(place, environment, policy, options.manifest === true, archive, actions, lost))
  } finally {
    await environment.runner.run(lock.release(false))
  }
  const log = await Log.open<unknown>(place, { backend, create: false, archive: options.archive })
  const { endOffset } = log
  await log.close()
  return { actions, lost, endOffset }
}

function* mend(
  directory: string,
  environment: Environment,
  policy: RepairOptions['policy'],
  rebuild: boolean,
  archive: string | undefined,
  actions: string[],
  lost: OffsetRange[],
): Procedure<void> {
  const { kernels } = environment
  let manifest: Manifest | undefined
  try {
    manifest = yield* Manifest.load(directory, kernels)
  } catch (error) {
    if (!rebuild || !(error instanceof LogError) || error.code !== 'ERR_SEALOG_MANIFEST') throw error
  }
  if (manifest === undefined) {
    if (!rebuild)
      throw new LogError('ERR_SEALOG_MANIFEST', `MANIFEST is missing in ${directory}; repair with manifest: true rebuilds it`, {
        file: path.join(directory, MANIFEST_FILE),
        position: 0,
      })
    manifest = yield* rebuildManifest(directory, environment, archiveDirectory(directory, archive), actions)
  }
  yield* manifest.makeDurable()
  const parts: LogParts = {
    directory,
    environment,
    manifest,
    segments: new SegmentSet(),
    settings: manifest.state.settings,
    session: { ...resolveSession({} satisfies LogOptions), archive },
    logSeed: kernels.crc32c(manifest.logId, 0),
    tasks: new TaskQueue(environment.runner),
    sources: { randomBytes: (length) => randomFillSync(new Uint8Array(length)), now: () => Date.now() },
  }
  if (manifest.state.intent !== undefined) {
    yield* applyTruncation(parts, manifest.state.intent)
    actions.push('finished a truncation that had been begun')
  }
  for (const facts of manifest.state.closed) {
    // An archive is as it is: there is nothing beside it to mend it with.
    if (facts.local === false) continue
    const segment = new Segment(directory, facts.base, facts.generation, facts.end, facts.bytes - FOOTER_FRAME_BYTES, true)
    const survey = yield* surveySegment(segment, kernels, manifest.logId, INTERVAL)
    if (isGood(survey, facts)) {
      yield* segment.release()
      continue
    }
    if (policy === 'point-in-time') {
      yield* cutAt(
        parts,
        segment,
        survey.header === 'good' ? survey.state : undefined,
        survey.damaged[0]?.position,
        survey.damaged[0]?.firstOffset,
        actions,
        lost,
      )
      return
    }
    yield* salvage(parts, segment, facts, actions, lost)
  }
  const end = yield* mendTail(parts, policy, actions, lost)
  if (end !== undefined) yield* overruleCommitted(parts, end, actions, lost)
}

function isGood(survey: SegmentSurvey, facts: ClosedSegment): boolean {
  return survey.header === 'good' && survey.damaged.length === 0 && survey.complete && survey.size === facts.bytes
}

/** COMMITTED may be all that is left of records at the end. The new epoch makes it count no longer. */
function* overruleCommitted(parts: LogParts, end: number, actions: string[], lost: OffsetRange[]): Procedure<void> {
  const { directory, environment, manifest, logSeed } = parts
  const bytes = yield* io.readFile(path.join(directory, COMMITTED_FILE), constants.O_RDONLY, COMMITTED_BYTES)
  const durable = bytes === undefined ? undefined : decodeCommitted(bytes, logSeed, environment.kernels.crc32c).durable
  if (durable === undefined || durable.epoch !== manifest.state.epoch || durable.end <= end) return
  yield* manifest.append({ type: 'epoch', epoch: manifest.state.epoch + 1 })
  actions.push(`gave up offsets ${end} to ${durable.end - 1}, which were durable and of which nothing good is left`)
  lost.push({ from: end, to: durable.end })
}

/** Rot in the unclosed segments: cut there, or rewrite the segment and look again. Returns the end of the log unless it was cut. */
function* mendTail(parts: LogParts, policy: RepairOptions['policy'], actions: string[], lost: OffsetRange[]): Procedure<number | undefined> {
  const { directory, environment, manifest } = parts
  for (;;) {
    const last = manifest.state.closed.at(-1)
    const names = ((yield* io.list(path.join(directory, SEGMENTS_DIRECTORY))) ?? []).map(parseSegmentFile).filter((name) => name !== undefined)
    const unclosed = names
      .filter((name) => name.generation === 0 && name.base >= (last?.end ?? 0))
      .sort((a, b) => a.base - b.base)
      .map((name) => new Segment(directory, name.base, 0, name.base, SEGMENT_HEADER_BYTES, false))
    const context = { directory, kernels: environment.kernels, logId: manifest.logId, intervalBytes: INTERVAL, durable: undefined, evict: false }
    const tail = yield* readTail(context, unclosed, constants.O_RDWR, last === undefined ? undefined : { chain: last.linkChain, end: last.end })
    const damage = tail.damage
    if (damage === undefined || (damage.rot === undefined && damage.goodAgain === undefined)) {
      for (const segment of unclosed) yield* segment.release()
      return tail.parts.at(-1)?.state[k.STATE_NEXT_OFFSET] ?? last?.end ?? 0
    }
    if (policy === 'point-in-time') {
      yield* cutAt(parts, damage.segment, undefined, damage.position, damage.end, actions, lost)
      return undefined
    }
    // Everything before the damaged segment is closed first: closed segments are a prefix of the log.
    for (const part of tail.parts) {
      if (part.segment === damage.segment) continue
      const writer = new SegmentWriter(parts, -1, { offset: 0, chain: 0, runningTime: -1, chunkSequence: 0, syncedOffset: 0 })
      yield* writer.finish(part.segment, part.state, part.footer !== undefined)
      yield* part.segment.release()
    }
    const next = tail.cut[0]
    if (next !== undefined && next.header === undefined) yield* next.open(environment.kernels, manifest.logId)
    const chain = damage.segment.header?.prevChain ?? 0
    const facts: ClosedSegment = {
      base: damage.segment.base,
      generation: 0,
      end: next?.base ?? Math.max(damage.end, damage.goodAgain ?? 0),
      bytes: 0,
      linkChain: next?.header?.prevChain ?? chain,
      firstChunkSequence: damage.segment.header?.firstChunkSequence ?? 0,
      chunks: 0,
      runningTime: damage.segment.header?.runningTime ?? -1,
      closedAt: 0,
    }
    yield* salvage(parts, damage.segment, facts, actions, lost)
    for (const segment of unclosed) yield* segment.release()
  }
}

function* salvage(parts: LogParts, segment: Segment, facts: ClosedSegment, actions: string[], lost: OffsetRange[]): Procedure<void> {
  yield* saveBytes(parts.directory, segment, 0, parts.environment.kernels)
  const result = yield* salvageSegment(parts, segment, facts)
  yield* segment.release()
  yield* io.unlink(segment.path)
  yield* io.unlink(segment.indexPath)
  yield* removeChunks(parts.directory, (chunk) => chunk.first >= segment.base && chunk.first < facts.end)
  lost.push(...result.lost)
  const count = result.lost.reduce((sum, range) => sum + range.to - range.from, 0)
  actions.push(`rewrote ${segment.path} as generation ${facts.generation + 1}: ${result.records} records kept, ${count} lost`)
}

/** Cuts the log behind the last good batch: saved, planned in MANIFEST, done. */
function* cutAt(
  parts: LogParts,
  segment: Segment,
  state: Float64Array | undefined,
  position: number | undefined,
  offset: number | undefined,
  actions: string[],
  lost: OffsetRange[],
): Procedure<void> {
  const { directory, environment, manifest } = parts
  const { closed } = manifest.state
  let base = segment.base
  let end = offset ?? state?.[k.STATE_NEXT_OFFSET] ?? segment.base
  let from = position ?? state?.[k.STATE_POSITION] ?? 0
  if (from === 0) {
    // The header itself is damaged: the segment before becomes the last.
    const before = closed.filter((facts) => facts.end <= segment.base).at(-1)
    if (before === undefined)
      throw new LogError('ERR_SEALOG_UNSUPPORTED', `nothing lies before the damage of ${segment.path}; use policy salvage`, { file: segment.path })
    base = before.base
    end = before.end
    from = before.bytes - FOOTER_FRAME_BYTES
  }
  if ((closed.find((facts) => facts.base === base)?.generation ?? 0) > 0) {
    throw new LogError('ERR_SEALOG_UNSUPPORTED', `${segment.path} was rewritten; point-in-time cannot end inside it, use policy salvage`, {
      file: segment.path,
    })
  }
  const names = ((yield* io.list(path.join(directory, SEGMENTS_DIRECTORY))) ?? []).map(parseSegmentFile).filter((name) => name !== undefined)
  for (const name of names.filter((other) => other.base >= base)) {
    const other = new Segment(directory, name.base, name.generation, 0, 0, true)
    other.fd = yield* io.open(other.path, constants.O_RDONLY)
    yield* saveBytes(directory, other, name.base === base ? from : 0, environment.kernels)
    yield* other.release()
  }
  yield* segment.release()
  const oldEnd = Math.max(end, closed.at(-1)?.end ?? 0, yield* lastOffset(parts, Math.max(...names.map((name) => name.base))))
  yield* manifest.append({ type: 'intent', intent: { kind: 'truncateAfter', base, position: from, end, epoch: manifest.state.epoch + 1, commit: '' } })
  const intent = manifest.state.intent
  if (intent !== undefined) yield* applyTruncation(parts, intent)
  actions.push(`cut the log at offset ${end}; what was cut was saved as .torn files in ${directory}`)
  lost.push({ from: end, to: oldEnd })
}

/** Offset behind the last group that verifies in the segment at `base`. */
function* lastOffset(parts: LogParts, base: number): Procedure<number> {
  const segment = new Segment(parts.directory, base, 0, base, 0, false)
  const survey = yield* surveySegment(segment, parts.environment.kernels, parts.manifest.logId, INTERVAL)
  yield* segment.release()
  return survey.state?.[k.STATE_NEXT_OFFSET] ?? base
}

/** Rule 15: from the headers and footers of the segments. What only MANIFEST knew is named in the actions. */
function* rebuildManifest(directory: string, environment: Environment, archives: string, actions: string[]): Procedure<Manifest> {
  const { kernels } = environment
  const names = ((yield* io.list(path.join(directory, SEGMENTS_DIRECTORY))) ?? []).map(parseSegmentFile).filter((name) => name !== undefined)
  const newest = new Map<number, number>()
  for (const name of names) newest.set(name.base, Math.max(newest.get(name.base) ?? 0, name.generation))
  const archived = yield* findArchives(directory, archives, newest, environment, actions)
  const bases = [...newest.keys(), ...archived.keys()].sort((a, b) => a - b)
  if (bases.length === 0) throw new LogError('ERR_SEALOG_NOT_FOUND', `there is no segment in ${directory}`, { file: directory })
  const closed: ClosedSegment[] = []
  const history: ClosedSegment[] = []
  let start = bases[0]
  let settings: LogSettings | undefined
  let logId: Uint8Array | undefined
  let createdAt = Date.now()
  let epoch = 1
  let end = 0
  let prefix = true
  for (const base of bases) {
    // Archives that do not lead up to what follows were kept in front of the log.
    const before = closed.at(-1)
    if (before !== undefined && before.end < base && closed.every(({ local }) => local === false)) {
      history.push(...closed.splice(0))
      start = base
    }
    const archive = archived.get(base)
    const segment = new Segment(directory, base, newest.get(base) ?? 0, base, 0, false)
    const header = archive?.header ?? (yield* readAnyHeader(segment, kernels))
    if (header === undefined) {
      prefix = false
      continue
    }
    logId ??= header.logId
    createdAt = Math.min(createdAt, header.createdAt)
    epoch = Math.max(epoch, header.epoch)
    settings = {
      codec: header.codec,
      maxRecordBytes: header.maxRecordBytes,
      maxBatchBytes: Math.max(16 * 1024 * 1024, header.maxRecordBytes),
      chunkBytes: header.chunkBytes,
      form: header.form,
    }
    if (archive !== undefined) {
      if (prefix) closed.push(archive.facts)
      continue
    }
    const survey = yield* surveySegment(segment, kernels, header.logId, INTERVAL)
    const state = survey.state
    end = Math.max(end, state?.[k.STATE_NEXT_OFFSET] ?? 0)
    const position = state?.[k.STATE_POSITION] ?? 0
    if (prefix && state !== undefined && survey.complete && survey.damaged.length === 0 && survey.size === position + FOOTER_FRAME_BYTES) {
      const bytes = new Uint8Array(FOOTER_FRAME_BYTES)
      yield* io.read(segment.fd, position, bytes, segment.path)
      const footer = decodeFooter(bytes, segment.seed, kernels.crc32c)
      closed.push({
        base,
        generation: segment.generation,
        end: footer?.nextOffset ?? state[k.STATE_NEXT_OFFSET],
        bytes: survey.size,
        linkChain: footer?.linkChain ?? state[k.STATE_CHAIN],
        firstChunkSequence: header.firstChunkSequence,
        chunks: footer?.chunks ?? 0,
        runningTime: state[k.STATE_RUNNING_TIME],
        closedAt: footer?.closedAt ?? 0,
      })
    } else {
      prefix = false
    }
    yield* segment.release()
  }
  if (settings === undefined || logId === undefined)
    throw new LogError('ERR_SEALOG_MANIFEST', `no segment of ${directory} has a readable header`, { file: directory, position: 0 })
  // How far the newest version reached by which segments were compacted is not known any more; it did not reach further than the log.
  const compactedThrough = closed.some((segment) => segment.generation > 0) ? Math.max(0, end - 1) : undefined
  const state: ManifestState = { settings, epoch: epoch + 1, startOffset: start, closed, intent: undefined, lost: [], compactedThrough, history }
  const manifest = yield* Manifest.create(directory, kernels, logId, createdAt, state)
  actions.push(
    `rebuilt MANIFEST from ${newest.size} segments and ${archived.size} archives: the start is ${history.length === 0 ? 'the oldest offset found' : `behind ${history.length} archives that do not lead up to it and are history`} (${start}), maxBatchBytes is the default, the epoch was raised to ${epoch + 1}; ranges given up by earlier repairs are unknown`,
  )
  return manifest
}

function* readAnyHeader(segment: Segment, kernels: k.Kernels): Procedure<SegmentHeader | undefined> {
  const bytes = yield* io.readFile(segment.path, constants.O_RDONLY, SEGMENT_HEADER_BYTES)
  const header = bytes === undefined ? 'short' : decodeSegmentHeader(bytes, kernels.crc32c)
  if (header === 'newer')
    throw new LogError('ERR_SEALOG_FORMAT_NEWER', `${segment.path} was written by a newer version of sealog`, { file: segment.path, position: 0 })
  return typeof header === 'string' ? undefined : header
}
