/** Runs the compiled command line as its users do: as a process of its own. */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface Result {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Command {
  readonly child: ChildProcess
  readonly result: Promise<Result>
  /** What has come so far. */
  stdout(): string
}

export function start(args: readonly string[], options: SpawnOptions & { nodeArgs?: readonly string[] } = {}): Command {
  const { nodeArgs = [], ...spawnOptions } = options
  return launch(process.execPath, [...nodeArgs, MAIN, ...args], spawnOptions)
}

/** Hands what comes to standard input to a terminal of its own, and what the terminal shows to standard output. */
const TERMINAL = `
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status))
`

export const hasTerminal = canMakeTerminal()

function canMakeTerminal(): boolean {
  const { status, error } = spawnSync('python3', ['-c', 'import os, pty; os.waitstatus_to_exitcode'])
  if (status === 0) return true
  console.warn(`SKIPPED: commands on a terminal: python3 cannot make one (${error?.message ?? `exit code ${status}`})`)
  return false
}

/** The same on a terminal; a written \x03 is Ctrl-C. */
export function onTerminal(args: readonly string[], options: SpawnOptions): Command {
  return launch('python3', ['-c', TERMINAL, process.execPath, MAIN, ...args], options)
}

function launch(program: string, args: readonly string[], options: SpawnOptions): Command {
  const child = spawn(program, args, { stdio: 'pipe', ...options })
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const result = new Promise<Result>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
  })
  return { child, result, stdout: () => stdout }
}

export function sealog(args: readonly string[], input: string | Uint8Array = '', options?: Parameters<typeof start>[1]): Promise<Result> {
  const { child, result } = start(args, options)
  child.stdin?.on('error', () => {}) // a command that has refused its input does not read the rest
  child.stdin?.end(input)
  return result
}

/** One JSON text per line. */
export const parseLines = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)

export const lengthPrefixed = (records: readonly Uint8Array[]): Buffer =>
  Buffer.concat(
    records.flatMap((record) => {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(record.length)
      return [length, record]
    }),
  )

/** A fresh directory, removed by `remove`. */
export function temporary(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sealog-cli-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Waits for something that another process brings about. */
export async function until(holds: () => boolean, what: string, patienceMs = 20_000): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
