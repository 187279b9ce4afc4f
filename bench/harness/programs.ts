/** Programs of the system that take part: looked for, never installed. */
import { spawnSync } from 'node:child_process'
import type { Program } from './case.js'
import type { PeerState } from './contenders.js'

/** Prints its version with this argument, whatever its exit code then is. */
const VERSION_ARGUMENT: Readonly<Record<Program, string>> = { wrk: '-v', nginx: '-v', zstd: '-V' }

export function probeProgram(name: Program): PeerState {
  const { error, stdout, stderr } = spawnSync(name, [VERSION_ARGUMENT[name]], { encoding: 'utf8' })
  if (error !== undefined) return { reason: `${name} is not installed (apt-get install ${name}): ${error.message}` }
  return { version: /\d+(\.\d+)+/.exec(stdout + stderr)?.[0] ?? 'of unknown version' }
}
