/** Runs a case: every contender once per round, in turn, and compares what they did. */
import { rmSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import type { Case, Contender, Measurement } from './case.js'
import { runProcess } from './processes.js'
import type { Rounds } from './statistics.js'

export interface CaseOutcome {
  readonly rounds: Rounds
  /** Why a contender did not take part or failed; the first reason of each. */
  readonly failures: ReadonlyMap<string, string>
  /** Contenders that did not do the same work. */
  readonly mismatches: readonly string[]
  /** How long all of it took, preparations included. */
  readonly seconds: number
  /** One-minute load average at the end. */
  readonly load: number
}

export interface ScheduleOptions {
  readonly rounds: number
  readonly quick: boolean
  readonly huge: boolean
  readonly data: string
  /** A reason to leave a contender out, or undefined. */
  excluded(contender: Contender): string | undefined
  say(line: string): void
}

export async function runCase(one: Case, options: ScheduleOptions): Promise<CaseOutcome> {
  const start = performance.now()
  const caseDirectory = join(options.data, one.name)
  const failures = new Map<string, string>()
  const mismatches: string[] = []
  const measured = new Map<string, (Measurement | undefined)[]>()
  for (const contender of one.contenders) {
    const reason = options.excluded(contender)
    if (reason !== undefined) failures.set(contender.name, reason)
    else measured.set(contender.name, [])
  }
  const taking = () => one.contenders.filter(({ name }) => measured.has(name) && !failures.has(name))
  const order = (contender: Contender, phase: 'prepare' | 'measure', earlier: Record<string, Measurement>) =>
    runProcess({ caseName: one.name, contender: contender.name, phase, quick: options.quick, huge: options.huge, caseDirectory, earlier }, contender)

  try {
    for (const contender of taking().filter(({ prepare }) => prepare !== undefined)) {
      options.say(`${one.name}: preparing ${contender.name}`)
      const reply = await order(contender, 'prepare', {})
      if ('error' in reply) failures.set(contender.name, reply.error)
    }
    const rounds = roundsOf(one, options)
    for (let round = 0; round < rounds; round++) {
      const earlier: Record<string, Measurement> = {}
      for (const contender of taking()) {
        options.say(`${one.name}: round ${round + 1} of ${rounds}, ${contender.name}`)
        const reply = await order(contender, 'measure', earlier)
        if ('measurement' in reply) earlier[contender.name] = reply.measurement
        else failures.set(contender.name, 'error' in reply ? reply.error : 'sent no measurement')
      }
      for (const [name, measurements] of measured) measurements.push(earlier[name])
      mismatches.push(...differences(earlier, `${one.name}, round ${round + 1}`))
    }
  } finally {
    rmSync(caseDirectory, { recursive: true, force: true })
  }
  return { rounds: measured, failures, mismatches, seconds: (performance.now() - start) / 1000, load: loadavg()[0] }
}

/** A quick run has no rounds to spare for what is noisy. */
function roundsOf({ roundsFactor = 1, quickRounds = Number.POSITIVE_INFINITY }: Case, { rounds, quick }: ScheduleOptions): number {
  const all = Math.max(1, Math.round(rounds * (quick ? Math.min(1, roundsFactor) : roundsFactor)))
  return quick ? Math.min(all, quickRounds) : all
}

/** Work keys that contenders share must agree. */
function differences(measurements: Readonly<Record<string, Measurement>>, where: string): string[] {
  const seen = new Map<string, { readonly by: string; readonly value: string | number }>()
  const found: string[] = []
  for (const [name, { work }] of Object.entries(measurements)) {
    for (const [key, value] of Object.entries(work)) {
      const first = seen.get(key)
      if (first === undefined) seen.set(key, { by: name, value })
      else if (first.value !== value) found.push(`${where}: ${key} is ${first.value} for ${first.by} but ${value} for ${name}`)
    }
  }
  return found
}
