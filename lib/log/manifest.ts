import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import { decodeManifest, encodeManifestHeader, encodeManifestRecord } from '../format/manifest-file.js'
import { MANIFEST_FILE } from '../format/names.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { LogSettings } from '../options.js'

const MANIFEST_BYTES_LIMIT = 2 ** 30
const REWRITE_BYTES = 64 * 1024

/** A segment that has its footer, is truncated to size and synced. */
export interface ClosedSegment {
  readonly base: number
  readonly generation: number
  /** Offset behind it. */
  readonly end: number
  /** File size; the footer is the last 88 bytes. */
  readonly bytes: number
  /** What the next header's prevChain must be. */
  readonly linkChain: number
  readonly firstChunkSequence: number
  readonly chunks: number
  /** Running maximum of all timestamps up to its end, −1: none. */
  readonly runningTime: number
  /** ms; retention by age counts from here. */
  readonly closedAt: number
  /** A verified copy; undefined: not archived. */
  readonly archive?: ArchiveFacts
  /** `false`: the segment file was given up, the archive is what there is. Only with `archive`. */
  readonly local?: false
  /** Why it was set aside: it is damaged, is not archived, and nothing but force deletes it. */
  readonly quarantined?: string
}

/** An archive of a segment that was read back and found equal. */
export interface ArchiveFacts {
  /** Name in the archive directory. */
  readonly file: string
  readonly bytes: number
  /** CRC-32C of the whole file. */
  readonly crc: number
  /** Id of the dictionary that it needs, 0: none. */
  readonly dictionary: number
  readonly archivedAt: number
}

/** Cut everything behind `end`: planned durably, then done, then cleared. All numbers are those of the segment that becomes the last. */
export interface TruncateIntent {
  readonly kind: 'truncateAfter'
  readonly base: number
  /** Where the file ends after the cut, before the new commit frame. */
  readonly position: number
  readonly end: number
  /** New epoch, valid from here on. */
  readonly epoch: number
  /** Commit frame of a shortened group (hex); '' when the cut lies on a group boundary. */
  readonly commit: string
}

export interface OffsetRange {
  readonly from: number
  readonly to: number
}

type ManifestRecord =
  | { readonly type: 'settings'; readonly settings: LogSettings }
  | { readonly type: 'closed'; readonly segment: ClosedSegment }
  /** `kept`: bases among `removed` whose archives stay as history in front of the log. */
  | { readonly type: 'start'; readonly offset: number; readonly removed: readonly number[]; readonly kept?: readonly number[] }
  | { readonly type: 'epoch'; readonly epoch: number }
  | { readonly type: 'intent'; readonly intent: TruncateIntent }
  | { readonly type: 'truncated'; readonly base: number; readonly epoch: number }
  | { readonly type: 'swapped'; readonly segment: ClosedSegment; readonly lost: readonly OffsetRange[] }
  /** New generations of closed segments take the place of the old ones; versions below `through` may be gone. */
  | { readonly type: 'compacted'; readonly segments: readonly ClosedSegment[]; readonly through: number }
  | { readonly type: 'archived'; readonly base: number; readonly archive: ArchiveFacts }
  /** The segment files of archived segments are given up. */
  | { readonly type: 'released'; readonly bases: readonly number[] }
  /** The segment file is back. */
  | { readonly type: 'restored'; readonly base: number }
  /** '': it is not set aside any more. */
  | { readonly type: 'quarantined'; readonly base: number; readonly why: string }
  /** Archives in front of the log, by base, are not kept any more. */
  | { readonly type: 'historyRemoved'; readonly bases: readonly number[] }
  | { readonly type: 'snapshot'; readonly state: ManifestState }

export interface ManifestState {
  readonly settings: LogSettings
  readonly epoch: number
  readonly startOffset: number
  readonly closed: readonly ClosedSegment[]
  readonly intent: TruncateIntent | undefined
  readonly lost: readonly OffsetRange[]
  /** Older versions of keys may be gone below this offset; undefined: nothing was compacted. */
  readonly compactedThrough?: number | undefined
  /** Segments in front of `startOffset` whose archives were kept; undefined: none. */
  readonly history?: readonly ClosedSegment[]
}

/**
 * MANIFEST: an append-only file of CRC'd JSON records, synced per change, rewritten when it has doubled. What it says is truth about everything that
 * is not in a segment. `state` is replaced, never changed in place.
 */
export class Manifest {
  readonly #kernels: Kernels
  readonly #directory: string
  readonly logId: Uint8Array
  readonly createdAt: number
  #seed: number
  #end: number
  #liveBytes: number
  state: ManifestState

  private constructor(kernels: Kernels, directory: string, logId: Uint8Array, createdAt: number, seed: number, end: number, state: ManifestState) {
    this.#kernels = kernels
    this.#directory = directory
    this.logId = logId
    this.createdAt = createdAt
    this.#seed = seed
    this.#end = end
    this.#liveBytes = end
    this.state = state
  }

  get #path(): string {
    return path.join(this.#directory, MANIFEST_FILE)
  }

  /** undefined when there is no MANIFEST. A torn last record is left out; the next append overwrites it. */
  static *load(directory: string, kernels: Kernels): Procedure<Manifest | undefined> {
    const file = path.join(directory, MANIFEST_FILE)
    const bytes = yield* io.readFile(file, constants.O_RDONLY, MANIFEST_BYTES_LIMIT)
    if (bytes === undefined) return undefined
    const content = decodeManifest(bytes, kernels.crc32c)
    if (content.kind === 'newer') throw new LogError('ERR_SEALOG_FORMAT_NEWER', `${file} was written by a newer version of sealog`, { file, position: 0 })
    if (content.kind === 'damaged') throw damaged(file, content.position, content.why)
    const state = replay(content.records as ManifestRecord[], file)
    const manifest = new Manifest(kernels, directory, content.logId, content.createdAt, content.seed, content.end, state)
    manifest.#torn = content.torn
    return manifest
  }

  /** The next append must not be written where the last record ends. */
  #torn = false
  #unsure = false

  static *create(directory: string, kernels: Kernels, logId: Uint8Array, createdAt: number, state: ManifestState): Procedure<Manifest> {
    const manifest = new Manifest(kernels, directory, logId, createdAt, 0, 0, state)
    yield* manifest.rewrite()
    return manifest
  }

  /**
   * A session that did not end cleanly may have left records that are in the page cache only, or in clean pages that the disk never got: they are written
   * once more in place and synced, and so is the name, before anything is built on them.
   */
  *makeDurable(): Procedure<void> {
    const fd = yield* io.open(this.#path, constants.O_RDWR)
    try {
      const bytes = new Uint8Array(this.#end)
      const length = yield* io.read(fd, 0, bytes, this.#path)
      yield* io.write(fd, 0, bytes.subarray(0, length), this.#path)
      yield* io.sync(fd, this.#path)
    } finally {
      yield* io.close(fd)
    }
    yield* io.syncDirectory(this.#directory)
  }

  /** Whether the file may hold the record whose append failed: then the log must be poisoned. */
  get unsure(): boolean {
    return this.#unsure
  }

  /** Appends one record and syncs it; then `state` shows it. After a failure `state` is what it was; see `unsure` for the file. */
  *append(record: ManifestRecord): Procedure<void> {
    this.#unsure = false
    const next = apply(this.state, record, this.#path)
    const bytes = encodeManifestRecord(record, this.#seed, this.#kernels.crc32c)
    if (this.#torn || this.#end + bytes.length > Math.max(REWRITE_BYTES, 2 * this.#liveBytes)) {
      const before = this.state
      this.state = next
      try {
        yield* this.rewrite()
      } catch (error) {
        this.state = before
        throw error
      }
      return
    }
    const fd = yield* io.open(this.#path, constants.O_RDWR)
    try {
      yield* io.write(fd, this.#end, bytes, this.#path)
      yield* io.datasync(fd, this.#path)
    } catch (error) {
      // What of the record is there is unknown; whatever comes next must not be written over its remains.
      this.#torn = this.#unsure = true
      if (error instanceof LogError && error.code === 'ERR_SEALOG_NO_SPACE') yield* this.#takeBack(fd)
      throw error
    } finally {
      yield* io.close(fd)
    }
    this.#end += bytes.length
    this.state = next
  }

  /** Cuts off what a full disk left of a record. */
  *#takeBack(fd: number): Procedure<void> {
    try {
      yield* io.truncate(fd, this.#end, this.#path)
      yield* io.sync(fd, this.#path)
      this.#torn = this.#unsure = false
    } catch {
      // What made the append fail is reported, and the remains stay what they were.
    }
  }

  /** Replaces the file by its state: tmp, sync, rename, directory sync. */
  *rewrite(): Procedure<void> {
    const header = encodeManifestHeader(this.logId, this.createdAt, this.#kernels.crc32c)
    const record = encodeManifestRecord({ type: 'snapshot', state: this.state } satisfies ManifestRecord, header.seed, this.#kernels.crc32c)
    const temporary = `${this.#path}.tmp`
    const fd = yield* io.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)
    try {
      yield* io.write(fd, 0, Buffer.concat([header.bytes, record]), temporary)
      yield* io.sync(fd, temporary)
    } finally {
      yield* io.close(fd)
    }
    // From here to the end the name may stand for either file.
    this.#torn = this.#unsure = true
    yield* io.rename(temporary, this.#path)
    yield* io.syncDirectory(this.#directory)
    this.#seed = header.seed
    this.#end = header.bytes.length + record.length
    this.#liveBytes = this.#end
    this.#torn = this.#unsure = false
  }
}

function replay(records: readonly ManifestRecord[], file: string): ManifestState {
  let state: ManifestState | undefined
  // Runs of closed segments are taken in at once: a long log has as many of them as segments.
  let closed: ClosedSegment[] = []
  const settle = (before: ManifestState): ManifestState => {
    if (closed.length === 0) return before
    const settled = { ...before, closed: withClosed(before.closed, closed) }
    closed = []
    return settled
  }
  for (const record of records) {
    if (record.type === 'snapshot') state = record.state
    else if (state === undefined) throw damaged(file, 0, 'the first record is missing')
    else if (record.type === 'closed') closed.push(record.segment)
    else state = apply(settle(state), record, file)
  }
  if (state === undefined) throw damaged(file, 0, 'it holds no record')
  return settle(state)
}

function withClosed(before: readonly ClosedSegment[], added: readonly ClosedSegment[]): readonly ClosedSegment[] {
  const last = before.at(-1)?.base ?? -1
  if (added.length === 1 && added[0].base > last) return [...before, added[0]]
  const byBase = new Map([...before, ...added].map((segment) => [segment.base, segment]))
  return [...byBase.values()].sort((a, b) => a.base - b.base)
}

function apply(state: ManifestState, record: ManifestRecord, file: string): ManifestState {
  switch (record.type) {
    case 'snapshot':
      return record.state
    case 'settings':
      return { ...state, settings: record.settings }
    case 'closed':
      return { ...state, closed: withClosed(state.closed, [record.segment]) }
    case 'start':
      return withStart(state, record.offset, new Set(record.removed), new Set(record.kept))
    case 'epoch':
      return { ...state, epoch: record.epoch }
    case 'intent':
      return { ...state, intent: record.intent }
    case 'truncated':
      return {
        ...state,
        intent: undefined,
        epoch: record.epoch,
        closed: state.closed.filter((segment) => segment.base < record.base),
        lost: state.lost.filter((range) => range.to <= record.base),
      }
    case 'swapped':
      return {
        ...state,
        closed: state.closed.map((segment) => (segment.base === record.segment.base ? record.segment : segment)),
        lost: [...state.lost, ...record.lost],
      }
    case 'compacted': {
      const byBase = new Map(record.segments.map((segment) => [segment.base, segment]))
      const closed = state.closed.map((segment) => byBase.get(segment.base) ?? segment)
      return { ...state, closed, compactedThrough: Math.max(state.compactedThrough ?? 0, record.through) }
    }
    case 'archived':
      return changed(state, [record.base], (segment) => ({ ...segment, archive: record.archive }))
    case 'released':
      return changed(state, record.bases, (segment) => ({ ...segment, local: false }))
    case 'restored':
      return changed(state, [record.base], ({ local: _, ...segment }) => segment)
    case 'quarantined':
      return changed(state, [record.base], ({ quarantined: _, ...segment }) => (record.why === '' ? segment : { ...segment, quarantined: record.why }))
    case 'historyRemoved':
      return { ...state, history: state.history?.filter((segment) => !record.bases.includes(segment.base)) }
    default:
      throw new LogError('ERR_SEALOG_FORMAT_NEWER', `${file} holds a record of an unknown type`, { file })
  }
}

function changed(state: ManifestState, bases: readonly number[], change: (segment: ClosedSegment) => ClosedSegment): ManifestState {
  const wanted = new Set(bases)
  return { ...state, closed: state.closed.map((segment) => (wanted.has(segment.base) ? change(segment) : segment)) }
}

function withStart(state: ManifestState, offset: number, removed: ReadonlySet<number>, kept: ReadonlySet<number>): ManifestState {
  const next = { ...state, startOffset: offset, closed: state.closed.filter((segment) => !removed.has(segment.base)) }
  const history = state.closed.filter((segment) => kept.has(segment.base)).map((segment) => ({ ...segment, local: false as const }))
  return history.length === 0 ? next : { ...next, history: [...(state.history ?? []), ...history] }
}

function damaged(file: string, position: number, why: string): LogError {
  return new LogError('ERR_SEALOG_MANIFEST', `${file} is damaged at position ${position} (${why})`, { file, position })
}
