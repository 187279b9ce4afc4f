import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Lines of JSON that have come so far. */
  lines<T>(): T[]
}

/** Starts a program of test/process/programs, which uses the compiled library as a user would. */
export function startProgram(name: string, args: readonly (string | number)[], nodeOptions: readonly string[] = []): Program {
  if (!existsSync(path.join(root, 'dist', 'index.js'))) throw new Error('dist/ is missing: run npm run build')
  const file = path.join(root, 'test', 'process', 'programs', name)
  const child = spawn(process.execPath, [...nodeOptions, file, ...args.map(String)], { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
  })
  const lines = <T>() =>
    stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as T)
  return { child, ended, lines }
}

/** Runs a program to its end and gives its last line of JSON; throws with what it wrote when it fails. */
export async function runProgram<T>(name: string, args: readonly (string | number)[], nodeOptions: readonly string[] = []): Promise<T> {
  const program = startProgram(name, args, nodeOptions)
  program.child.stdin?.end()
  const { status, signal, stdout, stderr } = await program.ended
  if (status !== 0) throw new Error(`${name} ended with ${signal ?? status}:\n${stderr}\n${stdout.slice(-2000)}`)
  return program.lines<T>().at(-1) as T
}
