/** Results as tables that read well on a terminal and are Markdown, so that documents can take them over. */
import { cpus } from 'node:os'
import type { Metric } from './case.js'
import type { CaseReport, ContenderReport, TargetReport } from './report.js'

export function caseLines(report: CaseReport): string[] {
  const { metrics } = report
  const lines = ['', `### ${report.name}`, '', `${report.title}; ${report.rounds} rounds`, '']
  const header = ['contender', ...metrics.map(({ label }) => label)]
  if (metrics.length > 0) header.push(`${metrics[0].label}: worst … best`)
  if (report.bestPeer !== undefined) header.push(`× best peer`)
  if (report.limit !== undefined) header.push(`× limit`)
  const rows = report.contenders.map((contender) => {
    const row = [contender.name, ...metrics.map(({ key }) => (key in contender.metrics ? number(contender.metrics[key].median) : ''))]
    const first = contender.metrics[metrics[0].key]
    row.push(first === undefined ? '' : spread(first, metrics[0].better))
    if (report.bestPeer !== undefined) row.push(contender.name === report.bestPeer ? '1' : ratio(contender.againstBestPeer))
    if (report.limit !== undefined) row.push(contender.name === report.limit ? '1' : ratio(contender.againstLimit))
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

/** A row per case: the first figure of sealog's own contender beside the best peer and the limit. Where sealog loses to a peer is set in bold. */
export function comparisonLines(reports: readonly CaseReport[]): string[] {
  const rows = reports.flatMap((report) => {
    const sealog = report.contenders.find(({ kind }) => kind === 'sealog')
    if (sealog === undefined || (report.bestPeer === undefined && report.limit === undefined)) return []
    const [{ key, label }] = report.metrics
    const value = (contender: ContenderReport | undefined) => (contender !== undefined && key in contender.metrics ? number(contender.metrics[key].median) : '')
    const peer = report.contenders.find(({ name }) => name === report.bestPeer)
    const against = ratio(sealog.againstBestPeer)
    return [
      [
        caseLink(report),
        label,
        value(sealog),
        peer === undefined ? '' : `${value(peer)} (${peer.name})`,
        sealog.againstBestPeer !== undefined && sealog.againstBestPeer < 1 ? `**${against}**` : against,
        ratio(sealog.againstLimit),
      ],
    ]
  })
  return rows.length === 0 ? [] : table([['case', 'figure', 'sealog', 'best peer', '× best peer', '× limit'], ...rows])
}

/** A row per figure that was to be reached, and how many were. */
export function targetLines(reports: readonly CaseReport[]): string[] {
  const rows = reports.flatMap((report) => report.targets.map((target) => [caseLink(report), ...targetRow(target)]))
  if (rows.length === 0) return []
  const count = (wanted: boolean | undefined) => reports.flatMap(({ targets }) => targets).filter(({ verdict }) => verdict?.reached === wanted).length
  const unmeasured = count(undefined) > 0 ? `, ${count(undefined)} not measured` : ''
  return [
    `Of ${rows.length} figures ${count(true)} are reached, ${count(false)} missed${unmeasured}.`,
    '',
    ...table([['case', 'to reach', 'measured', 'verdict'], ...rows]),
  ]
}

function caseLink({ name }: CaseReport): string {
  return `[${name}](#${name})`
}

function targetRow({ text, verdict }: TargetReport): string[] {
  return verdict === undefined ? [text, '', 'not measured'] : [text, verdict.measured, verdict.reached ? 'reached' : '**missed**']
}

function spread({ min, max }: { min: number; max: number }, better: Metric['better']): string {
  return better === 'higher' ? `${number(min)} … ${number(max)}` : `${number(max)} … ${number(min)}`
}

function ratio(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? '' : value.toFixed(2)
}

/** Three significant digits or a little more, and no fraction where there are more before the point. */
function number(value: number): string {
  if (Number.isNaN(value)) return '?'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3
  return Number(value.toFixed(digits)).toLocaleString('en', { maximumFractionDigits: digits })
}

/** The first column to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(rows[0]), rule, ...rows.slice(1).map(line)]
}
