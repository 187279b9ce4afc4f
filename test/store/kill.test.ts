/** A process that changes a store is killed at any moment, snapshots and compaction included; the next one finds what was acknowledged. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Durability, LockedError } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import type { Store } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { Random } from '../support/random.js'
import { contentAt } from './kill-changes.mjs'
import { entriesOf, openJson } from './stores.js'

const KILLS = process.env.SEALOG_SOAK === undefined ? 8 : 200
const CHILD = path.join(import.meta.dirname, 'kill-child.mjs')

process.removeAllListeners('warning')

beforeAll(() => {
  if (!existsSync(path.resolve(import.meta.dirname, '../../dist/store/index.js'))) throw new Error('dist/ is missing: run npm run build')
})

/** Kills the child `delay` ms after it has opened the store; the last offset that it knew to be acknowledged. */
async function runAndKill(directory: string, backend: Backend, durability: Durability, session: number, delay: number): Promise<number> {
  const child = spawn(process.execPath, [CHILD, directory, backend, durability, String(session)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  let armed = false
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk))
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk
    if (armed || !output.includes('\n')) return
    armed = true
    setTimeout(() => child.kill('SIGKILL'), delay)
  })
  const [, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself: ${errors}`)
  // The last line may be incomplete.
  const lines = output.split('\n').slice(0, -1)
  return Math.max(...lines.map((line) => Number(line.split(' ')[1])))
}

/** The lock of a killed process may outlive it by a moment. */
async function openAfterKill(directory: string, backend: Backend): Promise<Store<unknown>> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      return await openJson(directory, backend, { segmentBytes: 8192, snapshotBytes: false })
    } catch (error) {
      if (!(error instanceof LockedError) || Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

describe.each(backends)('store, killed (%s)', (backend) => {
  it.each(['fsync', 'flush', 'none'] as Durability[])('mode %s', async (durability) => {
    const random = new Random(durability.length + backend.length)
    const directory = freshPath()
    let snapshots = 0
    let compacted = 0
    // On a busy machine a child may come to nothing much before it is killed.
    const enough = () => snapshots > 0 && compacted > 0
    for (let session = 0; session < KILLS || (!enough() && session < 10 * KILLS); session++) {
      const acknowledged = await runAndKill(directory, backend, durability, session, random.below(80 * Math.ceil((session + 1) / KILLS)))
      const store = await openAfterKill(directory, backend)
      expect(store.committedOffset).toBeGreaterThanOrEqual(acknowledged)
      expect(await entriesOf(store)).toEqual(contentAt(store.committedOffset))
      if (store.stats().snapshot !== undefined) snapshots++
      if (store.stats().compaction.throughOffset > 0) compacted++
      await store.close()
    }
    expect(snapshots).toBeGreaterThan(0)
    expect(compacted).toBeGreaterThan(0)
  })
})
