/** `npm run bench`: sealog beside its peers and beside the limits of the machine. See docs/performance.md. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CASES } from './cases/index.js'
import type { Case, Contender, PeerPackage, Program } from './harness/case.js'
import { installPeers, type PeerState } from './harness/contenders.js'
import { describeMachine, isMemory } from './harness/machine.js'
import { type RunReport, runLines, timeLines } from './harness/page.js'
import { BUILD, DATA, ROOT } from './harness/paths.js'
import { plotsOf } from './harness/plot.js'
import { endProcesses } from './harness/processes.js'
import { profile } from './harness/profile.js'
import { probeProgram } from './harness/programs.js'
import { compileRawLimits } from './harness/raw-limits.js'
import { type CaseReport, reportCase } from './harness/report.js'
import { runCase } from './harness/schedule.js'
import { caseLines, targetLines } from './harness/tables.js'
import { writeDocs } from './harness/write-docs.js'

const HELP = `npm run bench [-- [options] [case…]]

Runs all cases, or those named; every contender in a process of its own, in turn, over several rounds.
Prints tables (Markdown); everything measured goes to build/bench/results.json.

  --quick             fewer records and 2 rounds, for a look; figures for docs come without it
  --rounds N          rounds (default 5, with --quick 2)
  --only NAME         only this contender; may be repeated (limits that repeat sealog's work need sealog)
  --json              print JSON instead of tables
  --huge              growth curves to 10^8 records instead of 10^7; about 100 GB of disk and an hour
  --profile           no figures: leaves a flame graph of each case named, of sealog or of the contenders given by --only, in build/bench
  --write-docs        also put the tables of this run into docs/performance.md and README.md and its plots into docs/plots; with all cases and
                      contenders only. Of a --quick run the pages say that it was one
  --list              print cases and contenders
  --help              print this

Exit code 1: a case failed in sealog or in a limit, or contenders did not do the same work. A missed figure is printed, not an error.`

const DEFAULT_ROUNDS = 5
const QUICK_ROUNDS = 2

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
    huge: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(HELP)
else if (values.list) for (const one of CASES) console.log(`${one.name.padEnd(18)} ${one.contenders.map(({ name }) => name).join(' · ')}`)
else {
  checkWriteDocs()
  process.exitCode = await main(chosenCases(), roundCount())
}

function chosenCases(): readonly Case[] {
  const unknown = positionals.filter((name) => !CASES.some((one) => one.name === name))
  if (unknown.length > 0) quit(`no case ${unknown.join(', ')}; there are ${CASES.map(({ name }) => name).join(', ')}`)
  const chosen = positionals.length === 0 ? CASES : CASES.filter(({ name }) => positionals.includes(name))
  if (values.only.length === 0) return chosen
  const narrowed = chosen.map((one) => ({ ...one, contenders: one.contenders.filter(({ name }) => values.only.includes(name)) }))
  return narrowed.filter(({ contenders }) => contenders.length > 0)
}

function checkWriteDocs(): void {
  if (values['write-docs'] && (positionals.length > 0 || values.only.length > 0)) quit('--write-docs takes a run of all cases and contenders')
}

function roundCount(): number {
  if (values.rounds === undefined) return values.quick ? QUICK_ROUNDS : DEFAULT_ROUNDS
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) quit(`--rounds takes a positive integer, not ${values.rounds}`)
  return rounds
}

function quit(message: string): never {
  console.error(`bench: ${message}`)
  process.exit(2)
}

async function main(cases: readonly Case[], rounds: number): Promise<number> {
  const data = join(DATA, String(process.pid))
  removeLeftovers()
  mkdirSync(data, { recursive: true })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      endProcesses()
      rmSync(data, { recursive: true, force: true })
      process.exit(130)
    })
  }
  try {
    return values.profile ? profileAll(cases, data) : await measureAll(cases, rounds, data)
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
}

/** sealog's own contender of each case, unless others are asked for. */
function profileAll(cases: readonly Case[], data: string): number {
  if (positionals.length === 0) quit('--profile takes cases')
  const chosen = (one: Case) => (values.only.length > 0 ? one.contenders : one.contenders.filter(({ kind }) => kind === 'sealog').slice(0, 1))
  for (const one of cases) for (const contender of chosen(one)) console.log(profile(one, contender, values.quick, data))
  return 0
}

async function measureAll(cases: readonly Case[], rounds: number, data: string): Promise<number> {
  const start = performance.now()
  const print = (lines: readonly string[]) => {
    if (!values.json) console.log(lines.join('\n'))
  }
  const machine = describeMachine(data)
  if (isMemory(machine)) quit(`${data} lies in memory (${machine.fileSystem}): nothing would be synced`)
  const date = new Date().toISOString()
  const compilation = attempt(compileRawLimits)
  const limitFailure = compilation && `the raw limits do not compile: ${compilation}`
  const peers = installPeers(peersOf(cases), say)
  const programs = new Map(programsOf(cases).map((name) => [name, probeProgram(name)] as const))
  const missing = (contender: Contender) => missingReason(contender, peers, programs)
  const conditions = { machine, peers: Object.fromEntries(peers), programs: Object.fromEntries(programs), quick: values.quick, rounds, date }
  clear()
  print(runLines(conditions))

  const reports: CaseReport[] = []
  const plots = new Map<string, ReadonlyMap<string, string>>()
  const resultOf = (): RunReport => ({
    ...conditions,
    seconds: (performance.now() - start) / 1000,
    cases: reports,
    unmeasured: cases.slice(reports.length).map(({ name }) => name),
  })
  for (const one of cases) {
    const outcome = await runCase(one, {
      rounds,
      quick: values.quick,
      huge: values.huge,
      data,
      say,
      excluded: (contender) => (contender.kind === 'limit' && limitFailure !== undefined ? limitFailure : missing(contender)),
    })
    const report = reportCase(one, outcome, values.quick)
    reports.push(report)
    clear()
    print(caseLines(report))
    plots.set(one.name, plotsOf(one, report))
    save(resultOf(), plots)
  }

  const result = resultOf()
  if (reports.length > 1) print(['', '## Figures to reach', '', ...targetLines(reports)])
  print(['', ...timeLines(result)])
  if (values.json) console.log(JSON.stringify(result, null, 2))
  const failed = reports.filter((report) => isFailure(report, cases, missing))
  if (failed.length > 0) console.error(`\nbench: failed: ${failed.map(({ name }) => name).join(', ')} (see above)`)
  return failed.length > 0 ? 1 : 0
}

/** After every case, so that a run that is ended early leaves what it has. */
function save(result: RunReport, plots: ReadonlyMap<string, ReadonlyMap<string, string>>): void {
  writeFileSync(join(BUILD, 'results.json'), `${JSON.stringify(result, null, 2)}\n`)
  if (values['write-docs']) writeDocs(result, plots, ROOT)
}

/** Why a contender cannot take part on this machine: its package or a program is missing. */
function missingReason(contender: Contender, peers: ReadonlyMap<PeerPackage, PeerState>, programs: ReadonlyMap<Program, PeerState>): string | undefined {
  const reasons = (contender.programs ?? []).map((name) => programs.get(name)?.reason)
  if (contender.package !== undefined) reasons.push(peers.get(contender.package)?.reason)
  return reasons.find((reason) => reason !== undefined)
}

/** A contender whose package or program cannot be had is no failure, one that breaks in the middle is. */
function isFailure(report: CaseReport, cases: readonly Case[], missing: (contender: Contender) => string | undefined): boolean {
  if (report.mismatches.length > 0) return true
  const contenders = cases.find(({ name }) => name === report.name)!.contenders
  return Object.keys(report.failures).some((name) => missing(contenders.find((one) => one.name === name)!) === undefined)
}

function peersOf(cases: readonly Case[]): PeerPackage[] {
  return [...new Set(cases.flatMap(({ contenders }) => contenders.flatMap((contender) => contender.package ?? [])))].sort()
}

function programsOf(cases: readonly Case[]): Program[] {
  return [...new Set(cases.flatMap(({ contenders }) => contenders.flatMap((contender) => contender.programs ?? [])))].sort()
}

/** Data of runs that were killed. */
function removeLeftovers(): void {
  mkdirSync(DATA, { recursive: true })
  for (const name of readdirSync(DATA)) {
    try {
      process.kill(Number(name), 0)
    } catch {
      rmSync(join(DATA, name), { recursive: true, force: true })
    }
  }
}

function attempt(work: () => void): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    const { stderr, message } = error as { stderr?: Buffer; message: string }
    return stderr?.toString().trim() || message
  }
}

/** Progress: one line that is overwritten on a terminal, on standard error so that tables and JSON stay clean. */
function say(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`)
}

function clear(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
}
