/**
 * `--profile`: where a contender of a case spends its time, as a flame graph (an SVG that any browser opens). perf samples all threads, native frames and those of
 * JavaScript among them; without perf the profiler of V8 does, which sees JavaScript of the main thread only.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Case, Contender } from './case.js'
import { flameGraph, type Stacks } from './flame-graph.js'
import { BUILD, CHILD } from './paths.js'
import type { Order } from './processes.js'

const SAMPLES_PER_SECOND = 499
const MOST_OUTPUT_BYTES = 2 ** 30

/** Measures once and writes build/bench/profile-<case>-<contender>.svg; → its path. Data of `prepare` is made before, unobserved. */
export function profile(one: Case, contender: Contender, quick: boolean, data: string): string {
  const caseDirectory = join(data, one.name)
  const order = (phase: Order['phase']): string =>
    JSON.stringify({ caseName: one.name, contender: contender.name, phase, quick, huge: false, caseDirectory, earlier: {} } satisfies Order)
  if (contender.prepare !== undefined) run([process.execPath, ...(contender.nodeFlags ?? []), CHILD, order('prepare')])
  const folder = join(data, 'profile')
  mkdirSync(folder, { recursive: true })
  const stacks = canPerf() ? byPerf(folder, contender, order('measure')) : byV8(folder, contender, order('measure'))
  const file = join(BUILD, `profile-${one.name}-${contender.name.replaceAll(/[^\w]+/g, '-')}.svg`)
  writeFileSync(file, flameGraph(`${one.name}, ${contender.name}`, stacks))
  rmSync(folder, { recursive: true, force: true })
  return file
}

function canPerf(): boolean {
  return spawnSync('perf', ['record', '-o', '/dev/null', '-e', 'cpu-clock', 'true'], { stdio: 'ignore' }).status === 0
}

function run([command, ...args]: readonly string[], cwd?: string): void {
  const { status, stderr, error } = spawnSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
  if (error !== undefined || status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr.trim()}`)
}

function byPerf(folder: string, contender: Contender, order: string): Stacks {
  const file = join(folder, 'perf.data')
  const recorder = ['perf', 'record', '-q', '-F', String(SAMPLES_PER_SECOND), '-e', 'cpu-clock', '-g', '-o', file, '--']
  run([...recorder, process.execPath, '--perf-basic-prof', '--interpreted-frames-native-stack', ...(contender.nodeFlags ?? []), CHILD, order])
  const script = execFileSync('perf', ['script', '-i', file, '-F', 'comm,ip,sym'], {
    encoding: 'utf8',
    maxBuffer: MOST_OUTPUT_BYTES,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const stacks = new Map<string, number>()
  for (const sample of script.split('\n\n')) {
    const [thread, ...frames] = sample.split('\n').filter((line) => line.trim() !== '')
    if (thread === undefined) continue
    // Names of JavaScript functions carry a mark of how they are compiled and the path of their file.
    const names = frames.map((line) =>
      line
        .trim()
        .replace(/^[0-9a-f]+ /, '')
        .replace(/^(?:JS|LazyCompile|Function|Script):[*~^+]?/, '')
        .replace(/file:\/\/\S*\//, ''),
    )
    const stack = [thread.trim(), ...names.reverse()].join(';')
    stacks.set(stack, (stacks.get(stack) ?? 0) + 1)
  }
  return { unit: 'samples', stacks }
}

interface V8Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

function byV8(folder: string, contender: Contender, order: string): Stacks {
  run([process.execPath, '--cpu-prof', `--cpu-prof-dir=${folder}`, ...(contender.nodeFlags ?? []), CHILD, order])
  const stacks = new Map<string, number>()
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'))) {
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as V8Profile
    const paths = new Map<number, string>()
    const walk = (id: number, path: string) => {
      const node = nodes.find((one) => one.id === id)
      if (node === undefined) return
      const { functionName, url } = node.callFrame
      const own = `${path}${path === '' ? '' : ';'}${functionName || '(anonymous)'} ${url.slice(url.lastIndexOf('/') + 1)}`.trim()
      paths.set(id, own)
      for (const child of node.children ?? []) walk(child, own)
    }
    walk(nodes[0].id, '')
    samples.forEach((id, i) => {
      const path = paths.get(id)
      if (path !== undefined) stacks.set(path, (stacks.get(path) ?? 0) + timeDeltas[i])
    })
  }
  return { unit: 'µs', stacks }
}
