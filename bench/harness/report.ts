/** The figures of a case, from the measurements of its rounds. */
import type { Case, Contender, Metric, Verdict } from './case.js'
import type { CaseOutcome } from './schedule.js'
import { percentile, RoundResults } from './statistics.js'

export interface TargetReport {
  readonly text: string
  /** Undefined when a contender it needs did not run. */
  readonly verdict?: Verdict
}

export interface ContenderReport {
  readonly name: string
  readonly kind: Contender['kind']
  readonly metrics: Readonly<
    Record<string, { readonly median: number; readonly min: number; readonly max: number; readonly p99: number; readonly rounds: readonly number[] }>
  >
  /** The first metric against the best peer and the best limit: above 1 is better. Median of the ratios within the rounds. */
  readonly againstBestPeer?: number
  readonly againstLimit?: number
}

export interface CaseReport {
  readonly name: string
  readonly title: string
  /** Those that somebody has; the first one is compared. */
  readonly metrics: readonly Metric[]
  readonly bestPeer?: string
  readonly limit?: string
  readonly contenders: readonly ContenderReport[]
  readonly targets: readonly TargetReport[]
  readonly notes: readonly string[]
  readonly failures: Readonly<Record<string, string>>
  readonly mismatches: readonly string[]
  readonly rounds: number
  /** How long all of it took, preparations included. */
  readonly seconds: number
  /** One-minute load average at the end of the case. */
  readonly load: number
}

export function reportCase(one: Case, outcome: CaseOutcome, quick: boolean): CaseReport {
  const results = new RoundResults(outcome.rounds, quick)
  const metrics = metricsOf(one.metrics, (key) => one.contenders.some(({ name }) => results.has(name, key)))
  const [first] = metrics
  const measured = one.contenders.filter(({ name }) => results.has(name))
  const bestPeer = fastest(
    measured.filter(({ kind }) => kind === 'peer'),
    first,
    results,
  )
  const limit = fastest(
    measured.filter(({ kind }) => kind === 'limit'),
    first,
    results,
  )
  const speed = (name: string, against: string) => {
    const ratio = results.ratio(first.key, name, against)
    return first.better === 'higher' ? ratio : 1 / ratio
  }
  const notes = one.notes !== undefined && results.has(measured[0]?.name ?? '') && measured[0].kind === 'sealog' ? one.notes(results) : []
  return {
    name: one.name,
    title: one.title,
    metrics,
    bestPeer,
    limit,
    contenders: measured.map(({ name, kind }) => ({
      name,
      kind,
      metrics: Object.fromEntries(
        metrics
          .filter(({ key }) => results.has(name, key))
          .map(({ key }) => {
            const rounds = results.values(name, key)
            return [
              key,
              {
                median: results.median(name, key),
                min: Math.min(...rounds),
                max: Math.max(...rounds),
                p99: percentile(rounds, 0.99),
                rounds,
              },
            ]
          }),
      ),
      againstBestPeer: bestPeer === undefined || name === bestPeer ? undefined : speed(name, bestPeer),
      againstLimit: limit === undefined || name === limit ? undefined : speed(name, limit),
    })),
    targets: one.targets.map((target) => ({
      text: target.text,
      verdict: target.needs.every((name) => results.has(name)) ? target.judge(results) : undefined,
    })),
    notes,
    failures: Object.fromEntries(outcome.failures),
    mismatches: outcome.mismatches,
    rounds: Math.max(0, ...[...outcome.rounds.values()].map((all) => all.length)),
    seconds: outcome.seconds,
    load: outcome.load,
  }
}

/** Those that somebody has, all if nobody has any. */
function metricsOf(all: readonly Metric[], isMeasured: (key: string) => boolean): readonly Metric[] {
  const measured = all.filter(({ key }) => isMeasured(key))
  return measured.length > 0 ? measured : all
}

function fastest(contenders: readonly Contender[], metric: Metric, results: RoundResults): string | undefined {
  const order = metric.better === 'higher' ? -1 : 1
  const ranked = contenders.filter(({ name }) => results.has(name, metric.key)).map(({ name }) => ({ name, value: results.median(name, metric.key) }))
  return ranked.sort((a, b) => order * (a.value - b.value))[0]?.name
}
