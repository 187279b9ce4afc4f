import type { RetentionLimits, RetentionMode } from '../options.js'
import type { SlowestConsumer } from './consumer-files.js'
import type { ClosedSegment, ManifestState } from './manifest.js'

/** What kept a segment beyond the limits; the first of them. */
export interface RetentionHold {
  /** `consumer`: not acknowledged. `damaged-consumer`: nobody knows what it has acknowledged. `not-archived`, `quarantined`: the segment is. */
  readonly reason: 'consumer' | 'damaged-consumer' | 'not-archived' | 'quarantined'
  /** First offset that is kept for it. */
  readonly offset: number
  /** Name of the consumer. */
  readonly consumer: string | undefined
}

/** One step of the life of the log, decided from facts alone. */
export interface RetentionPlan {
  readonly startOffset: number
  /** Leave the log. */
  readonly removed: readonly ClosedSegment[]
  /** Of `removed`: their archives stay as history. */
  readonly kept: readonly ClosedSegment[]
  /** Stay in the log, their files go. */
  readonly released: readonly ClosedSegment[]
  /** Leave the history. */
  readonly historyRemoved: readonly ClosedSegment[]
  readonly heldBy: RetentionHold | undefined
}

export interface RetentionFacts {
  readonly state: Pick<ManifestState, 'closed' | 'history' | 'startOffset'>
  /** The last segment of the log, which always stays: it holds the end of the chain. */
  readonly lastBase: number
  readonly committedOffset: number
  /** Bytes of segment files that are not closed. */
  readonly openBytes: number
  readonly slowest: SlowestConsumer | undefined
  readonly now: number
}

export function planRetention(limits: RetentionLimits, mode: RetentionMode, force: boolean, facts: RetentionFacts): RetentionPlan {
  const { state } = facts
  const history = mode === 'delete' ? (state.history ?? []) : []
  const candidates = [...history, ...state.closed.filter((segment) => segment.base !== facts.lastBase)]
  const beyond = candidates.slice(0, countBeyond(candidates, limits, mode, facts))
  const historyRemoved = beyond.slice(0, history.length)
  const { passable, heldBy } = untilHeld(beyond.slice(history.length), mode, force, facts.slowest)
  const unarchived = passable.find((segment) => segment.archive === undefined && segment.quarantined === undefined)
  const hold = mode === 'delete' || unarchived === undefined ? heldBy : firstOf(holdOf('not-archived', unarchived.base), heldBy)
  const startOffset = Math.max(state.startOffset, passable.at(-1)?.end ?? 0)
  const archived = passable.filter((segment) => segment.archive !== undefined && segment.local !== false)
  if (mode === 'archive') return { startOffset: state.startOffset, removed: [], kept: [], released: archived, historyRemoved, heldBy: hold }
  if (mode === 'delete') return { startOffset, removed: passable, kept: [], released: [], historyRemoved, heldBy: hold }
  // Segments leave MANIFEST in one run from the oldest on. Those behind one that is not archived yet wait for it there, without their files.
  const run = unarchived === undefined ? passable.length : passable.indexOf(unarchived)
  const removed = passable.slice(0, run)
  const released = archived.filter((segment) => segment.end > (removed.at(-1)?.end ?? 0))
  return { startOffset, removed, kept: removed.filter((segment) => segment.archive !== undefined), released, historyRemoved, heldBy: hold }
}

function countBeyond(candidates: readonly ClosedSegment[], limits: RetentionLimits, mode: RetentionMode, facts: RetentionFacts): number {
  const { maxBytes, maxAgeMs, maxRecords, before = 0 } = limits
  const { closed, startOffset } = facts.state
  const bytesOf = (segment: ClosedSegment) => (segment.local === false ? 0 : segment.bytes) + (mode === 'delete' ? (segment.archive?.bytes ?? 0) : 0)
  const inLog = new Set(closed)
  const last = closed.find((segment) => segment.base === facts.lastBase)
  let bytes = candidates.reduce((sum, segment) => sum + bytesOf(segment), facts.openBytes + (last === undefined ? 0 : bytesOf(last)))
  let count = 0
  for (const segment of candidates) {
    const first = segment.end > startOffset ? Math.max(segment.base, startOffset) : segment.base
    const beyond =
      segment.end <= before ||
      // Left below the start until it was archived.
      (inLog.has(segment) && segment.end <= startOffset) ||
      (maxAgeMs !== undefined && facts.now - segment.closedAt > maxAgeMs) ||
      (maxRecords !== undefined && facts.committedOffset - first > maxRecords) ||
      (maxBytes !== undefined && bytes > maxBytes)
    if (!beyond) break
    bytes -= bytesOf(segment)
    count++
  }
  return count
}

/** The segments up to the first that must stay. */
function untilHeld(
  beyond: readonly ClosedSegment[],
  mode: RetentionMode,
  force: boolean,
  slowest: SlowestConsumer | undefined,
): { readonly passable: readonly ClosedSegment[]; readonly heldBy: RetentionHold | undefined } {
  let heldBy: RetentionHold | undefined
  const passable: ClosedSegment[] = []
  for (const segment of beyond) {
    if (slowest !== undefined && segment.end > slowest.offset) {
      const reason = slowest.error === undefined ? 'consumer' : 'damaged-consumer'
      return { passable, heldBy: heldBy ?? holdOf(reason, Math.max(segment.base, slowest.offset), slowest.name) }
    }
    if (segment.quarantined !== undefined && (!force || mode === 'archive')) {
      heldBy ??= holdOf('quarantined', segment.base)
      // Without its file nothing of it is left; those behind may go all the same as long as the start stays.
      if (mode === 'archive') continue
      return { passable, heldBy }
    }
    passable.push(segment)
  }
  return { passable, heldBy }
}

function firstOf(one: RetentionHold, other: RetentionHold | undefined): RetentionHold {
  return other === undefined || one.offset <= other.offset ? one : other
}

function holdOf(reason: RetentionHold['reason'], offset: number, consumer?: string): RetentionHold {
  return { reason, offset, consumer }
}
