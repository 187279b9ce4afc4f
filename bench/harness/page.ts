/** What a run looks like in docs/performance.md and README.md: Markdown made of its figures alone, nothing measured here. */
import type { PeerState } from './contenders.js'
import { type Machine, machineLines } from './machine.js'
import type { CaseReport } from './report.js'
import { caseLines, comparisonLines, table, targetLines } from './tables.js'

/** Everything a run found, as build/bench/results.json has it. */
export interface RunReport {
  readonly machine: Machine
  readonly peers: Readonly<Record<string, PeerState>>
  readonly programs: Readonly<Record<string, PeerState>>
  readonly quick: boolean
  readonly rounds: number
  /** ISO 8601, of the beginning. */
  readonly date: string
  /** How long it took, peers and limits made ready included. */
  readonly seconds: number
  readonly cases: readonly CaseReport[]
  /** Cases that were still to come: the run was ended early, or goes on. */
  readonly unmeasured: readonly string[]
}

/** Of each case the files of its plots, below docs/. */
export type PlotFiles = ReadonlyMap<string, readonly string[]>

/** Chosen before they were measured: what a log is used for, where sealog is behind as well as where it is ahead. */
const README_CASES = [
  'append-flush',
  'append-fsync-1',
  'append-fsync-64',
  'append-fsync-1000',
  'random-read',
  'scan',
  'reopen',
  'memory',
  'http-sealed-10mib',
  'http-tail',
  'store-put',
  'store-put-fsync',
  'store-get-cached',
  'store-get-uncached',
  'store-range',
  'store-open',
  'archive',
]

/** Machine, system, versions, who takes part and who does not, and how it was run. */
export function runLines({ machine, peers, programs, quick, rounds, date }: Omit<RunReport, 'seconds' | 'cases' | 'unmeasured'>): string[] {
  const state = ({ version, reason }: PeerState) => version ?? `left out: ${reason}`
  return [
    '```',
    ...machineLines(machine),
    ...Object.entries(peers).map(([name, peer]) => `peer         ${name} ${state(peer)}`),
    ...Object.entries(programs).map(([name, program]) => `program      ${name} ${state(program)}`),
    `run          ${quick ? 'quick, ' : ''}${rounds} rounds, each contender in its own process, in turn; medians; ${date}`,
    '```',
  ]
}

/** The first part of docs/performance.md: sealog in one row per case, then every figure that was to be reached. */
export function summary(run: RunReport): string[] {
  return [
    ...provenance(run),
    '',
    'The first figure of every case that has peers or a limit; above 1 sealog is better, **bold** where a peer is.',
    '',
    ...comparisonLines(run.cases),
    '',
    ...targetLines(run.cases),
  ]
}

/** The last part: every case with its tables and plots. */
export function figures(run: RunReport, plots: PlotFiles): string[] {
  const images = ({ name }: CaseReport) => (plots.get(name) ?? []).flatMap((file) => ['', `![${name}](${file})`])
  return [...provenance(run), '', ...runLines(run), ...run.cases.flatMap((report) => [...caseLines(report), ...images(report)]), '', ...timeLines(run)]
}

/** A few rows, for README.md. */
export function excerpt(run: RunReport): string[] {
  const { processor, cores, kernel, fileSystem } = run.machine
  const chosen = README_CASES.flatMap((name) => run.cases.filter((report) => report.name === name))
  return [
    ...provenance(run),
    '',
    `Medians of ${run.rounds} rounds on ${cores} cores (${processor}), ${kernel}, ${fileSystem.split(' ')[0]}; above 1 sealog is better, **bold** where a peer is.`,
    '',
    ...comparisonLines(chosen).map((line) => line.replace('](#', '](docs/performance.md#')),
  ]
}

/** Where the time of the run went. */
export function timeLines({ seconds, cases }: Pick<RunReport, 'seconds' | 'cases'>): string[] {
  const rows = cases.map((report) => [report.name, report.seconds.toFixed(1)])
  return [`The run took ${duration(seconds)}.`, '', ...table([['case', 'seconds'], ...rows])]
}

/** A quick run must not be taken for more than it is. */
function provenance({ quick, unmeasured }: RunReport): string[] {
  const early = unmeasured.length === 0 ? [] : [`**The run ended early.** Not measured: ${unmeasured.join(', ')}.`]
  return quick
    ? [
        ...early,
        '**From a quick run** (`--quick`): fewer records, shorter rounds. A look, not a measurement; some targets are judged at smaller sizes than they name.',
      ]
    : early
}

function duration(seconds: number): string {
  const whole = Math.round(seconds)
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`
}
