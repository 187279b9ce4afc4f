// Child processes and messages, shared by the development scripts.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** A failure that is the developer's to read: printed without a stack. */
export class Failure extends Error {}

export const say = (text) => process.stderr.write(`${text}\n`)

/** Runs with the terminal handed through; → exit code. */
export function run(command, args, { cwd = root, env } = {}) {
  const { status, signal, error } = spawnSync(command, args, { cwd, env: { ...process.env, ...env }, stdio: 'inherit' })
  if (error) throw new Failure(`${command}: ${error.message}`)
  if (signal) say(`${command} was ended by ${signal}`)
  return status ?? 1
}

/** Runs silently; → { ok, output }. A command that does not exist is not ok. */
export function capture(command, args, { cwd = root, env, input } = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    input,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  })
  const ended = signal ? `\n${command} was ended by ${signal}` : ''
  return { ok: !error && status === 0, output: `${stdout ?? ''}${stderr ?? ''}${error ? error.message : ended}` }
}

/** One step that says how long it took, and shows its output only when it failed. */
export function step(title, command, args, options) {
  const started = performance.now()
  const result = capture(command, args, options)
  say(`${result.ok ? '  ok  ' : ' FAIL '} ${title} (${((performance.now() - started) / 1000).toFixed(1)} s)`)
  if (!result.ok) say(result.output.trimEnd())
  return result
}

/** First of the commands that can be run, or undefined. */
export const findCommand = (...names) => names.find((name) => name && capture(name, ['--version']).ok)

/** Path of a JavaScript tool inside node_modules. */
export const tool = (path) => join(root, 'node_modules', path)

/** Where the headers of the running Node lie beside it (`include/node` below), or undefined: then they are downloaded. */
export function nodeHeaders() {
  const directory = join(dirname(process.execPath), '..')
  return existsSync(join(directory, 'include', 'node', 'node_api.h')) ? directory : undefined
}
