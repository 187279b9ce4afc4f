/** Compaction that folds runs of updates: as in a change feed, an insert never moves before its time. */
import fs from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { Log } from '../../lib/index.js'
import { verify } from '../../lib/log/maintenance.js'
import type { Key, Store } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf } from '../support/logs.js'
import { Random } from '../support/random.js'
import { openJson, snapshotPath, withStore } from './stores.js'

type Sum = { n: number; text?: string }

const OPTIONS = { segmentBytes: 2048, idleMarkMs: 3_600_000, snapshotBytes: false, compaction: false } as const
const add = (older: unknown, newer: unknown): unknown => ({ n: (older as Sum).n + (newer as Sum).n })

vi.setConfig({ testTimeout: 120_000 })
process.removeAllListeners('warning')

interface Row {
  readonly offset: number
  readonly key: string
  /** undefined: a tombstone. */
  readonly n: number | undefined
}

async function rowsOf(directory: string, backend: 'native' | 'js'): Promise<Row[]> {
  const reader = await Log.openReader<Sum | null>(directory, { backend })
  const rows: Row[] = []
  for await (const { offset, key, tombstone, value } of reader.read()) {
    rows.push({
      offset,
      key: Buffer.from(key ?? [])
        .toString('latin1')
        .slice(1),
      n: tombstone ? undefined : (value?.n ?? -1),
    })
  }
  await reader.close()
  return rows
}

/** A consumer that adds up all puts of a key since its last deletion. */
function totals(rows: readonly Row[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { key, n } of rows) {
    if (key === '') sums.clear()
    else if (n === undefined) sums.delete(key)
    else sums.set(key, (sums.get(key) ?? 0) + n)
  }
  return sums
}

async function put(store: Store<unknown>, ...changes: (readonly [Key, number] | Key)[]): Promise<void> {
  for (const change of changes) {
    if (Array.isArray(change)) await store.put(change[0], { n: change[1] })
    else await store.delete(change as Key)
  }
}

describe.each(backends)('merging compaction (%s)', (backend) => {
  it('first puts and deletions stay where they are, runs behind them fold to their last put', async () => {
    const directory = freshPath()
    await withStore<unknown, void>(directory, backend, OPTIONS, async (store) => {
      await put(store, ['a', 1], ['b', 1], ['a', 2], ['a', 4], ['b', 2], ['a', 8], 'a', ['a', 16], ['a', 32], ['b', 4], ['a', 64])
      await store.clear()
      await put(store, ['b', 8], ['b', 16], ['b', 32])
      for (let i = 0; i < 60; i++) await store.put(`filler ${i}`, { n: 0, text: 'x'.repeat(100) })
      const { recordsRemoved } = await store.compact({ keepCompleteChunks: 0, tombstoneMs: 0, merge: add })
      expect(recordsRemoved).toBe(5)
      expect(await store.get('b')).toEqual({ n: 48 })
      expect(store.getSync('b')).toEqual({ n: 48 })
    })
    const rows = (await rowsOf(directory, backend)).slice(0, 10).map(({ offset, key, n }) => [offset, key, n])
    expect(rows).toEqual([
      [0, 'a', 1],
      [1, 'b', 1],
      [5, 'a', 14],
      [6, 'a', undefined],
      [7, 'a', 16],
      [9, 'b', 6],
      [10, 'a', 96],
      [11, '', undefined],
      [12, 'b', 8],
      [14, 'b', 48],
    ])
  })

  it('undefined, and what would be too large, keeps both; a function that throws ends the pass and changes nothing', async () => {
    const directory = freshPath()
    const options = { ...OPTIONS, maxRecordBytes: 400, maxBatchBytes: 1000 }
    await withStore<unknown, void>(directory, backend, options, async (store) => {
      await put(store, ['a', 1], ['a', 2], ['a', 3], ['a', 4], ['a', 5])
      await store.put('b', { n: 1, text: 'x'.repeat(300) })
      await store.put('b', { n: 1, text: 'x'.repeat(300) })
      await store.put('b', { n: 1, text: 'x'.repeat(300) })
      for (let i = 0; i < 40; i++) await store.put(`filler ${i}`, { n: 0, text: 'x'.repeat(100) })
      const before = await rowsOf(directory, backend)
      const failing = store.compact({
        keepCompleteChunks: 0,
        merge: () => {
          throw new Error('no')
        },
      })
      await expect(failing).rejects.toThrow('no')
      expect(await codeOf(() => store.compact({ keepCompleteChunks: 0, merge: () => 1n as never }))).toBe('ERR_SEALOG_VALUE')
      expect(await rowsOf(directory, backend)).toEqual(before)
      expect(fs.readdirSync(`${directory}/segments`).filter((name) => name.endsWith('.log.tmp'))).toEqual([])
      const merge = (older: unknown, newer: unknown): unknown => {
        const [a, b] = [older as Sum, newer as Sum]
        if (b.n === 4) return undefined
        return { n: a.n + b.n, ...(a.text === undefined ? {} : { text: a.text + b.text }) }
      }
      expect((await store.compact({ keepCompleteChunks: 0, merge })).recordsRemoved).toBe(2)
    })
    const rows = await rowsOf(directory, backend)
    expect(rows.filter(({ key }) => key === 'a').map(({ n }) => n)).toEqual([1, 5, 9])
    expect(rows.filter(({ key }) => key === 'b')).toHaveLength(3)
  })

  it('random feeds, windows, passes, iterators and reopening: every consumer gets the same sums, and an insert stays the first', async () => {
    const random = new Random(3)
    const directory = freshPath()
    let store = await openJson(directory, backend, { ...OPTIONS, durability: 'flush' })
    const plain: Row[] = []
    let removed = 0
    for (let round = 0; round < 40; round++) {
      const view = store.entries()
      const expected: unknown[] = []
      const watched = random.chance(0.3)
      if (watched) {
        for await (const entry of store.entries()) expected.push(entry)
        if (expected.length > 0) expected.shift()
        await view.next()
      }
      for (let i = random.below(60); i > 0; i--) {
        const key = `k${random.below(12)}`
        const offset = store.committedOffset
        if (random.chance(0.85)) {
          const n = 1 + random.below(100)
          await store.put(key, { n })
          plain.push({ offset, key, n })
        } else if (random.chance(0.9)) {
          if (await store.delete(key)) plain.push({ offset, key, n: undefined })
        } else if (store.size > 0) {
          await store.clear()
          plain.push({ offset, key: '', n: undefined })
        }
      }
      if (random.chance(0.5))
        removed += (await store.compact({ keepCompleteChunks: random.below(2), merge: add, windowBytes: random.chance(0.5) ? 5000 : undefined })).recordsRemoved
      const rows = await rowsOf(directory, backend)
      expect(totals(rows)).toEqual(totals(plain))
      // What is first behind a deletion is the same record, with the same value.
      const firsts = (all: readonly Row[]) => all.filter(({ key, n }, i) => n === undefined || isFirst(all, i, key))
      expect(firsts(rows)).toEqual(firsts(plain))
      if (watched) {
        const seen: unknown[] = []
        for await (const entry of view) seen.push(entry)
        expect(seen).toEqual(expected)
      }
      if (random.chance(0.2)) {
        await store.close()
        if (random.chance(0.5)) fs.rmSync(snapshotPath(directory), { force: true })
        store = await openJson(directory, backend, { ...OPTIONS, durability: 'flush' })
      }
    }
    await store.close()
    expect(removed).toBeGreaterThan(200)
    expect(await verify(directory, { backend })).toMatchObject({ ok: true })
  })

  it('the event loop has its turn while a slow function folds', async () => {
    await withStore<unknown, void>(freshPath(), backend, { ...OPTIONS, durability: 'flush', segmentBytes: 65536 }, async (store) => {
      for (let i = 0; i < 900; i++) await store.put('k', { n: 1, text: 'x'.repeat(100) })
      let turns = 0
      let folds = 0
      let over = false
      const turn = () => {
        turns++
        if (!over) setImmediate(turn)
      }
      turn()
      const merge = (older: unknown, newer: unknown): unknown => {
        folds++
        for (const end = performance.now() + 1; performance.now() < end; );
        return add(older, newer)
      }
      await store.compact({ keepCompleteChunks: 0, merge })
      over = true
      expect(folds).toBeGreaterThan(300)
      // At most three folds of a millisecond each in one turn.
      expect(turns).toBeGreaterThan(folds / 4)
    })
  })
})

function isFirst(rows: readonly Row[], at: number, key: string): boolean {
  for (let i = at - 1; i >= 0; i--) {
    if (rows[i].key === '') return true
    if (rows[i].key === key) return rows[i].n === undefined
  }
  return true
}
