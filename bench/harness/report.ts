/** Results as tables that read well on a terminal and are Markdown, so that docs/performance.md can take them over. */
import { cpus } from 'node:os'
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
  readonly bestPeer?: string
  readonly limit?: string
  readonly contenders: readonly ContenderReport[]
  readonly targets: readonly TargetReport[]
  readonly notes: readonly string[]
  readonly failures: Readonly<Record<string, string>>
  readonly mismatches: readonly string[]
  readonly rounds: number
  /** One-minute load average at the end of the case. */
  readonly load: number
}

export function reportCase(one: Case, outcome: CaseOutcome, quick: boolean): CaseReport {
  const results = new RoundResults(outcome.rounds, quick)
  const [first] = metricsOf(one.metrics, (key) => one.contenders.some(({ name }) => results.has(name, key)))
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
    bestPeer,
    limit,
    contenders: measured.map(({ name, kind }) => ({
      name,
      kind,
      metrics: Object.fromEntries(
        one.metrics
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

/** Metrics that nobody has are left out. */
export function caseLines(report: CaseReport, all: readonly Metric[]): string[] {
  const lines = ['', `### ${report.name}`, '', `${report.title}; ${report.rounds} rounds`, '']
  const metrics = metricsOf(all, (key) => report.contenders.some((contender) => key in contender.metrics))
  const header = ['contender', ...metrics.map(({ label }) => label)]
  if (metrics.length > 0) header.push(`${metrics[0].label}: worst … best`)
  if (report.bestPeer !== undefined) header.push(`× best peer`)
  if (report.limit !== undefined) header.push(`× limit`)
  const rows = report.contenders.map((contender) => {
    const row = [contender.name, ...metrics.map(({ key }) => (key in contender.metrics ? number(contender.metrics[key].median) : ''))]
    const first = contender.metrics[metrics[0].key]
    row.push(first === undefined ? '' : spread(first, metrics[0].better))
    if (report.bestPeer !== undefined) row.push(ratio(contender.againstBestPeer, contender.name === report.bestPeer))
    if (report.limit !== undefined) row.push(ratio(contender.againstLimit, contender.name === report.limit))
    return row
  })
  lines.push(...table([header, ...rows]))
  const references = [report.bestPeer && `best peer: ${report.bestPeer}`, report.limit && `limit: ${report.limit}`].filter(Boolean)
  if (references.length > 0) lines.push('', `Ratios compare ${metrics[0].label}, above 1 is better; ${references.join('; ')}.`)
  for (const note of report.notes) lines.push('', note)
  if (report.targets.length > 0) lines.push('', ...table([['to reach', 'measured', 'verdict'], ...report.targets.map(targetRow)]))
  if (report.load > cpus().length + 1) {
    lines.push('', `**Noisy**: load average ${report.load.toFixed(1)} on ${cpus().length} cores; other work ran beside this case.`)
  }
  for (const [name, reason] of Object.entries(report.failures)) lines.push('', `**${name} did not run**: ${reason.split('\n')[0]}`)
  for (const mismatch of report.mismatches) lines.push('', `**NOT THE SAME WORK**: ${mismatch}`)
  return lines
}

function spread({ min, max }: { min: number; max: number }, better: Metric['better']): string {
  return better === 'higher' ? `${number(min)} … ${number(max)}` : `${number(max)} … ${number(min)}`
}

function targetRow({ text, verdict }: TargetReport): string[] {
  return verdict === undefined ? [text, '', 'not measured'] : [text, verdict.measured, verdict.reached ? 'reached' : '**missed**']
}

function ratio(value: number | undefined, isReference: boolean): string {
  if (isReference) return '1'
  return value === undefined || Number.isNaN(value) ? '' : value.toFixed(2)
}

/** Three significant digits, and no fraction where there are more before the point. */
function number(value: number): string {
  if (Number.isNaN(value)) return '?'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return Number(value.toFixed(digits)).toLocaleString('en', { maximumFractionDigits: digits })
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(rows[0]), rule, ...rows.slice(1).map(line)]
}
