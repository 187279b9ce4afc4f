/**
 * The test lists of the documents that sealog answers to, by their names, over a Store and the log below it: the write-ahead log and offset index of one, the payload log of
 * another, the two-tier cache of a third. OrderedTable, their table in memory, has its list in ordered-table.test.ts. Each is short; the suites named after a rule go further.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Log } from '../../lib/index.js'
import { Store } from '../../lib/store/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, offsets, text, withLog } from '../support/logs.js'
import { keysOf, openJson, snapshotPath, withStore } from './stores.js'

describe.each(backends)('Index, the sparse offset index of a log (%s)', (backend) => {
  /** A log of 100 records of about 100 bytes, with an index entry for every few of them. */
  const filled = async (directory: string, use: (log: Log) => Promise<void>) => {
    await withLog(directory, { backend, indexIntervalBytes: 512, segmentBytes: 4096 }, async (log) => {
      for (let i = 0; i < 100; i++) log.enqueue(bytes(`record ${i} `.padEnd(70, '.')))
      await log.flush()
      await use(log)
    })
  }

  it('S18a AddAndLookup', () =>
    filled(freshPath(), async (log) => {
      const base = new Float64Array(1)
      for (let i = 0; i < 100; i++) {
        const record = log.getSync(i)
        expect(text(record?.value as Uint8Array)).toMatch(`record ${i} `)
        expect(log.index.lookup(i, base)).toBeGreaterThan(0)
        expect(base[0]).toBeLessThanOrEqual(i)
      }
    }))

  it('S18b Sync, S18f Persistence: an index file lies beside every closed segment, and is as good as none', async () => {
    const directory = freshPath()
    await filled(directory, async () => {})
    const files = readdirSync(path.join(directory, 'segments'))
    expect(files.filter((name) => name.endsWith('.index')).length).toBeGreaterThan(1)
    await withLog(directory, { backend }, async (log) => {
      for (let i = 0; i < 100; i++) expect(log.getSync(i)?.offset).toBe(i)
    })
  })

  it('S18c Truncate', () =>
    filled(freshPath(), async (log) => {
      await log.truncateAfter(40)
      expect([log.endOffset, log.getSync(40)?.offset, log.getSync(41)]).toEqual([41, 40, undefined])
      expect(log.index.lookup(41)).toBe(-1)
    }))

  it('S18d EmptyLookup', () =>
    withLog(freshPath(), { backend }, async (log) => {
      expect([log.index.lookup(0), log.getSync(0)]).toEqual([-1, undefined])
    }))

  it('S18e OutOfRange', () =>
    filled(freshPath(), async (log) => {
      for (const offset of [100, 5000]) expect([log.index.lookup(offset), log.getSync(offset)]).toEqual([-1, undefined])
    }))
})

describe.each(backends)('WAL (%s)', (backend) => {
  it('S20a AppendAndRead', () =>
    withLog(freshPath(), { backend }, async (log) => {
      expect([await log.append(bytes('a')), await log.append(bytes('b'))]).toEqual([0, 1])
      expect(text((await log.get(1))?.value as Uint8Array)).toBe('b')
    }))

  it('S20b Sync', () =>
    withLog(freshPath(), { backend, durability: 'flush' }, async (log) => {
      await log.append(bytes('a'))
      await log.sync()
      expect(log.durableOffset).toBe(1)
    }))

  it('S20c SegmentRoll', () =>
    withLog(freshPath(), { backend, segmentBytes: 1024 }, async (log) => {
      for (let i = 0; i < 50; i++) await log.append(new Uint8Array(100))
      expect(log.stats().segments).toBeGreaterThan(4)
      expect(await offsets(log)).toEqual(Array.from({ length: 50 }, (_, i) => i))
    }))

  it('S20d Truncate', () =>
    withLog(freshPath(), { backend, segmentBytes: 1024 }, async (log) => {
      for (let i = 0; i < 50; i++) await log.append(new Uint8Array(100))
      expect([await log.truncateBefore(30), await log.truncateAfter(40)]).toEqual([30, 41])
      expect(await offsets(log)).toEqual(Array.from({ length: 11 }, (_, i) => 30 + i))
    }))

  it('S20e Reopen', async () => {
    const directory = freshPath()
    await withLog(directory, { backend }, (log) => log.append(bytes('a')))
    await withLog(directory, { backend }, async (log) => expect([await log.append(bytes('b')), text(log.getSync(0)?.value as Uint8Array)]).toEqual([1, 'a']))
  })
})

describe.each(backends)('payload log (%s)', (backend) => {
  it('V32, V33 store and retrieve; V36 delete; V39 ids', () =>
    withStore<unknown, void>(freshPath(), backend, {}, async (store) => {
      for (const id of [3, 1, 2]) await store.put(id, { id })
      expect(await store.get(2)).toEqual({ id: 2 })
      expect([await store.delete(2), await store.delete(2), await store.get(2)]).toEqual([true, false, undefined])
      expect(await keysOf(store)).toEqual([1, 3])
    }))

  it('V28 store_batch, V31 of nothing, V30 deferred', () =>
    withStore(freshPath(), backend, { durability: 'fsync' }, async (store) => {
      const { syncs } = store.stats().log
      await store.putBatch(Array.from({ length: 500 }, (_, i) => ({ key: i, value: i })))
      expect([store.size, store.stats().log.syncs - syncs]).toEqual([500, 1])
      expect(await store.putBatch([])).toEqual({ first: 500, last: 499 })
      await store.putBatchDeferred([{ key: 'later', value: 1 }])
      await store.flush()
      expect(store.getSync('later')).toBe(1)
    }))

  it('V38, T11 flush syncs in every mode', async () => {
    for (const durability of ['fsync', 'flush', 'none'] as const)
      await withStore(freshPath(), backend, { durability, syncIntervalMs: 3_600_000 }, async (store) => {
        await store.put('a', 1)
        const testing = testingOf(backend)
        testing.resetCounts()
        await store.flush()
        expect(store.stats().log.durableOffset).toBe(1)
        if (durability !== 'fsync') expect((testing.counts().datasync ?? 0) + (testing.counts().sync ?? 0)).toBeGreaterThan(0)
      })
  })

  it('V20, V21, V25 snapshot: only what comes after it is replayed', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, async (store) => {
      for (let i = 0; i < 100; i++) void store.put(i, i)
      await store.flush()
      expect(await store.snapshot()).toMatchObject({ endOffset: 100, entries: 100 })
      await store.put('after', 1)
    })
    expect(readdirSync(directory)).toContain(path.basename(snapshotPath(directory)))
    await withStore(directory, backend, {}, async (store) => {
      expect([store.size, store.getSync(99), store.getSync('after')]).toEqual([101, 99, 1])
      expect(store.stats().snapshot?.endOffset).toBe(100)
    })
  })

  it('V35 what is no JSON, V42 what is too large', () =>
    withStore<unknown, void>(freshPath(), backend, { maxRecordBytes: 1000 }, async (store) => {
      expect(await codeOf(() => store.put('a', bytes('{')))).toBe('ERR_SEALOG_VALUE')
      expect(await codeOf(() => store.put('a', 'x'.repeat(1000)))).toBe('ERR_SEALOG_RECORD_TOO_LARGE')
      expect(store.size).toBe(0)
    }))
})

describe.each(backends)('two-tier cache (%s)', (backend) => {
  it('C13, C14 hot 5,000 and warm 50,000 records by default; C19 together 55,000', async () => {
    const store = await Store.open(freshPath(), { backend, durability: 'flush' })
    for (let i = 0; i < 56_000; i += 4000) await store.putBatch(Array.from({ length: 4000 }, (_, j) => ({ key: i + j, value: bytes('x') })))
    for (let i = 0; i < 56_000; i++) store.getSync(i)
    expect(store.stats().recordCache).toMatchObject({ hot: { size: 5000 }, warm: { size: 50_000 }, evictions: { records: 1000 } })
    await store.close()
  })

  it('C18 hot, then warm with promotion, then the log; C16, C28 hits and misses of each tier', async () => {
    const store = await openJson(freshPath(), backend, { recordCache: { hot: { records: 1 }, warm: { records: 1 } } })
    await store.put('a', 1)
    await store.put('b', 2)
    for (const key of ['a', 'b', 'a', 'a']) store.getSync(key)
    expect(store.stats().recordCache).toMatchObject({ hot: { hitCount: 1 }, warm: { hitCount: 1 }, missCount: 2 })
    await store.close()
  })
})
