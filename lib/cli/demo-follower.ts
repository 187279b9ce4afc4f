import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { LogError } from '../errors.js'
import { Log } from '../index.js'
import type { CommonOptions } from './arguments.js'

const PATIENCE_MS = 20_000

/** Messages of the follower's process. */
type FromFollower = { readonly ready: true } | { readonly seen: number }

export interface ChildFollower {
  readonly pid: number
  /** Resolves when the other process has read the record at `offset`. */
  sees(offset: number): Promise<void>
  stop(): Promise<void>
}

/** Starts a second process that reads what is appended from now on, and prints it. */
export async function followInChild(directory: string, backend: CommonOptions['backend']): Promise<ChildFollower> {
  const child = fork(fileURLToPath(new URL('main.js', import.meta.url)), ['demo-follower', directory, backend])
  let next = 0
  let isReady = false
  let ended: LogError | undefined
  let wake = () => {}
  child.on('message', (message: FromFollower) => {
    if ('ready' in message) isReady = true
    else next = message.seen + 1
    wake()
  })
  const exited = once(child, 'exit').then(([code, signal]) => {
    ended = new LogError('ERR_SEALOG_IO', `the following process ended with ${code ?? signal}`)
    wake()
  })
  const until = async (holds: () => boolean, what: string): Promise<void> => {
    const deadline = performance.now() + PATIENCE_MS
    while (!holds()) {
      if (ended) throw ended
      const left = deadline - performance.now()
      if (left <= 0) {
        child.kill()
        throw new LogError('ERR_SEALOG_IO', `the following process did not ${what} within ${PATIENCE_MS / 1000} s`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
  await until(() => isReady, 'start')
  return {
    pid: child.pid ?? 0,
    sees: (offset) => until(() => next > offset, `see offset ${offset}`),
    async stop() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

/** In the second process: ends when the first one hangs up. */
export async function runFollower(directory: string, backend: CommonOptions['backend']): Promise<void> {
  const parent = new AbortController()
  process.once('disconnect', () => parent.abort())
  const reader = await Log.openReader(directory, { backend })
  try {
    const records = reader.read({ from: reader.endOffset, follow: true, signal: parent.signal })
    process.send?.({ ready: true } satisfies FromFollower)
    for await (const { offset, value } of records) {
      process.stdout.write(`  [${process.pid}] offset ${offset}: ${JSON.stringify(value)}\n`)
      process.send?.({ seen: offset } satisfies FromFollower)
    }
  } catch (error) {
    if (!parent.signal.aborted) throw error
  } finally {
    await reader.close()
  }
}
