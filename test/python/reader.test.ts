/** A reader written from docs/format.md alone, in Python, agrees with both backends about every record, and names the damage that they name. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Log, type Record, repair } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { copyDirectory, freshPath } from '../support/directories.js'
import { codeOf, readAll, segmentPath } from '../support/logs.js'

const reader = fileURLToPath(new URL('sealog_reader.py', import.meta.url))
const python = findPython()

interface Report {
  readonly status: number | null
  readonly rows: ReadonlyArray<{ readonly type: string; readonly [name: string]: unknown }>
}

function findPython(): boolean {
  const { status, error } = spawnSync('python3', ['--version'])
  if (status === 0) return true
  console.warn(`SKIPPED: the independent reader: python3 cannot be run (${error?.message ?? `exit code ${status}`})`)
  return false
}

function runReader(directory: string, ...options: string[]): Report {
  const { status, stdout, stderr } = spawnSync('python3', ['-B', reader, directory, ...options], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (stderr !== '') throw new Error(stderr)
  return {
    status,
    rows: stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  }
}

const summaryOf = ({ rows }: Report) => rows.find((row) => row.type === 'summary')
const problemsOf = ({ rows }: Report) => rows.filter((row) => row.type === 'problem')
const base64 = (value: Uint8Array) => Buffer.from(value).toString('base64')

/** A record as the Python reader prints it. */
function printed({ offset, timestamp, batch, tombstone, key, value }: Record<Uint8Array>) {
  return { type: 'record', offset, timestamp, batch, tombstone, key: key === undefined ? null : base64(key), value: base64(value) }
}

const value = (seed: number, length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31) & 255)

/** Keys, batches, tombstones, own timestamps, large and empty values, marks, rolls, chunks, cuts at both ends. */
async function writeEverything(directory: string, backend: Backend): Promise<void> {
  const options = { backend, segmentBytes: 32 * 1024, indexIntervalBytes: 512, chunkBytes: 3000 } as const
  let log = await Log.open(directory, options)
  for (let i = 0; i < 60; i++) log.enqueue(value(i, (i * 37) % 400), i % 3 === 0 ? { key: `key ${i % 7}`, timestamp: 1_700_000_000_000 + i * 1000 } : {})
  await log.appendBatch([value(1, 10), value(2, 0), value(3, 999)])
  await log.close()
  log = await Log.open(directory, { ...options, durability: 'flush' })
  for (let round = 0; round < 12; round++) {
    await log.appendRecords([
      { value: value(round, 700), key: '' },
      { key: new Uint8Array([0, 255, round]), tombstone: true, timestamp: 5 },
      { value: value(round, 1), key: 'k'.repeat(500) },
    ])
    await log.append(value(round, 3000))
    if (round === 5) await log.sync()
  }
  await log.append(value(99, 20_000))
  await log.close()
  log = await Log.open(directory, options)
  await log.appendBatch([value(4, 50), value(5, 50), value(6, 50)])
  await Promise.all(Array.from({ length: 9 }, (_, i) => log.append(value(i, 100))))
  await log.truncateAfter(log.endOffset - 4)
  await log.append(value(7, 40), { key: 'behind the cut' })
  await log.truncateBefore(30)
  await log.close()
}

/** Damages one byte of a file. */
function flip(file: string, position: number): void {
  const bytes = readFileSync(file)
  bytes[position] ^= 16
  writeFileSync(file, bytes)
}

describe.skipIf(!python).each(backends)('the reader in Python, a log of backend %s', (backend) => {
  test('agrees about every record, and finds header, chain, footer, MANIFEST, COMMITTED and index of every segment in order', async () => {
    const directory = freshPath('python')
    await writeEverything(directory, backend)
    const report = runReader(directory, '--records')
    expect(problemsOf(report)).toEqual([])
    const log = await Log.openReader(directory, { backend })
    const records = (await readAll(log)).map(printed)
    expect(report.rows.filter((row) => row.type === 'record')).toEqual(records)
    expect(records.length).toBeGreaterThan(80)
    const segments = report.rows.filter((row) => row.type === 'segment')
    expect(segments.length).toBeGreaterThanOrEqual(3)
    expect(summaryOf(report)).toEqual({
      type: 'summary',
      ok: true,
      records: records.length,
      startOffset: log.startOffset,
      endOffset: log.endOffset,
      epoch: log.epoch,
      segments: segments.length,
      indexes: segments.length,
      torn: null,
      damagedMarks: 0,
    })
    expect(log.startOffset).toBe(30)
    expect(log.epoch).toBe(2)
    expect(segments.at(-1)).toMatchObject({ complete: false, marked: true, max_synced: log.endOffset })
    expect(report.rows[0]).toMatchObject({ type: 'log', slots: { committed: log.endOffset, durable: log.endOffset } })
    expect(report.status).toBe(0)
    await log.close()
  })

  test('verifies what a killed writer leaves: reserved space, no mark', async () => {
    const directory = freshPath('python')
    const log = await Log.open(directory, { backend, idleMarkMs: 3_600_000 })
    for (let i = 0; i < 20; i++) await log.append(value(i, 300))
    const copy = copyDirectory(directory)
    const report = runReader(copy)
    expect(summaryOf(report)).toMatchObject({ ok: true, records: 20, endOffset: 20, torn: null })
    await log.close()
  })

  test('reads what salvage leaves, a sparse segment and lost ranges, as the backend does', async () => {
    const directory = freshPath('python')
    const log = await Log.open(directory, { backend, segmentBytes: 2048 })
    for (let i = 0; i < 4; i++) await log.append(value(i, 40), { key: `k${i}` })
    await log.appendBatch([value(4, 40), value(5, 40), value(6, 40)])
    while (log.stats().segments < 3) await log.append(value(9, 90))
    await log.close()
    // The second record: 128 header, 24 + 44 padded to 72, commit 56.
    flip(segmentPath(directory, 0), 128 + 72 + 56 + 40)
    expect(problemsOf(runReader(directory))[0]).toMatchObject({ offset: 1, why: 'checksum' })
    const { lost } = await repair(directory, { policy: 'salvage', backend })
    expect(lost).toEqual([{ from: 1, to: 2 }])
    const report = runReader(directory, '--records')
    expect(problemsOf(report)).toEqual([])
    expect(report.rows.find((row) => row.type === 'segment')).toMatchObject({ base: 0, generation: 1, sparse: true, complete: true })
    const view = await Log.openReader(directory, { backend })
    const kept = [...(await readAll(view, { to: 1 })), ...(await readAll(view, { from: 2 }))].map(printed)
    expect(report.rows.filter((row) => row.type === 'record')).toEqual(kept)
    expect(kept.slice(3, 6).map(({ offset, batch }) => [offset, batch])).toEqual([
      [4, 4],
      [5, 4],
      [6, 4],
    ])
    expect(await codeOf(() => view.get(1))).toBe('ERR_SEALOG_LOST')
    await view.close()
  })

  test('calls an unfinished write torn, as recovery does', async () => {
    const directory = freshPath('python')
    const log = await Log.open(directory, { backend })
    for (let i = 0; i < 5; i++) await log.append(value(i, 300))
    await log.close()
    const file = segmentPath(directory, 0)
    // The mark and half of the last group.
    truncateSync(file, readFileSync(file).length - 56 - 100)
    // COMMITTED knows that the group was durable; a torn write has no such witness.
    unlinkSync(path.join(directory, 'COMMITTED'))
    const report = runReader(directory)
    expect(summaryOf(report)).toMatchObject({ ok: true, records: 4, endOffset: 4, torn: { file: 'segments/00000000000000000000.log' } })
    const recovered = await Log.open(directory, { backend })
    expect(recovered.endOffset).toBe(4)
    await recovered.close()
    const after = runReader(directory)
    expect(summaryOf(after)).toMatchObject({ ok: true, records: 4, endOffset: 4, torn: null })
    expect(readdirSync(directory).filter((name) => name.includes('.torn-'))).toHaveLength(1)
  })

  test('calls the same rot when COMMITTED proves that it was durable, as recovery does', async () => {
    const directory = freshPath('python')
    const log = await Log.open(directory, { backend })
    for (let i = 0; i < 5; i++) await log.append(value(i, 300))
    await log.close()
    const file = segmentPath(directory, 0)
    truncateSync(file, readFileSync(file).length - 56 - 100)
    const report = runReader(directory)
    expect(report.status).toBe(1)
    expect(problemsOf(report)).toEqual([expect.objectContaining({ offset: 4, why: expect.stringContaining('COMMITTED') })])
    expect(await codeOf(() => Log.open(directory, { backend }))).toBe('ERR_SEALOG_CORRUPT')
  })

  test('passes a damaged mark that a later group follows', async () => {
    const directory = freshPath('python')
    for (const round of [0, 1]) {
      const log = await Log.open(directory, { backend })
      await log.append(value(round, 100))
      await log.close()
    }
    // Header 128, record 24 + 104, commit 56: the first mark begins at 312.
    flip(segmentPath(directory, 0), 312 + 30)
    expect(summaryOf(runReader(directory))).toMatchObject({ ok: true, records: 2, damagedMarks: 1 })
    const log = await Log.open(directory, { backend })
    expect(log.endOffset).toBe(2)
    await log.close()
    expect(summaryOf(runReader(directory))).toMatchObject({ ok: true, records: 2, damagedMarks: 0 })
  })

  test('names file, position and offset of damage in closed and unclosed segments, MANIFEST and index', async () => {
    const directory = freshPath('python')
    await writeEverything(directory, backend)
    const { rows } = runReader(directory, '--records')
    const segments = rows.filter((row) => row.type === 'segment') as unknown as Array<{ name: string; base: number; complete: boolean }>
    const [closed] = segments
    const active = segments[segments.length - 1]
    expect([closed.complete, active.complete]).toEqual([true, false])

    const damaged = (name: string, position: number) => {
      const copy = copyDirectory(directory)
      flip(path.join(copy, name), position)
      const report = runReader(copy)
      expect(report.status).toBe(1)
      return problemsOf(report)
    }
    expect(damaged(closed.name, 128 + 30)[0]).toMatchObject({ file: closed.name, position: 128, offset: closed.base, why: 'checksum' })
    expect(damaged(closed.name, 20)[0]).toMatchObject({ file: closed.name, position: 0, why: 'header: checksum' })
    expect(damaged(active.name, 128 + 30)[0]).toMatchObject({ file: active.name, position: 128, offset: active.base })
    expect(damaged('MANIFEST', 90)[0]).toMatchObject({ file: 'MANIFEST', position: 64 })
    const index = closed.name.replace(/log$/, 'index')
    expect(damaged(index, 32 + 5)[0]).toMatchObject({ file: index, position: 32, why: 'index: checksum' })
  })

  test('misses no damaged byte of a closed segment', async () => {
    const directory = freshPath('python')
    const log = await Log.open(directory, { backend, segmentBytes: 1024 })
    while (log.stats().segments < 2) await log.append(value(1, 90), { key: 'k' })
    await log.close()
    const file = path.join('segments', '00000000000000000000.log')
    const original = readFileSync(path.join(directory, file))
    const copy = copyDirectory(directory)
    // One process for all of them: the reader's own classes, driven by a loop in Python.
    const script = `
import sys; sys.path.insert(0, ${JSON.stringify(path.dirname(reader))})
import sealog_reader
name = ${JSON.stringify(path.join(copy, file))}
original = open(name, 'rb').read()
missed = []
for at in range(len(original)):
    damaged = bytearray(original); damaged[at] ^= 1 << at % 8
    open(name, 'wb').write(damaged)
    log = sealog_reader.Log(${JSON.stringify(copy)}); log.read()
    if not log.problems: missed.append(at)
print(len(original), missed)
`
    expect(execFileSync('python3', ['-B', '-c', script], { encoding: 'utf8' })).toBe(`${original.length} []\n`)
  })
})

test.skipIf(!python)('the reader in Python says what is wrong with its command line', () => {
  expect(spawnSync('python3', ['-B', reader]).status).toBe(2)
})
