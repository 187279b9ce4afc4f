import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isLogError, Log, type LogOptions, type RecordInput } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { type Image, Workplace, withFile } from '../support/images.js'
import { fixedSources, readAll, text } from '../support/logs.js'
import { catchWarnings, SyncLog } from '../support/sync-log.js'

catchWarnings()
const RUNS = Number(process.env.SEALOG_DIFFERENTIAL_RUNS ?? 25)
const SEED = Number(process.env.SEALOG_MODEL_SEED ?? 20_261_120)
const OPTIONS: LogOptions = { segmentBytes: 2048, maxBatchBytes: 1200, indexIntervalBytes: 256, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 }
const both = backends.length === 2
if (!both) console.warn('SKIPPED: differential tests need both backends')

type Action =
  | { readonly kind: 'append'; readonly records: RecordInput<Uint8Array>[] }
  | { readonly kind: 'sync' | 'reopen' }
  | { readonly kind: 'before' | 'after'; readonly place: number }

const bytesOf = fc.uint8Array({ maxLength: 120 })
const timestamp = fc.integer({ min: 0, max: 2 ** 45 })
const record: fc.Arbitrary<RecordInput<Uint8Array>> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ value: bytesOf, timestamp }) },
  { weight: 3, arbitrary: fc.record({ value: bytesOf, key: fc.uint8Array({ maxLength: 20 }), timestamp }) },
  { weight: 1, arbitrary: fc.record({ key: fc.string({ maxLength: 9 }), tombstone: fc.constant(true as const), timestamp }) },
)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('append' as const), records: fc.array(record, { minLength: 1, maxLength: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('sync' as const, 'reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('before' as const, 'after' as const), place: fc.double({ min: 0, max: 1, noNaN: true }) }) },
)
const history = fc.record({
  durability: fc.constantFrom('fsync' as const, 'flush' as const),
  actions: fc.array(action, { minLength: 5, maxLength: 40, size: 'max' }),
})
type History = typeof history extends fc.Arbitrary<infer T> ? T : never

/** Plays the history with given salts and clock. The log is left open: what a kill would leave is part of what is compared. */
async function play({ durability, actions }: History, backend: Backend): Promise<Log> {
  const directory = freshPath(`diff-${backend}`)
  const options = { ...OPTIONS, durability, backend }
  let log = await Log.openWith<Uint8Array>(directory, options, fixedSources(3))
  for (const [i, step] of actions.entries()) {
    if (step.kind === 'append') await log.appendRecords(step.records)
    else if (step.kind === 'sync') await log.sync()
    else if (step.kind === 'reopen') {
      await log.close()
      log = await Log.openWith<Uint8Array>(directory, options, fixedSources(100 + i, 1_800_000_000_000 + i * 1000))
    } else if ('place' in step) {
      if (log.startOffset === log.endOffset) continue
      const offset = log.startOffset + Math.floor(step.place * (log.endOffset - log.startOffset - 1))
      await (step.kind === 'before' ? log.truncateBefore(offset) : log.truncateAfter(offset))
    }
  }
  return log
}

/** Files as they count: without the lock record, the derived ends and reserved space. */
function comparable(directory: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const [name, content] of readFiles(directory)) {
    if (name === 'LOCK' || name === 'COMMITTED' || name.endsWith('.tmp')) continue
    let end = content.length
    if (name.endsWith('.log')) while (end > 0 && content[end - 1] === 0) end--
    files.set(name, content.subarray(0, end).toString('hex'))
  }
  return files
}

/** What a backend makes of an image: records, or the error; and the files it leaves. */
function outcome(work: Workplace, image: Image, backend: Backend): unknown {
  work.restore(image)
  let log: SyncLog
  try {
    log = SyncLog.open(work.directory, backend, OPTIONS)
  } catch (error) {
    if (!isLogError(error)) throw error
    return { code: error.code, file: error.file, position: error.position, offset: error.offset, endOffset: error.endOffset, message: error.message }
  }
  const { records, error } = log.scan()
  const facts = { start: log.startOffset, end: log.committedOffset, epoch: log.epoch }
  const singles = records.map((record) => text(log.getSync(record.offset)?.value ?? new Uint8Array(0)))
  log.release()
  return { ...facts, records, singles, error: error && { code: error.code, position: error.position, offset: error.offset }, files: comparable(work.directory) }
}

describe.runIf(both)('both backends write the same files and read each other’s', () => {
  it(
    'the same groups, timestamps, salts and clock give byte-identical segments, MANIFEST and indexes: while open, and closed',
    async () => {
      await fc.assert(
        fc.asyncProperty(history, async (given) => {
          const logs = [await play(given, 'native'), await play(given, 'js')]
          try {
            // Full segments of mode flush are closed in the background, in their own time.
            for (const log of logs) await log.sync()
            expect(comparable(logs[1].directory)).toEqual(comparable(logs[0].directory))
          } finally {
            for (const log of logs) await log.close()
          }
          expect(readFiles(logs[1].directory).size).toBe(readFiles(logs[0].directory).size)
          expect(comparable(logs[1].directory)).toEqual(comparable(logs[0].directory))
          for (const [i, reader] of (['js', 'native'] as const).entries()) {
            const view = await Log.openReader(logs[i].directory, { backend: reader })
            const other = await Log.openReader(logs[i].directory, { backend: logs[i].backend })
            expect(await readAll(view)).toEqual(await readAll(other))
            await view.close()
            await other.close()
          }
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: process.env.SEALOG_MODEL_SHRINK === undefined },
      )
    },
    Math.max(180_000, RUNS * 4000),
  )

  it(
    'torn, cut and flipped: both come to the same records or the same error, and leave the same files behind',
    async () => {
      const work = new Workplace()
      const damage = fc.record({
        cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
        flips: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
        which: fc.nat(),
        committed: fc.boolean(),
      })
      await fc.assert(
        fc.asyncProperty(
          history,
          fc.array(damage, { minLength: 30, maxLength: 60, size: 'max' }),
          fc.constantFrom(...backends),
          async (given, damages, writer) => {
            const log = await play(given, writer)
            const image: Image = readFiles(log.directory)
            await log.close()
            const segments = [...image.keys()].filter((name) => name.endsWith('.log')).sort()
            if (segments.length === 0) return
            for (const { cut, flips, which, committed } of damages) {
              // Mostly the last segment, where torn and rotten have to be told apart.
              const name = which % 3 === 0 ? segments[which % segments.length] : segments[segments.length - 1]
              let content = Uint8Array.from(image.get(name) as Uint8Array)
              let used = content.length
              while (used > 0 && content[used - 1] === 0) used--
              if (cut !== null) content = content.slice(0, Math.floor(cut * (used + 8)))
              for (const flip of flips) content[Math.floor(flip * (Math.min(used, content.length) - 1))] ^= 1 << (Math.floor(flip * 7919) % 8)
              const damaged = withFile(committed ? image : withFile(image, 'COMMITTED', undefined), name, content)
              expect(outcome(work, damaged, 'js')).toEqual(outcome(work, damaged, 'native'))
            }
          },
        ),
        { numRuns: RUNS, seed: SEED + 1, endOnFailure: process.env.SEALOG_MODEL_SHRINK === undefined },
      )
    },
    Math.max(180_000, RUNS * 8000),
  )
})
