/** What retention decides, from facts alone, against a model that tries every number of segments. */
import { describe, expect, it } from 'vitest'
import type { ClosedSegment } from '../../lib/log/manifest.js'
import { planRetention, type RetentionFacts } from '../../lib/log/retention-plan.js'
import type { RetentionLimits, RetentionMode } from '../../lib/options.js'
import { range } from '../support/logs.js'
import { Random } from '../support/random.js'

const ROUNDS = process.env.SEALOG_SOAK === undefined ? 3000 : 1_000_000
const MODES: readonly RetentionMode[] = ['delete', 'archive', 'keep']

function segmentOf(random: Random, base: number, end: number, closedAt: number): ClosedSegment {
  const archived = random.chance(0.6)
  const archive = { file: `${base}.zst`, bytes: 1 + random.below(40), crc: 0, dictionary: 0, archivedAt: closedAt }
  return {
    base,
    generation: 0,
    end,
    bytes: 1 + random.below(200),
    linkChain: 0,
    firstChunkSequence: 0,
    chunks: 0,
    runningTime: -1,
    closedAt,
    ...(archived ? { archive } : random.chance(0.1) ? { quarantined: 'damage' } : {}),
    ...(archived && random.chance(0.3) ? { local: false as const } : {}),
  }
}

function factsOf(random: Random): RetentionFacts {
  // Beyond 10^6 and 10^9 too, where text and numbers sort differently.
  let base = random.pick([0, 7, 999_990, 999_999_990])
  let time = 1000
  const make = (): ClosedSegment => {
    const end = base + 1 + random.below(20)
    time += random.below(60) - 10
    const segment = segmentOf(random, base, end, time)
    base = end
    return segment
  }
  const kept = range(0, random.below(3)).map(make)
  const history = kept.filter((segment) => segment.archive !== undefined).map((segment) => ({ ...segment, local: false as const }))
  const first = base
  const closed = range(0, random.below(8)).map(make)
  const startOffset = random.chance(0.2) && closed.length > 0 ? first + random.below(base - first) : first
  const endless = random.chance(0.3) && closed.length > 0
  return {
    state: { closed, history: history.length === 0 && random.chance(0.5) ? undefined : history, startOffset },
    lastBase: endless ? (closed.at(-1)?.base ?? base) : base,
    committedOffset: endless ? base : base + random.below(20),
    openBytes: endless ? 0 : random.below(200),
    slowest: random.chance(0.4)
      ? { name: 'c', offset: random.chance(0.2) ? 0 : first + random.below(base - first + 1), error: random.chance(0.2) ? ({} as never) : undefined }
      : undefined,
    now: time + random.below(200),
  }
}

function limitsOf(random: Random, facts: RetentionFacts): RetentionLimits {
  return {
    maxBytes: random.chance(0.4) ? random.below(900) : undefined,
    maxAgeMs: random.chance(0.4) ? random.below(300) : undefined,
    maxRecords: random.chance(0.4) ? random.below(90) : undefined,
    before: random.chance(0.4) ? random.below(facts.committedOffset + 20) : undefined,
  }
}

/** The smallest number of the oldest candidates without which the oldest that is left is within every limit. */
function beyondOf(candidates: readonly ClosedSegment[], limits: RetentionLimits, mode: RetentionMode, facts: RetentionFacts): number {
  const { closed, startOffset } = facts.state
  const last = closed.filter((segment) => segment.base === facts.lastBase)
  for (let gone = 0; gone < candidates.length; gone++) {
    const left = [...candidates.slice(gone), ...last]
    const bytes = left.reduce((sum, { local, bytes, archive }) => sum + (local === false ? 0 : bytes) + (mode === 'delete' ? (archive?.bytes ?? 0) : 0), 0)
    const [oldest] = left
    const first = startOffset > oldest.base && startOffset < oldest.end ? startOffset : oldest.base
    const within = [
      limits.maxBytes === undefined || bytes + facts.openBytes <= limits.maxBytes,
      limits.maxAgeMs === undefined || oldest.closedAt + limits.maxAgeMs >= facts.now,
      limits.maxRecords === undefined || facts.committedOffset <= first + limits.maxRecords,
      limits.before === undefined || oldest.end > limits.before,
      !closed.includes(oldest) || oldest.end > startOffset,
    ]
    if (within.every(Boolean)) return gone
  }
  return candidates.length
}

describe('a plan of retention', () => {
  it('is what the model says, for random logs, limits, consumers and modes', () => {
    const random = new Random(5)
    const counts = { removed: 0, released: 0, history: 0, held: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const facts = factsOf(random)
      const limits = limitsOf(random, facts)
      const mode = random.pick(MODES)
      const force = random.chance(0.2)
      const plan = planRetention(limits, mode, force, facts)
      const why = JSON.stringify({ limits, mode, force, facts, plan })
      const { closed, history = [], startOffset } = facts.state
      const old = mode === 'delete' ? history : []
      const movable = closed.filter((segment) => segment.base !== facts.lastBase)
      const beyond = beyondOf([...old, ...movable], limits, mode, facts)
      expect(plan.historyRemoved, why).toEqual(old.slice(0, beyond))
      const wanted = movable.slice(0, Math.max(0, beyond - old.length))

      const blocks = (segment: ClosedSegment) => segment.quarantined !== undefined && !(force && mode !== 'archive')
      const unacknowledged = (segment: ClosedSegment) => facts.slowest !== undefined && segment.end > facts.slowest.offset
      const stop = wanted.findIndex((segment) => unacknowledged(segment) || (mode !== 'archive' && blocks(segment)))
      const allowed = stop < 0 ? wanted : wanted.slice(0, stop)
      const waiting = allowed.findIndex((segment) => segment.archive === undefined && !segment.quarantined)
      const inLog = closed.map(({ base }) => base)
      if (mode === 'delete') {
        expect(plan.removed, why).toEqual(allowed)
        expect([plan.kept, plan.released], why).toEqual([[], []])
      } else if (mode === 'archive') {
        expect([plan.removed, plan.kept, plan.startOffset], why).toEqual([[], [], startOffset])
        expect(plan.released, why).toEqual(allowed.filter((segment) => segment.archive !== undefined && segment.local !== false))
      } else {
        expect(plan.removed, why).toEqual(waiting < 0 ? allowed : allowed.slice(0, waiting))
        expect(plan.kept, why).toEqual(plan.removed.filter((segment) => segment.archive !== undefined))
        const behind = waiting < 0 ? [] : allowed.slice(waiting)
        expect(plan.released, why).toEqual(behind.filter((segment) => segment.archive !== undefined && segment.local !== false))
      }
      if (mode !== 'archive') expect(plan.startOffset, why).toBe(Math.max(startOffset, ...allowed.map((segment) => segment.end)))
      // What leaves MANIFEST leaves no gap there.
      expect(
        plan.removed.map(({ base }) => base),
        why,
      ).toEqual(inLog.slice(0, plan.removed.length))

      const holds = wanted.filter((segment, i) =>
        mode === 'archive'
          ? (stop < 0 || i <= stop) && (segment.archive === undefined || i === stop)
          : i === stop || (mode === 'keep' && (stop < 0 || i < stop) && segment.archive === undefined && !segment.quarantined),
      )
      const [held] = holds
      expect(plan.heldBy === undefined, why).toBe(held === undefined)
      if (plan.heldBy !== undefined && held !== undefined) {
        expect(plan.heldBy.offset, why).toBeGreaterThanOrEqual(held.base)
        expect(plan.heldBy.offset, why).toBeLessThan(held.end)
        const consumer = facts.slowest?.error === undefined ? 'consumer' : 'damaged-consumer'
        expect(plan.heldBy.reason, why).toBe(unacknowledged(held) ? consumer : held.quarantined !== undefined ? 'quarantined' : 'not-archived')
        counts.held++
      }
      counts.removed += plan.removed.length
      counts.released += plan.released.length
      counts.history += plan.historyRemoved.length
    }
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(ROUNDS / 20)
  })
})
