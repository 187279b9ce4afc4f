import { constants } from 'node:fs'
import { LogError } from '../errors.js'
import type { EndSlot } from '../format/committed-file.js'
import { COMMIT_FRAME_BYTES, FOOTER_FRAME_BYTES } from '../format/constants.js'
import { decodeFooter, encodeCommit, type Footer } from '../format/frames.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { OffsetIndex } from './offset-index.js'
import type { Segment } from './segment.js'
import { type FoundGroup, findGroup, startState, walk } from './walk.js'

/** What recovery works with. It reads; `cutTail` and `makeDurable` are the only parts that write. */
export interface RecoveryContext {
  readonly directory: string
  readonly kernels: k.Kernels
  readonly logId: Uint8Array
  readonly intervalBytes: number
  /** COMMITTED's durable slot, if it is of MANIFEST's epoch: records below were acknowledged as durable. */
  readonly durable: EndSlot | undefined
  /** Drop clean pages before reading: after a failed sync the page cache may hold bytes that the disk does not. */
  readonly evict: boolean
}

/** The tail of a log: every segment that MANIFEST does not call closed, as far as it is good. */
export interface Tail {
  /** In order; each with its index and `end` set. The last may be empty of records. */
  readonly parts: readonly TailPart[]
  readonly damage: Damage | undefined
  /** Segments behind the damage. */
  readonly cut: readonly Segment[]
  /** The largest offset below which all is proven durable. */
  readonly provenSynced: number
}

export interface TailPart {
  readonly segment: Segment
  /** State vector behind the last good group. */
  readonly state: Float64Array
  /** Present when the segment is complete. */
  readonly footer: Footer | undefined
  /** The last frame is a mark whose syncedOffset is the end. */
  readonly marked: boolean
  /** Marks that were damaged and may be written anew. */
  readonly damagedMarks: readonly { readonly position: number; readonly bytes: Uint8Array }[]
}

export interface Damage {
  readonly segment: Segment
  /** The first position that is not good. */
  readonly position: number
  /** End offset of the last good commit. */
  readonly end: number
  readonly why: string
  /** Why this cannot be a torn write; undefined: it is one. */
  readonly rot: string | undefined
  /** First offset known good again behind the damage. */
  readonly goodAgain: number | undefined
  /** Complete groups lie in what is to be cut: readers may have seen them. */
  readonly cutsGroups: boolean
}

const STOP_WORDS: Readonly<Record<number, string>> = {
  [k.STOP_CHECKSUM]: 'checksum',
  [k.STOP_FRAMING]: 'framing',
  [k.STOP_ORDER]: 'order of frames',
  [k.STOP_ZERO]: 'zeros',
  [k.STOP_END]: 'incomplete group',
  [k.STOP_FOOTER]: 'footer',
}

export function stopWord(stop: number): string {
  return STOP_WORDS[stop] ?? 'unknown'
}

/**
 * Follows the tail (format.md rules 4 to 6). `segments`: the unclosed ones in order; `flags`: how to open them.
 * `link`: what the first header's prevChain and base must be, when that is known. After an error none of them is open.
 */
export function* readTail(
  context: RecoveryContext,
  segments: readonly Segment[],
  flags: number,
  link: { chain: number; end: number } | undefined,
): Procedure<Tail> {
  try {
    return yield* followTail(context, segments, flags, link)
  } catch (error) {
    for (const segment of segments) yield* segment.release()
    throw error
  }
}

function* followTail(context: RecoveryContext, segments: readonly Segment[], flags: number, link: { chain: number; end: number } | undefined): Procedure<Tail> {
  const parts: TailPart[] = []
  let expected = link
  let proven = 0
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i]
    const previous = parts.at(-1)
    yield* openPart(context, segment, flags)
    if (segment.header === undefined) throw new Error('the segment is not open')
    proven = Math.max(proven, segment.header.syncedOffset)
    if (expected !== undefined && (segment.base !== expected.end || segment.header.prevChain !== expected.chain)) {
      if (previous === undefined) throw corrupt(segment, 0, expected.end, `it does not follow the closed segment that ends at ${expected.end}`, undefined)
      const damage = yield* judge(context, previous.segment, previous.state, segments.slice(i), k.STOP_END, previous.state[k.STATE_POSITION])
      parts[parts.length - 1] = { ...previous, footer: undefined }
      return { parts, damage, cut: segments.slice(i), provenSynced: proven }
    }
    const { part, damage, maxSynced } = yield* followSegment(context, segment, segments.slice(i + 1))
    parts.push(part)
    proven = Math.max(proven, maxSynced)
    if (damage !== undefined) return { parts, damage, cut: segments.slice(i + 1), provenSynced: proven }
    expected = { end: part.state[k.STATE_NEXT_OFFSET], chain: part.footer === undefined ? part.state[k.STATE_CHAIN] : part.footer.linkChain }
  }
  const end = expected?.end ?? 0
  if (context.durable !== undefined && context.durable.end > end) {
    const last = parts.at(-1)
    if (last === undefined) {
      throw new LogError(
        'ERR_SEALOG_CORRUPT',
        `${context.directory}: the segment of offset ${end} is missing; COMMITTED proves that records below ${context.durable.end} were durable`,
        { file: context.directory, position: 0, offset: end },
      )
    }
    const damage = yield* judge(context, last.segment, last.state, [], k.STOP_END, last.state[k.STATE_POSITION])
    return { parts, damage, cut: [], provenSynced: proven }
  }
  return { parts, damage: undefined, cut: [], provenSynced: proven }
}

function* openPart(context: RecoveryContext, segment: Segment, flags: number): Procedure<void> {
  try {
    yield* segment.open(context.kernels, context.logId, flags)
    if (context.evict) yield* io.evict(segment.fd)
  } catch (error) {
    if (error instanceof LogError && error.code === 'ERR_SEALOG_CHECKSUM')
      throw corrupt(segment, 0, segment.base, 'its header is damaged; a header is durable before its file has a name', undefined)
    throw error
  }
}

/** Walks one segment of the tail to its footer, its end, or damage. */
function* followSegment(
  context: RecoveryContext,
  segment: Segment,
  later: readonly Segment[],
): Procedure<{ part: TailPart; damage: Damage | undefined; maxSynced: number }> {
  if (segment.header === undefined) throw new Error('the segment is not open')
  const { size } = yield* io.stat(segment.fd, segment.path)
  const state = startState(segment.header, segment.fd, context.intervalBytes)
  state[k.STATE_ALLOCATED] = size
  const index = new OffsetIndex(segment.base)
  const damagedMarks: Array<{ position: number; bytes: Uint8Array }> = []
  let maxSynced = 0
  let lastSynced = -1
  for (;;) {
    const result = yield* walk(segment, state, size, context.intervalBytes)
    for (let i = 0; i < result.entries.length; i += k.ENTRY_WIDTH) {
      index.add(result.entries[i], result.entries[i + 1], result.entries[i + 2], result.entries[i + 3])
    }
    maxSynced = Math.max(maxSynced, result.maxSynced)
    if (result.lastSynced >= 0) lastSynced = result.lastSynced
    segment.end = state[k.STATE_NEXT_OFFSET]
    segment.endPosition = state[k.STATE_POSITION]
    segment.index = index
    const marked = state[k.STATE_MARKED] === 1 && lastSynced === segment.end
    const part = (footer: Footer | undefined): TailPart => ({ segment, state, footer, marked, damagedMarks })
    if (result.stop === k.STOP_NEWER) throw newer(segment, result.stopPosition, result.newerType)
    if (result.stop === k.STOP_FOOTER && result.stopPosition === state[k.STATE_POSITION]) {
      const footer = yield* readFooter(context, segment, state, size)
      if (footer !== undefined) return { part: part(footer), damage: undefined, maxSynced }
    }
    if ((result.stop === k.STOP_END || result.stop === k.STOP_ZERO) && result.stopPosition === state[k.STATE_POSITION]) {
      const zeroUntil = yield* io.firstNonZero(segment.fd, state[k.STATE_POSITION], size, segment.path)
      if (zeroUntil >= size) return { part: part(undefined), damage: undefined, maxSynced }
    }
    const mark = yield* skipDamagedMark(context, segment, state, size, lastSynced)
    if (mark !== undefined) {
      damagedMarks.push(mark)
      continue
    }
    const damage = yield* judge(context, segment, state, later, result.stop, result.stopPosition)
    return { part: part(undefined), damage, maxSynced }
  }
}

/** The footer at the state's position, if it tells of just this segment and nothing but zeros follows. */
function* readFooter(context: RecoveryContext, segment: Segment, state: Float64Array, size: number): Procedure<Footer | undefined> {
  const position = state[k.STATE_POSITION]
  const bytes = new Uint8Array(FOOTER_FRAME_BYTES)
  const length = yield* io.read(segment.fd, position, bytes, segment.path)
  const footer = decodeFooter(bytes.subarray(0, length), segment.seed, context.kernels.crc32c)
  if (
    footer === undefined ||
    footer.nextOffset !== state[k.STATE_NEXT_OFFSET] ||
    footer.contentChain !== state[k.STATE_CHAIN] ||
    footer.fileBytes !== position + FOOTER_FRAME_BYTES
  )
    return undefined
  const zeroUntil = yield* io.firstNonZero(segment.fd, footer.fileBytes, size, segment.path)
  return zeroUntil >= size ? footer : undefined
}

/** Nothing is lost when only marks are damaged: the next group links up with the last good one (rule 4). The state moves behind the marks. */
function* skipDamagedMark(
  context: RecoveryContext,
  segment: Segment,
  state: Float64Array,
  size: number,
  lastSynced: number,
): Procedure<{ position: number; bytes: Uint8Array } | undefined> {
  const position = state[k.STATE_POSITION]
  const next = yield* findGroup(segment, position + COMMIT_FRAME_BYTES, Math.min(size, position + COMMIT_FRAME_BYTES + 64 * 1024 * 1024))
  if (next === undefined || next.start !== position + COMMIT_FRAME_BYTES) return undefined
  if (next.firstOffset !== state[k.STATE_NEXT_OFFSET] || next.prevChain !== state[k.STATE_CHAIN]) return undefined
  const end = state[k.STATE_NEXT_OFFSET]
  const chain = state[k.STATE_CHAIN]
  const bytes = encodeCommit(
    {
      groupStart: position,
      syncedOffset: Math.max(0, lastSynced),
      recordCount: 0,
      epoch: state[k.STATE_EPOCH],
      prevChain: chain,
      chain,
      nextOffset: end,
      timestamp: Math.max(0, state[k.STATE_RUNNING_TIME]),
    },
    segment.seed,
    context.kernels.crc32c,
  )
  state[k.STATE_POSITION] = position + COMMIT_FRAME_BYTES
  return { position, bytes }
}

/** Torn or rot (rule 6): is there any proof that records at or above the end of the good part were durable? */
function* judge(
  context: RecoveryContext,
  segment: Segment,
  state: Float64Array,
  later: readonly Segment[],
  stop: number,
  stopPosition: number,
): Procedure<Damage> {
  const end = state[k.STATE_NEXT_OFFSET]
  const position = state[k.STATE_POSITION]
  let rot: string | undefined
  let goodAgain: number | undefined
  let cutsGroups = false
  const consider = (group: FoundGroup, where: Segment) => {
    if (group.records > 0) cutsGroups = true
    if (goodAgain === undefined && group.firstOffset >= end) goodAgain = group.firstOffset
    if (group.syncedOffset > end && rot === undefined)
      rot = `the group at position ${group.start} of ${where.path} proves that records below ${group.syncedOffset} were durable`
  }
  const { size } = yield* io.stat(segment.fd, segment.path)
  for (let from = position; rot === undefined; ) {
    const group = yield* findGroup(segment, from, size)
    if (group === undefined) break
    consider(group, segment)
    from = group.commitPosition + COMMIT_FRAME_BYTES
  }
  for (const next of later) {
    if (rot !== undefined) break
    yield* openPart(context, next, constants.O_RDONLY)
    const header = next.header
    if (header === undefined) continue
    if (header.syncedOffset > end) rot = `the header of ${next.path} proves that records below ${header.syncedOffset} were durable`
    const facts = yield* io.stat(next.fd, next.path)
    for (let from = 0; rot === undefined; ) {
      const group = yield* findGroup(next, from, facts.size)
      if (group === undefined) break
      consider(group, next)
      from = group.commitPosition + COMMIT_FRAME_BYTES
    }
  }
  if (rot === undefined && context.durable !== undefined && context.durable.end > end)
    rot = `COMMITTED proves that records below ${context.durable.end} were durable`
  return { segment, position, end, why: `${stopWord(stop)} at position ${stopPosition}`, rot, goodAgain, cutsGroups }
}

export function corrupt(segment: Segment, position: number, offset: number, why: string, endOffset: number | undefined): LogError {
  const range = endOffset === undefined ? `records from offset ${offset} on are damaged` : `offsets ${offset} to ${endOffset - 1} are damaged`
  return new LogError('ERR_SEALOG_CORRUPT', `${segment.path}, position ${position}: ${range}: ${why}`, { file: segment.path, position, offset, endOffset })
}

export function damageError(damage: Damage): LogError {
  return corrupt(
    damage.segment,
    damage.position,
    damage.end,
    damage.rot === undefined ? `${damage.why}; a torn write` : `${damage.why}; ${damage.rot}`,
    damage.goodAgain,
  )
}

function newer(segment: Segment, position: number, type: number): LogError {
  return new LogError(
    'ERR_SEALOG_FORMAT_NEWER',
    `${segment.path}, position ${position}: a frame of type ${type & 255}, flags ${type >>> 8} was written by a newer version of sealog`,
    {
      file: segment.path,
      position,
    },
  )
}
