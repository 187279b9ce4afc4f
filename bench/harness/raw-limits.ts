/** native/bench/raw_*.cc: compiled here when its sources are newer, called by the contenders of kind `limit`. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { BUILD, ROOT } from './paths.js'
import { listFiles } from './work.js'

const PROGRAM = join(BUILD, 'raw_limits')

/** Throws with the compiler's output when it does not compile. */
export function compileRawLimits(): void {
  const inputs = [...filesNamed('native/bench', 'raw_'), ...filesNamed('native/core', 'crc32c')]
  const sources = inputs.filter((path) => path.endsWith('.cc'))
  if (existsSync(PROGRAM) && inputs.every((path) => statSync(path).mtimeMs < statSync(PROGRAM).mtimeMs)) return
  mkdirSync(BUILD, { recursive: true })
  const flags = ['-O3', '-std=c++20', '-fno-exceptions', '-fno-rtti', '-Wall', '-Wextra', '-Werror', '-pthread']
  execFileSync('c++', [...flags, '-I', join(ROOT, 'native'), ...sources, '-o', PROGRAM], { stdio: ['ignore', 'ignore', 'pipe'] })
}

function filesNamed(folder: string, prefix: string): string[] {
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(ROOT, folder, name))
}

/** Numbers, but for the name of a CRC implementation, which nobody reads. */
export type RawOutput = Readonly<Record<string, number>>

type Command = 'memcpy' | 'crc' | 'append' | 'sync' | 'pread' | 'scan' | 'evict'
type Arguments = Readonly<Record<string, number | string | readonly string[]>>

/** Program and arguments, for those who run it beside something else. */
export function rawLimitCommand(command: Command, values: Arguments): [program: string, ...rest: string[]] {
  return [PROGRAM, command, ...Object.entries(values).flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => `${name}=${one}`))]
}

export function rawLimit(command: Command, values: Arguments): RawOutput {
  const [program, ...rest] = rawLimitCommand(command, values)
  return JSON.parse(execFileSync(program, rest, { encoding: 'utf8' })) as RawOutput
}

/** Segment files that sealog wrote in this case, for limits that read what sealog reads. */
export function segmentFiles(directory: string): string[] {
  const files = listFiles(directory, (name) => name.endsWith('.log'))
  if (files.length === 0) throw new Error('needs the files of sealog, which failed')
  return files
}
