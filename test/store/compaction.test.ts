/** Compaction: nothing that anybody can read changes, and what nobody can read goes. */
import fs, { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it, vi } from 'vitest'
import { parseSegmentFile } from '../../lib/format/names.js'
import { Log } from '../../lib/index.js'
import { verify } from '../../lib/log/maintenance.js'
import type { BatchEntry, Store, StoreOptions } from '../../lib/store/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf, range, until } from '../support/logs.js'
import { Random } from '../support/random.js'
import { Changes, entriesOf, openJson, snapshotPath, withStore } from './stores.js'

const OPTIONS = { segmentBytes: 2048, idleMarkMs: 3_600_000, snapshotBytes: false, compaction: false } as const
/** Everything that can go, at once. */
const ALL = { keepCompleteChunks: 0, tombstoneMs: 0 } as const

vi.setConfig({ testTimeout: 120_000 })
process.removeAllListeners('warning')

const segmentFiles = (directory: string) => fs.readdirSync(path.join(directory, 'segments')).filter((name) => parseSegmentFile(name) !== undefined)
const generations = (directory: string) => segmentFiles(directory).map((name) => parseSegmentFile(name)?.generation)
const bytesOf = (directory: string) => segmentFiles(directory).reduce((sum, name) => sum + fs.statSync(path.join(directory, 'segments', name)).size, 0)

/** Many versions of few keys, and deletions. */
async function fill(store: Store<unknown>, changes: Changes, count: number, keys = 10): Promise<void> {
  for (let i = 0; i < count; i++) {
    const key = `key ${i % keys}`
    if (i % 7 === 3 && store.has(key)) {
      changes.delete(changes.length, key)
      await store.delete(key)
    } else {
      changes.put(changes.length, key, { i, text: 'x'.repeat(i % 50) })
      await store.put(key, { i, text: 'x'.repeat(i % 50) })
    }
  }
}

/** Opened anew, with the snapshot and by a full replay, the store holds this; every frame verifies. */
async function expectReopened(directory: string, options: StoreOptions & { backend: 'native' | 'js' }, expected: [string, unknown][]): Promise<void> {
  expect(await verify(directory, { backend: options.backend })).toMatchObject({ ok: true, problems: [] })
  await withStore(directory, options.backend, { ...options, recovery: 'strict' }, async (store) => expect(await entriesOf(store)).toEqual(expected))
  fs.rmSync(snapshotPath(directory), { force: true })
  await withStore(directory, options.backend, options, async (store) => expect(await entriesOf(store)).toEqual(expected))
}

describe.each(backends)('compaction (%s)', (backend) => {
  const options = { ...OPTIONS, backend }

  it('versions and tombstones go, values and offsets stay; a second pass finds nothing', async () => {
    const directory = freshPath()
    const changes = new Changes()
    const store = await openJson(directory, backend, OPTIONS)
    for (let i = 0; i < 20; i++) {
      const key = i % 2 === 0 ? `once ${i}` : 'often'
      changes.put(i, key, i)
      await store.put(key, i)
    }
    await fill(store, changes, 380)
    const expected = changes.entries(changes.length)
    const before = bytesOf(directory)
    const steps: { segmentsDone: number; segmentsTotal: number; bytesFreed: number }[] = []
    const result = await store.compact({ ...ALL, onProgress: (step) => steps.push(step) })
    expect(result.segments).toBeGreaterThan(20)
    expect(result.bytesAfter).toBeLessThan(result.bytesBefore / 4)
    expect(before - bytesOf(directory)).toBe(result.bytesBefore - result.bytesAfter)
    expect(result.throughOffset).toBe(399)
    expect(steps.at(-1)).toMatchObject({ segmentsDone: steps[0].segmentsTotal, bytesFreed: result.bytesBefore - result.bytesAfter })
    expect(store.stats().compaction).toEqual({
      running: false,
      passes: 1,
      failures: 0,
      segments: result.segments,
      recordsRemoved: result.recordsRemoved,
      bytesFreed: result.bytesBefore - result.bytesAfter,
      throughOffset: 399,
    })
    expect(await entriesOf(store)).toEqual(expected)
    for (const [key, value] of expected) expect(store.getSync(key)).toEqual(value)
    // No index of a generation that is gone is left either.
    const stray = fs.readdirSync(path.join(directory, 'segments')).filter((name) => name.endsWith('.log.tmp') || /^\d{20}\.index$/.test(name))
    expect(stray.length).toBeLessThanOrEqual(generations(directory).filter((generation) => generation === 0).length)
    expect(await store.compact(ALL)).toMatchObject({ segments: 0, recordsRemoved: 0 })
    changes.put(changes.length, 'once 2', 'again')
    await store.put('once 2', 'again')
    await fill(store, changes, 100)
    expect((await store.compact(ALL)).recordsRemoved).toBeGreaterThan(0)
    expect(Math.max(...generations(directory).map(Number))).toBe(2)
    await store.close()
    await expectReopened(directory, options, changes.entries(changes.length))
  })

  it('what a consumer has not acknowledged stays as it was written', async () => {
    const directory = freshPath()
    await withStore(directory, backend, OPTIONS, async (store) => {
      for (let i = 0; i < 200; i++) await store.put(`k${i % 10}`, { i, text: 'x'.repeat(60) })
      const reader = await Log.openReader(directory, { backend })
      const consumer = await reader.consumer('mirror')
      expect(await store.compact(ALL)).toMatchObject({ segments: 0, recordsRemoved: 0 })
      await consumer.acknowledge(100)
      const offsets = async () => {
        const found: number[] = []
        const fresh = await Log.openReader(directory, { backend })
        for await (const record of fresh.read()) found.push(record.offset)
        await fresh.close()
        return found
      }
      expect((await store.compact(ALL)).recordsRemoved).toBeGreaterThan(0)
      const left = await offsets()
      expect(left.filter((offset) => offset < 100).length).toBeLessThan(100)
      expect(left.filter((offset) => offset >= 100)).toEqual(Array.from({ length: 100 }, (_, i) => 100 + i))
      await consumer.delete()
      const { segments } = await store.compact(ALL)
      expect(segments).toBeGreaterThan(0)
      expect((await offsets()).length).toBeLessThan(left.length)
      await reader.close()
    })
  })

  it('the past below the pass is a typed error, unless the present version answers', async () => {
    const directory = freshPath()
    await withStore(directory, backend, OPTIONS, async (store) => {
      await store.put('old', 1)
      for (let i = 0; i < 100; i++) await store.put('k', { i, text: 'x'.repeat(60) })
      expect(await store.get('k', { at: 50 })).toMatchObject({ i: 49 })
      const { throughOffset } = await store.compact(ALL)
      await store.put('k', 'new')
      for (const at of [0, 50, throughOffset - 1]) expect(await codeOf(() => store.get('k', { at }))).toBe('ERR_SEALOG_COMPACTED')
      await expect(store.get('k', { at: 50 })).rejects.toMatchObject({ offset: 50, compactedThrough: throughOffset })
      expect(await store.get('k', { at: throughOffset })).toMatchObject({ i: 99 })
      expect(await store.get('old', { at: 3 })).toBe(1)
      expect(await store.get('none', { at: throughOffset })).toBeUndefined()
    })
    await withStore(directory, backend, OPTIONS, async (store) => {
      expect(await codeOf(() => store.get('k', { at: 50 }))).toBe('ERR_SEALOG_COMPACTED')
    })
  })

  it('tombstones stay for their time and until nothing older is left; what is deleted never comes back', async () => {
    const directory = freshPath()
    const tombstones = async () => {
      const log = await Log.openReader(directory, { backend })
      let count = 0
      for await (const record of log.read()) if (record.tombstone) count++
      await log.close()
      return count
    }
    const gone = async () => {
      fs.rmSync(snapshotPath(directory), { force: true })
      await withStore(directory, backend, OPTIONS, async (store) => {
        expect(await entriesOf(store)).toEqual([['kept', 1]])
        await store.put('kept', 1)
      })
    }
    await withStore(directory, backend, OPTIONS, async (store) => {
      for (let i = 0; i < 30; i++) await store.put(`dead ${i}`, 'x'.repeat(60))
      for (let i = 0; i < 30; i++) await store.delete(`dead ${i}`)
      await store.put('filler', 'x'.repeat(1000))
      await store.clear()
      for (let i = 0; i < 60; i++) await store.put('kept', i)
      await store.put('kept', 1)
      await store.compact({ keepCompleteChunks: 0 })
    })
    expect(await tombstones()).toBe(31)
    await gone()
    await withStore(directory, backend, OPTIONS, async (store) => {
      // An iterator may lead to versions that are older than the tombstones.
      const open = store.entries()
      await open.next()
      await store.compact(ALL)
      expect(await tombstones()).toBe(31)
      await open.return?.()
      await store.compact(ALL)
    })
    expect(await tombstones()).toBe(0)
    await gone()
  })

  it('a tombstone stays while an older segment was not worth rewriting', async () => {
    const directory = freshPath()
    await withStore(directory, backend, OPTIONS, async (store) => {
      await store.put('dead', 1)
      for (let i = 0; i < 20; i++) await store.put(`live ${i}`, 'x'.repeat(100))
      await store.delete('dead')
      for (let i = 0; i < 60; i++) await store.put('often', 'x'.repeat(100))
      const { segments } = await store.compact({ ...ALL, minDeadRatio: 0.3 })
      expect(segments).toBeGreaterThan(0)
      expect(generations(directory)[0]).toBe(0)
    })
    fs.rmSync(snapshotPath(directory))
    await withStore(directory, backend, OPTIONS, async (store) => expect(store.has('dead')).toBe(false))
  })

  it.each([
    ['chunks', { seal: 'json', chunkBytes: 300 }, 6],
    ['bytes', { chunkBytes: 2048 }, 3],
  ] as const)('the newest segments are kept: by %s', async (_, given, keepCompleteChunks) => {
    const directory = freshPath()
    await withStore<unknown, void>(directory, backend, { ...OPTIONS, ...given }, async (store) => {
      for (let i = 0; i < 100; i++) await store.put('k', { i, text: 'x'.repeat(60) })
      const { segments } = await store.compact({ keepCompleteChunks })
      const all = generations(directory)
      expect(segments).toBe(all.filter((generation) => generation === 1).length)
      expect(segments).toBeGreaterThan(0)
      // The active one, and at least so many closed ones.
      expect(all.slice(-3)).toEqual([0, 0, 0])
      expect((await store.compact({ keepCompleteChunks: 1000 })).segments).toBe(0)
      expect((await store.compact({ keepCompleteChunks: 0 })).segments).toBeGreaterThan(0)
    })
  })

  it('iterators and readers go on over any number of passes', async () => {
    const directory = freshPath()
    const changes = new Changes()
    const store = await openJson(directory, backend, OPTIONS)
    await fill(store, changes, 200, 40)
    const started: { iterator: AsyncIterableIterator<unknown>; expected: unknown[]; seen: unknown[] }[] = []
    for (let round = 0; round < 5; round++) {
      const iterator = store.entries()
      const { value } = await iterator.next()
      started.push({ iterator, expected: changes.entries(changes.length), seen: [value] })
      await fill(store, changes, 120, 40)
      const running = store.compact(ALL)
      for (const one of started) one.seen.push((await one.iterator.next()).value)
      await running
    }
    for (const { iterator, expected, seen } of started) {
      for await (const entry of iterator) seen.push(entry)
      expect(seen).toEqual(expected)
    }
    await store.close()
    await expectReopened(directory, options, changes.entries(changes.length))
  })

  it('beside 8 writers and readers', async () => {
    const directory = freshPath()
    const store = await openJson<number>(directory, backend, { ...OPTIONS, durability: 'flush', segmentBytes: 8192 })
    let over = false
    const newest = new Map<string, number>()
    const writers = Array.from({ length: 8 }, async (_, w) => {
      for (let i = 0; i < 400; i++) {
        const key = `key ${w} ${i % 5}`
        await store.put(key, i)
        newest.set(key, i)
        const found = i % 2 === 0 ? await store.get(key) : store.getSync(key)
        expect(found).toBe(i)
      }
    })
    const reading = (async () => {
      while (!over) {
        const known = new Map(newest)
        for await (const [key, value] of store.entries()) expect(value).toBeGreaterThanOrEqual(known.get(key as string) ?? 0)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    let removed = 0
    while (newest.size < 40 || [...newest.values()].some((value) => value < 395)) {
      removed += (await store.compact(ALL)).recordsRemoved
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(writers)
    over = true
    await reading
    expect(removed).toBeGreaterThan(1000)
    const expected = [...newest].sort(([a], [b]) => (a < b ? -1 : 1))
    expect(await entriesOf(store)).toEqual(expected)
    await store.close()
    await expectReopened(directory, options, expected)
  })

  it('a full disk: a typed error, nothing left over, the store as it was', async () => {
    const directory = freshPath()
    const changes = new Changes()
    const testing = testingOf(backend)
    const store = await openJson(directory, backend, OPTIONS)
    await fill(store, changes, 200)
    await store.snapshot()
    testing.fault('write', 2, constants.errno.ENOSPC, true, 0)
    const code = await codeOf(() => store.compact(ALL))
    testing.clearFaults()
    expect(code).toBe('ERR_SEALOG_NO_SPACE')
    expect(fs.readdirSync(path.join(directory, 'segments')).filter((name) => name.endsWith('.log.tmp'))).toEqual([])
    expect(new Set(generations(directory))).toEqual(new Set([0]))
    expect([store.failure, store.stats().compaction.failures]).toEqual([undefined, 1])
    expect(await entriesOf(store)).toEqual(changes.entries(changes.length))
    expect((await store.compact(ALL)).segments).toBeGreaterThan(5)
    await store.close()
    await expectReopened(directory, options, changes.entries(changes.length))
  })

  it('close ends a pass, also one that waits for its rate limit or for another store', async () => {
    const directory = freshPath()
    const changes = new Changes()
    const store = await openJson(directory, backend, OPTIONS)
    const other = await openJson(freshPath(), backend, OPTIONS)
    await fill(store, changes, 200)
    let begun = () => {}
    const slow = new Promise<void>((resolve) => {
      begun = resolve
    })
    const pass = codeOf(() => store.compact({ ...ALL, bytesPerSecond: 1, onProgress: () => begun() }))
    await slow
    const waiting = codeOf(() => other.compact(ALL))
    await other.close()
    expect(await waiting).toBe('ERR_SEALOG_CLOSED')
    await store.close()
    expect(await pass).toBe('ERR_SEALOG_CLOSED')
    expect(await codeOf(() => store.compact())).toBe('ERR_SEALOG_CLOSED')
    expect(fs.readdirSync(path.join(directory, 'segments')).filter((name) => name.endsWith('.log.tmp'))).toEqual([])
    await expectReopened(directory, options, changes.entries(changes.length))
  })

  it('runs in the background when it is worth it, and reads nothing while it is not', async () => {
    const directory = freshPath()
    const changes = new Changes()
    const store = await openJson(directory, backend, { ...OPTIONS, compaction: { intervalMs: 5, keepCompleteChunks: 0 } })
    await fill(store, changes, 300)
    await until(() => store.stats().compaction.segments > 10, 'segments were compacted')
    await until(() => !store.stats().compaction.running, 'the pass has ended')
    const aWhile = async () => {
      let turns = 0
      await until(() => ++turns > 500, 'a while')
      await until(() => !store.stats().compaction.running, 'no pass is under way')
    }
    // What was written last may make one more pass worth it, whenever its turn comes; then there is nothing to do.
    const { passes } = store.stats().compaction
    const testing = testingOf(backend)
    let before: number
    do {
      before = store.stats().compaction.passes
      testing.resetCounts()
      await aWhile()
    } while (store.stats().compaction.passes !== before)
    expect(before - passes).toBeLessThanOrEqual(1)
    expect(testing.counts().write ?? 0).toBeLessThan(20)
    await store.close()
    await expectReopened(directory, options, changes.entries(changes.length))
  })

  it('a pass in the background that fails warns and is tried again; writes go on', async () => {
    const directory = freshPath()
    const changes = new Changes()
    const warnings: (string | undefined)[] = []
    const listener = (warning: Error & { code?: string }) => warnings.push(warning.code)
    process.on('warning', listener)
    const testing = testingOf(backend)
    const store = await openJson(directory, backend, OPTIONS)
    await fill(store, changes, 200)
    await store.close()
    const again = await openJson(directory, backend, { ...OPTIONS, compaction: { intervalMs: 5, keepCompleteChunks: 0 } })
    // Neither a snapshot nor a new generation gets its name.
    testing.fault('rename', 1, constants.errno.EIO, true, 0)
    await until(() => again.stats().compaction.failures > 1, 'two passes have failed')
    changes.put(changes.length, 'meanwhile', 1)
    await again.put('meanwhile', 1)
    testing.clearFaults()
    await until(() => again.stats().compaction.segments > 0, 'segments were compacted')
    process.off('warning', listener)
    expect(warnings).toContain('SEALOG_COMPACTION')
    await again.close()
    await expectReopened(directory, options, changes.entries(changes.length))
  })

  it('sealed chunks of what was rewritten are sealed again from it', async () => {
    const directory = freshPath()
    const store = await openJson(directory, backend, { ...OPTIONS, seal: 'json', chunkBytes: 600 })
    for (let i = 0; i < 150; i++) await store.put(`key ${i % 12}`, { i, text: 'x'.repeat(40) })
    const contents = () =>
      fs
        .readdirSync(path.join(directory, 'chunks'))
        .filter((name) => name.endsWith('.json'))
        .sort()
        .flatMap((name) => JSON.parse(readFileSync(path.join(directory, 'chunks', name), 'utf8')) as { i: number }[])
        .map(({ i }) => i)
    await until(() => store.stats().log.sealing.sealedChunks > 15, 'chunks were sealed')
    const { segments } = await store.compact(ALL)
    expect(segments).toBeGreaterThan(5)
    await store.close()
    const log = await Log.open<{ i: number }>(directory, { backend, codec: 'json', segmentBytes: 2048 })
    await log.chunks.seal()
    const kept: number[] = []
    for await (const record of log.read()) kept.push(record.value.i)
    expect(contents()).toEqual(kept)
    expect(kept.length).toBeLessThan(80)
    for (const chunk of await log.chunks.list()) {
      const found = await log.chunks.open(chunk.first)
      expect(found?.path).toBe(chunk.path)
      found?.close()
    }
    await log.close()
  })

  it('a pass beside the sealer leaves no chunk of the old files, and none of the new ones is forgotten', async () => {
    for (let round = 0; round < 10; round++) {
      const directory = freshPath()
      const store = await openJson(directory, backend, { ...OPTIONS, durability: 'flush', seal: 'json', chunkBytes: 400 })
      for (let i = 0; i < 150; i++) await store.put(`key ${i % 50}`, { i, text: 'x'.repeat(40) })
      await store.compact(ALL)
      const reader = await Log.openReader<{ i: number }>(directory, { backend })
      const kept: number[] = []
      for await (const { offset, value } of reader.read()) if (reader.segments.find(offset)?.closed) kept.push(value.i)
      await reader.close()
      expect(kept.length).toBeGreaterThan(30)
      const chunks = path.join(directory, 'chunks')
      const sealed = () =>
        fs
          .readdirSync(chunks)
          .filter((name) => name.endsWith('.json'))
          .sort()
          .flatMap((name) => JSON.parse(readFileSync(path.join(chunks, name), 'utf8')) as { i: number }[])
          .map(({ i }) => i)
      await until(() => JSON.stringify(sealed()) === JSON.stringify(kept), 'the chunks are those of the rewritten segments')
      expect(store.stats().log.sealing.sealFailures).toBe(0)
      await store.close()
    }
  })

  it('the demo feed compacted equals a plain replay', async () => {
    const lines = gunzipSync(readFileSync(path.resolve('demo/changes.ndjson.gz')))
      .toString()
      .trimEnd()
      .split('\n')
    const plain = new Map<string, unknown>()
    const directory = freshPath()
    const store = await openJson(directory, backend, {
      durability: 'flush',
      segmentBytes: 1024 * 1024,
      maxBatchBytes: 256 * 1024,
      maxRecordBytes: 256 * 1024,
      compaction: false,
    })
    const entries: BatchEntry<unknown>[] = lines.map((line) => {
      const { headers, key, value } = JSON.parse(line) as { headers: { operation: string }; key: string; value: unknown }
      if (headers.operation === 'delete') plain.delete(key)
      else plain.set(key, value)
      return headers.operation === 'delete' ? { key, delete: true } : { key, value }
    })
    for (let i = 0; i < entries.length; i += 100) await store.putBatch(entries.slice(i, i + 100))
    const { bytesBefore, bytesAfter } = await store.compact(ALL)
    expect(bytesAfter).toBeLessThan(bytesBefore)
    const expected = [...plain].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    expect(await entriesOf(store)).toEqual(expected as [string, unknown][])
    await store.close()
    await expectReopened(directory, { backend, compaction: false }, expected as [string, unknown][])
  })

  it('the event loop has its turns', async () => {
    const store = await openJson(freshPath(), backend, {
      ...OPTIONS,
      durability: 'flush',
      segmentBytes: 4 * 1024 * 1024,
      maxBatchBytes: 1024 * 1024,
      maxRecordBytes: 1024 * 1024,
    })
    const value = 'x'.repeat(1000)
    for (let i = 0; i < 20; i++) await store.putBatch(range(0, 500).map((n) => ({ key: n, value })))
    let turns = 0
    let over = false
    const turn = () => {
      turns++
      if (!over) setImmediate(turn)
    }
    turn()
    const { bytesBefore } = await store.compact(ALL)
    over = true
    expect(bytesBefore).toBeGreaterThan(7 * 1024 * 1024)
    // Read twice, in pieces of 256 KiB at most where JavaScript does it.
    expect(turns).toBeGreaterThan(backend === 'js' ? (2 * bytesBefore) / (256 * 1024) : 10)
    await store.close()
  })

  it.each<[string, unknown]>([
    ['keepCompleteChunks', -1],
    ['tombstoneMs', 0.5],
    ['bytesPerSecond', 0],
    ['minDeadRatio', 2],
    ['merge', true],
    ['windowBytes', 0],
    ['onProgress', 1],
    ['keepChunks', 1],
  ])('option %s: %s is refused', async (name, value) => {
    await withStore(freshPath(), backend, OPTIONS, async (store) => {
      expect(await codeOf(() => store.compact({ [name]: value } as never))).toBe('ERR_SEALOG_OPTION')
    })
    if (name !== 'onProgress') expect(await codeOf(() => openJson(freshPath(), backend, { compaction: { [name]: value } as never }))).toBe('ERR_SEALOG_OPTION')
  })
})

describe.each(backends)('retention in a store (%s)', (backend) => {
  it('is refused where it would take keys away, before anything is created', async () => {
    const directory = freshPath()
    for (const retention of [{ maxRecords: 10 }, { maxRecords: 10, archive: 'keep' as const }])
      expect(await codeOf(() => openJson(directory, backend, { ...OPTIONS, retention }))).toBe('ERR_SEALOG_OPTION')
    expect(fs.existsSync(directory)).toBe(false)
    await withStore(directory, backend, { ...OPTIONS, retention: { maxRecords: 10, archive: 'archive' } }, async (store) => {
      await store.put('key', 1)
    })
  })
})

describe.each(backends)('compacted logs (%s)', (backend) => {
  const options = { ...OPTIONS, backend }

  async function compacted(directory: string): Promise<Changes> {
    const changes = new Changes()
    const store = await openJson(directory, backend, OPTIONS)
    for (let i = 0; i < 60; i++) {
      const key = i % 2 === 0 ? `once ${i}` : 'often'
      changes.put(i, key, { i, text: 'x'.repeat(60) })
      await store.put(key, { i, text: 'x'.repeat(60) })
    }
    await fill(store, changes, 140, 20)
    await store.compact({ keepCompleteChunks: 0 })
    await fill(store, changes, 40, 20)
    await store.close()
    return changes
  }

  it('truncateBefore anywhere: what is left is what was', async () => {
    const directory = freshPath()
    await compacted(directory)
    const log = await Log.open(directory, { backend, segmentBytes: 2048 })
    const before: number[] = []
    for await (const { offset } of log.read()) before.push(offset)
    for (const offset of [5, 33, 90, 150, 201]) {
      const start = await log.truncateBefore(offset)
      const left: number[] = []
      for await (const record of log.read()) left.push(record.offset)
      expect(left).toEqual(before.filter((one) => one >= start))
      expect(await verify(directory, { backend })).toMatchObject({ ok: true })
    }
    await log.close()
  })

  it('truncateAfter below what was compacted is refused, above it holds', async () => {
    const directory = freshPath()
    const changes = await compacted(directory)
    const log = await Log.open(directory, { backend, segmentBytes: 2048 })
    const { compactedThrough } = log
    expect(compactedThrough).toBeGreaterThan(150)
    const end = log.endOffset
    for (const offset of [10, compactedThrough - 1]) expect(await codeOf(() => log.truncateAfter(offset))).toBe('ERR_SEALOG_COMPACTED')
    expect(log.endOffset).toBe(end)
    await log.truncateAfter(compactedThrough + 3)
    await log.close()
    await expectReopened(directory, options, changes.entries(compactedThrough + 4))
  })

  it('MANIFEST rebuilt: the same content', async () => {
    const directory = freshPath()
    const changes = await compacted(directory)
    const { repair } = await import('../../lib/log/maintenance.js')
    fs.rmSync(path.join(directory, 'MANIFEST'))
    await repair(directory, { policy: 'salvage', manifest: true, backend })
    await expectReopened(directory, options, changes.entries(changes.length))
    await withStore(directory, backend, OPTIONS, async (store) => expect(await codeOf(() => store.get('key 1', { at: 3 }))).toBe('ERR_SEALOG_COMPACTED'))
  })

  it('repair that cuts below what was compacted is warned of at every open', async () => {
    const directory = freshPath()
    const store = await openJson(directory, backend, OPTIONS)
    await fill(store, new Changes(), 200)
    await store.compact({ keepCompleteChunks: 0, minDeadRatio: 0, tombstoneMs: 0 })
    await store.close()
    // The one behind the last that was rewritten.
    const names = segmentFiles(directory).sort()
    const name = names[names.findLastIndex((one) => parseSegmentFile(one)?.generation === 1) + 1]
    const file = path.join(directory, 'segments', name)
    const bytes = fs.readFileSync(file)
    bytes[170] ^= 1
    fs.writeFileSync(file, bytes)
    const { repair } = await import('../../lib/log/maintenance.js')
    await repair(directory, { policy: 'point-in-time', backend })
    const warnings: (string | undefined)[] = []
    const listener = (warning: Error & { code?: string }) => warnings.push(warning.code)
    process.on('warning', listener)
    for (let i = 0; i < 2; i++) await (await openJson(directory, backend, OPTIONS)).close()
    await until(() => warnings.length > 1, 'warnings came')
    process.off('warning', listener)
    expect(warnings.filter((code) => code === 'SEALOG_STORE_LOST').length).toBeGreaterThan(0)
  })

  it('damage in a rewritten segment is salvaged into the next generation; damage stops a pass and nothing else', async () => {
    const directory = freshPath()
    await compacted(directory)
    const name = segmentFiles(directory).find((one) => parseSegmentFile(one)?.generation === 1 && fs.statSync(path.join(directory, 'segments', one)).size > 400)
    if (name === undefined) throw new Error('no segment was rewritten')
    const file = path.join(directory, 'segments', name)
    const bytes = fs.readFileSync(file)
    bytes[170] ^= 1
    fs.writeFileSync(file, bytes)
    fs.rmSync(snapshotPath(directory), { force: true })
    const { repair } = await import('../../lib/log/maintenance.js')
    await repair(directory, { policy: 'salvage', backend })
    expect(await verify(directory, { backend })).toMatchObject({ ok: true })
    expect(segmentFiles(directory)).toContain(name.replace('.1.log', '.2.log'))
    await withStore(directory, backend, OPTIONS, async (store) => {
      const before = await entriesOf(store)
      await store.compact(ALL)
      expect(await entriesOf(store)).toEqual(before)
    })
  })

  it('random changes, reopening, iterators and passes in between: always what a plain replay is', async () => {
    const random = new Random(backend.length)
    const directory = freshPath()
    const changes = new Changes()
    const open = () =>
      openJson(directory, backend, { ...OPTIONS, durability: random.chance(0.5) ? 'fsync' : 'flush', snapshotBytes: random.chance(0.5) ? 3000 : false })
    let store = await open()
    let iterators: { iterator: AsyncIterableIterator<unknown>; expected: unknown[]; seen: unknown[] }[] = []
    const finish = async () => {
      for (const { iterator, expected, seen } of iterators.splice(0)) {
        for await (const entry of iterator) seen.push(entry)
        expect(seen).toEqual(expected)
      }
    }
    let removed = 0
    for (let round = 0; round < (process.env.SEALOG_SOAK === undefined ? 50 : 2000); round++) {
      const going: Promise<unknown>[] = []
      const pass = random.chance(0.3)
        ? store.compact({ keepCompleteChunks: random.below(3), tombstoneMs: random.chance(0.5) ? 0 : 10_000, minDeadRatio: random.chance(0.5) ? 0 : 0.4 })
        : undefined
      for (let i = random.below(20); i > 0; i--) {
        const key = `key ${random.below(40)}`
        const present = new Map(changes.entries(changes.length))
        const kind = random.below(20)
        if (kind < 12) {
          const value = { round, text: 'x'.repeat(random.below(120)) }
          changes.put(changes.length, key, value)
          going.push(store.put(key, value))
        } else if (kind < 16) {
          if (present.has(key)) changes.delete(changes.length, key)
          going.push(store.delete(key))
        } else if (kind < 19) {
          const keys = range(0, random.below(6)).map(() => `key ${random.below(40)}`)
          going.push(store.putBatch(keys.map((one) => ({ key: one, value: round }))))
          for (const one of keys) changes.put(changes.length, one, round)
        } else if (present.size > 0 && random.chance(0.3)) {
          changes.clear(changes.length)
          going.push(store.clear())
        }
      }
      await Promise.all(going)
      removed += (await pass)?.recordsRemoved ?? 0
      const expected = changes.entries(changes.length)
      expect(await entriesOf(store)).toEqual(expected)
      expect(store.size).toBe(expected.length)
      if (random.chance(0.3) && expected.length > 0) {
        const iterator = store.entries()
        iterators.push({ iterator, expected, seen: [(await iterator.next()).value] })
      }
      if (random.chance(0.15)) await finish()
      if (random.chance(0.15)) {
        await finish()
        await store.close()
        if (random.chance(0.5)) fs.rmSync(snapshotPath(directory), { force: true })
        store = await open()
      }
    }
    await finish()
    iterators = []
    await store.close()
    expect(removed).toBeGreaterThan(100)
    await expectReopened(directory, options, changes.entries(changes.length))
  })
})
