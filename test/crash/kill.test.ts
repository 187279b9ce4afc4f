/** A process that appends is killed at any moment; the next one finds what was acknowledged. SIGKILL keeps the page cache, so this holds in every mode. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Durability, LockedError, Log } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { readRecords } from '../support/crash-history.js'
import { freshPath } from '../support/directories.js'
import { text } from '../support/logs.js'
import { Random } from '../support/random.js'

const SOAK = process.env.SEALOG_SOAK !== undefined
const MODES: readonly Durability[] = ['fsync', 'flush', 'none']
/** 324 and 5,040 over backends and modes. */
const KILLS = SOAK ? 840 : 54
const KILLS_PER_LOG = 9
const ROOT = path.resolve(import.meta.dirname, '../..')
const CHILD = path.join(import.meta.dirname, 'kill-child.mjs')

interface Session {
  /** Offsets below were acknowledged. */
  readonly acknowledged: number
  readonly opened: boolean
}

/** Starts the child and kills it `delay` ms after it said `moment`: it is about to open the log, or has. */
async function runAndKill(
  directory: string,
  backend: Backend,
  durability: Durability,
  session: number,
  moment: 'opening' | 'open ',
  delay: number,
): Promise<Session> {
  const child = spawn(process.execPath, [CHILD, directory, backend, durability, String(session)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  let armed = false
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk))
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk
    if (armed || !`\n${output}`.includes(`\n${moment}`)) return
    armed = true
    setTimeout(() => child.kill('SIGKILL'), delay)
  })
  const [, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself: ${errors}`)
  let acknowledged = 0
  // The last line may be incomplete.
  for (const line of output.split('\n').slice(0, -1)) {
    const [word, first, second] = line.split(' ')
    acknowledged = Math.max(acknowledged, word === 'ack' ? Number(first) : word === 'open' ? Number(second) : 0)
  }
  return { acknowledged, opened: output.includes('\nopen ') }
}

/** The lock of a killed process may outlive it by a moment. */
async function openAfterKill(directory: string, backend: Backend, durability: Durability): Promise<Log> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      return await Log.open(directory, { backend, durability, segmentBytes: 8192 })
    } catch (error) {
      if (!(error instanceof LockedError) || Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

/** Every record lies where it says, every batch is whole; returns their texts. */
function readWhole(log: Log): string[] {
  return readRecords(log).map((record, offset, all) => {
    const value = text(record.value)
    const [, at, first, count] = value.split(' ').map(Number)
    if (at !== offset) throw new Error(`offset ${offset} holds the record of offset ${at}`)
    if (record.batch !== first || first + count > all.length)
      throw new Error(`the batch ${first} to ${first + count} is not whole: the log ends at ${all.length}`)
    return value
  })
}

beforeAll(() => {
  if (!existsSync(path.join(ROOT, 'dist', 'index.js'))) throw new Error('dist/ is missing: run npm run build')
  process.removeAllListeners('warning')
})

describe.concurrent.each(backends)('killed while appending, %s', (backend) => {
  test.each(MODES)(
    'G1, G2, G3, G8: mode %s loses no acknowledged record, leaves no hole and no half batch',
    async (durability) => {
      const seed = Number(process.env.SEALOG_SEED ?? 1)
      const random = new Random(seed * 31 + MODES.indexOf(durability) * 2 + backends.indexOf(backend))
      let directory = ''
      let known: string[] = []
      let beforeOpen = 0
      let total = 0
      for (let kill = 0; kill < KILLS; ) {
        const number = kill
        if (number % KILLS_PER_LOG === 0) {
          directory = freshPath('kill')
          known = []
        }
        // Sometimes two in a row, so that the child itself recovers from the first.
        let acknowledged = 0
        do {
          const session = random.chance(0.2)
            ? await runAndKill(directory, backend, durability, ++kill, 'opening', random.next() * 20)
            : await runAndKill(directory, backend, durability, ++kill, 'open ', 1 + random.below(SOAK ? 200 : 80))
          if (!session.opened) beforeOpen++
          acknowledged = Math.max(acknowledged, session.acknowledged)
        } while (kill % KILLS_PER_LOG !== 0 && random.chance(0.3))
        const log = await openAfterKill(directory, random.pick(backends), durability)
        const found = readWhole(log)
        await log.close()
        expect(found.length, `seed ${seed}, kill ${number}: acknowledged`).toBeGreaterThanOrEqual(acknowledged)
        expect(found.slice(0, known.length), `seed ${seed}, kill ${number}: what was recovered before`).toEqual(known)
        known = found
        total += acknowledged
      }
      expect(total).toBeGreaterThan(0)
      console.log(`kills, ${backend}, ${durability}: ${KILLS}, of them ${beforeOpen} before the log was open`)
    },
    SOAK ? 0 : 300_000,
  )
})
