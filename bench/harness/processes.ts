/**
 * One child process per measurement, so that no contender inherits another's heap, optimised code, threads or open files. Each leads a process group of its
 * own, so that servers and load generators that it started end with it, however it ends.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { Contender, Measurement } from './case.js'
import { CHILD } from './paths.js'

/** What the child is told, as JSON in its first argument. */
export interface Order {
  readonly caseName: string
  readonly contender: string
  readonly phase: 'prepare' | 'measure'
  readonly quick: boolean
  readonly huge: boolean
  /** Folder of the case; each contender has a folder of its own in it. */
  readonly caseDirectory: string
  readonly earlier: Readonly<Record<string, Measurement>>
}

/** What it sends back, once. */
export type Reply = { readonly measurement: Measurement } | { readonly prepared: true } | { readonly error: string }

const TIME_LIMIT_MS = 15 * 60_000
/** A process that has replied has closed everything; one that still lives keeps its event loop alive, which is a fault to name. */
const EXIT_LIMIT_MS = 20_000

const running = new Set<ChildProcess>()

export function endProcesses(): void {
  for (const child of running) endGroup(child)
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export function runProcess(order: Order, contender: Contender): Promise<Reply> {
  return new Promise((resolve) => {
    const child = fork(CHILD, [JSON.stringify(order)], {
      execArgv: [...(contender.nodeFlags ?? [])],
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    running.add(child)
    let reply: Reply | undefined
    let complaint = ''
    let limit = setTimeout(() => stop(`took longer than ${TIME_LIMIT_MS / 60_000} minutes`), TIME_LIMIT_MS)
    const stop = (why: string) => {
      reply = { error: why }
      endGroup(child)
    }
    child.stderr!.on('data', (text: Buffer) => {
      complaint = (complaint + text.toString()).slice(-4000)
    })
    child.on('message', (message) => {
      reply = message as Reply
      clearTimeout(limit)
      limit = setTimeout(() => stop(`did not end within ${EXIT_LIMIT_MS / 1000} s after its work`), EXIT_LIMIT_MS)
    })
    child.on('error', (error) => {
      reply ??= { error: error.message }
    })
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      endGroup(child)
      running.delete(child)
      if (reply === undefined || (code !== 0 && !('error' in reply))) {
        const how = signal ? `ended by ${signal}` : `ended with code ${code}`
        reply = { error: `${how}${complaint ? `: ${complaint.trim()}` : ''}` }
      }
      resolve(reply)
    })
  })
}
