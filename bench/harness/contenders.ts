/** Installs the peers on demand, below bench/contenders only, and loads them from there. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { PeerPackage } from './case.js'
import { CONTENDERS } from './paths.js'

const requirePeer = createRequire(join(CONTENDERS, 'package.json'))

/** Those whose binary is compiled or downloaded by an install script, of theirs or of another package; the others carry it in the package and run none. */
const BUILT_AT_INSTALL: Readonly<Partial<Record<PeerPackage, string>>> = { 'better-sqlite3': 'better-sqlite3', 'fast-crc32c': 'sse4_crc32' }

/** What has to work beyond loading the package; `peer` is what was loaded. */
const TRIALS: Readonly<Partial<Record<PeerPackage, string>>> = {
  'better-sqlite3': "new peer(':memory:').close()",
  // it would fall back to JavaScript without a word
  'fast-crc32c': "load('sse4_crc32')",
}

export interface PeerState {
  readonly version?: string
  /** Why it cannot take part. */
  readonly reason?: string
}

export function loadPeer(name: PeerPackage): unknown {
  return requirePeer(name)
}

/** Installs what is missing; a peer that cannot be had is reported with the reason and left out. */
export function installPeers(names: readonly PeerPackage[], say: (line: string) => void): Map<PeerPackage, PeerState> {
  const states = new Map<PeerPackage, PeerState>()
  let failure: string | undefined
  if (names.some((name) => probe(name).reason !== undefined)) {
    say(`installing ${names.join(', ')} into bench/contenders …`)
    failure = npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock'])
  }
  for (const name of names) {
    let state = probe(name)
    const script = BUILT_AT_INSTALL[name]
    if (state.reason !== undefined && failure === undefined && script !== undefined) {
      say(`building ${name} …`)
      const built = npm(['rebuild', script])
      state = probe(name)
      if (state.reason !== undefined && built !== undefined) state = { reason: built }
    }
    if (state.reason !== undefined && failure !== undefined) state = { reason: failure }
    states.set(name, state)
  }
  return states
}

/** In a process of its own: a binary for another Node may take the process down with it. */
function probe(name: PeerPackage): PeerState {
  const script = `const load = require('node:module').createRequire(${JSON.stringify(join(CONTENDERS, 'package.json'))})
    const peer = load(${JSON.stringify(name)})
    ${TRIALS[name] ?? ''}`
  try {
    execFileSync(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'pipe'] })
    return { version: version(name) }
  } catch (error) {
    return { reason: reasonOf(error) }
  }
}

function version(name: PeerPackage): string {
  const manifest: unknown = JSON.parse(readFileSync(join(CONTENDERS, 'node_modules', name, 'package.json'), 'utf8'))
  return String((manifest as { version: unknown }).version)
}

function npm(args: readonly string[]): string | undefined {
  try {
    execFileSync('npm', args, { cwd: CONTENDERS, stdio: ['ignore', 'ignore', 'pipe'] })
    return undefined
  } catch (error) {
    return reasonOf(error)
  }
}

function reasonOf(error: unknown): string {
  const { stderr, signal, message } = error as { stderr?: Buffer; signal?: string | null; message: string }
  const lines = stderr?.toString().split('\n') ?? []
  const telling = lines.find((line) => /Error:|npm error/.test(line)) ?? (signal ? `ended by ${signal}` : message.split('\n')[0])
  return telling.trim()
}
