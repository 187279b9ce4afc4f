/** What a store promises: values by key, in order, atomically, and never before they are committed. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type Durability, Log, type LogError } from '../../lib/index.js'
import { type BatchEntry, type Key, Store } from '../../lib/store/index.js'
import { backends, environmentOf, testingOf } from '../support/backends.js'
import { freshPath, readFiles } from '../support/directories.js'
import { groupsOf } from '../support/images.js'
import { bytes, codeOf, errorOf, readAll, segmentPath, withLog } from '../support/logs.js'
import { entriesOf, keysOf, openJson, withStore } from './stores.js'

const { EIO, ENOSPC } = constants.errno

describe.each(backends)('store (%s)', (backend) => {
  it('puts, gets, replaces and deletes, and knows it all after opening again', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, async (store) => {
      expect(await store.put('a', { n: 1 })).toBe(0)
      expect(await store.put('a', { n: 2 })).toBe(1)
      expect(await store.put('b', null)).toBe(2)
      expect(await store.delete('b')).toBe(true)
      expect(await store.get('a')).toEqual({ n: 2 })
      expect(store.getSync('a')).toEqual({ n: 2 })
      expect([store.has('a'), store.has('b'), store.has('c')]).toEqual([true, false, false])
      expect([await store.get('b'), store.getSync('c')]).toEqual([undefined, undefined])
      expect(store.size).toBe(1)
      await store.put('null', null)
      expect(await store.get('null')).toBe(null)
    })
    await withStore(directory, backend, {}, async (store) => {
      expect(await entriesOf(store)).toEqual([
        ['a', { n: 2 }],
        ['null', null],
      ])
    })
  })

  it('codec bytes: values are bytes, and what is handed out is not what is stored', async () => {
    const store = await Store.open(freshPath(), { backend })
    const given = bytes('value')
    const put = store.put('k', given)
    given.fill(0)
    await put
    const first = (await store.get('k')) as Uint8Array
    expect(Buffer.from(first).toString()).toBe('value')
    first.fill(0)
    expect(Buffer.from((await store.get('k')) as Uint8Array).toString()).toBe('value')
    expect(await codeOf(() => store.put('k', 'text' as never))).toBe('ERR_SEALOG_VALUE')
    await store.close()
  })

  it('keys of all types in one order; 5 and 5n are one key', async () => {
    const directory = freshPath()
    const keys: Key[] = [-3, 0, 5, 2n ** 60n, '', 'Z', 'a', 'ä', Uint8Array.of(0), Uint8Array.of(1, 2)].filter((key) => key !== '')
    await withStore(directory, backend, {}, async (store) => {
      await Promise.all([...keys].reverse().map((key, i) => store.put(key, i)))
      await store.put(5n, 'five')
      expect(await store.get(5)).toBe('five')
      expect(await keysOf(store)).toEqual(keys)
    })
    await withStore(directory, backend, {}, async (store) => {
      expect(await keysOf(store)).toEqual(keys)
      expect(await keysOf(store, { gt: 0, lt: 'a' })).toEqual([5, 2n ** 60n, 'Z'])
      expect(await keysOf(store, { gte: 'a', reverse: true, limit: 3 })).toEqual([Uint8Array.of(1, 2), Uint8Array.of(0), 'ä'])
      expect(await entriesOf(store, { prefix: 'a' })).toEqual([['a', expect.anything()]])
    })
  })

  it('refuses what is no key, no value, no option and no range; nothing is written', async () => {
    const store = await openJson(freshPath(), backend)
    for (const key of ['', 1.5, Number.NaN, undefined, {}, new Uint8Array(0), 'x'.repeat(70_000)]) {
      expect(await codeOf(() => store.put(key as Key, 1))).toBe('ERR_SEALOG_ARGUMENT')
      expect(await codeOf(() => store.get(key as Key))).toBe('ERR_SEALOG_ARGUMENT')
      expect(await codeOf(() => store.delete(key as Key))).toBe('ERR_SEALOG_ARGUMENT')
    }
    expect(await codeOf(() => store.put('k', undefined))).toBe('ERR_SEALOG_VALUE')
    expect(await codeOf(() => store.put('k', 10n))).toBe('ERR_SEALOG_VALUE')
    expect(await codeOf(() => store.get('k', { at: -1 }))).toBe('ERR_SEALOG_ARGUMENT')
    expect(await codeOf(() => store.get('k', { on: 1 } as never))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => store.keys({ gt: 1, gte: 1 }))).toBe('ERR_SEALOG_ARGUMENT')
    const bad = [{ key: 'k' }, { key: 'k', delete: false }, { key: 'k', value: 1, delete: true }, { key: '', value: 1 }, { key: 'k', value: undefined }, 7]
    for (const entry of bad) {
      const code = await codeOf(() => store.putBatch([{ key: 'good', value: 1 }, entry as never]))
      expect(['ERR_SEALOG_ARGUMENT', 'ERR_SEALOG_VALUE']).toContain(code)
    }
    expect([store.size, store.committedOffset, store.stats().pendingWrites]).toEqual([0, 0, 0])
    await store.close()
    expect(await codeOf(() => openJson(freshPath(), backend, { snapshotBytes: 0 }))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => openJson(freshPath(), backend, { snapshots: true } as never))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => openJson(freshPath(), backend, { create: false }))).toBe('ERR_SEALOG_NOT_FOUND')
  })

  it('a delete of what is neither there nor accepted makes no record', async () => {
    const store = await openJson(freshPath(), backend)
    expect(await store.delete('a')).toBe(false)
    expect(store.committedOffset).toBe(0)
    // Decided by what was accepted before, in order, though none of it is committed.
    const results = [
      store.put('a', 1),
      store.delete('a'),
      store.delete('a'),
      store.put('a', 2),
      store.clear(),
      store.delete('a'),
      store.clear(),
      store.put('b', 3),
      store.delete('b'),
    ]
    expect(store.stats().pendingWrites).toBe(6)
    expect(await Promise.all(results)).toEqual([0, true, false, 2, undefined, false, undefined, 4, true])
    expect([store.size, store.committedOffset]).toEqual([0, 6])
    await store.clear()
    expect(store.committedOffset).toBe(6)
    await store.close()
  })

  it('a batch is one: puts and deletes mixed, the later entry of a key counts', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, async (store) => {
      await store.put('old', 0)
      const batch: BatchEntry<unknown>[] = [
        { key: 'a', value: 1 },
        { key: 'old', delete: true },
        { key: 'never', delete: true },
        { key: 'a', value: 2 },
        { key: 'b', value: 3 },
        { key: 'b', delete: true },
      ]
      expect(await store.putBatch(batch)).toEqual({ first: 1, last: 5 })
      expect(await entriesOf(store)).toEqual([['a', 2]])
      expect(await store.putBatch([])).toEqual({ first: 6, last: 5 })
      expect(await store.putBatch([{ key: 'never', delete: true }])).toEqual({ first: 6, last: 5 })
    })
    const log = await Log.openReader(directory, { backend })
    expect((await readAll(log)).map((record) => record.batch)).toEqual([0, 1, 1, 1, 1, 1])
    await log.close()
  })

  it('a value changes when its record is committed, before the promise resolves, in order', async () => {
    const store = await openJson(freshPath(), backend)
    await store.put('k', 'old')
    const order: unknown[] = []
    const first = store.put('k', 'new').then(() => order.push(['first', store.getSync('k'), store.size]))
    const second = store.put('l', 1).then(() => order.push(['second', store.has('l'), store.size]))
    expect([store.getSync('k'), store.has('l'), store.size]).toEqual(['old', false, 1])
    await Promise.all([first, second])
    expect(order.map((entry) => (entry as unknown[])[0])).toEqual(['first', 'second'])
    expect((order[0] as unknown[])[1]).toBe('new')
    expect(order[1]).toEqual(['second', true, 2])
    await store.close()
  })

  it.each(['flush', 'none'] as Durability[])('mode %s: reads see what was put before', async (durability) => {
    const store = await openJson(freshPath(), backend, { durability, syncIntervalMs: 3_600_000 })
    await store.put('a', 1)
    expect(await store.get('a')).toBe(1)
    await store.put('a', 2)
    expect(store.getSync('a')).toBe(2)
    await store.put('b', 1)
    expect(store.has('b')).toBe(true)
    await store.delete('a')
    expect(await keysOf(store)).toEqual(['b'])
    await store.close()
  })

  it.each(['fsync', 'flush', 'none'] as Durability[])('mode %s: flush() and flushSync() make durable (T11)', async (durability) => {
    const store = await openJson(freshPath(), backend, { durability, syncIntervalMs: 3_600_000 })
    await store.put('a', 1)
    await store.flush()
    expect(store.stats().log.durableOffset).toBe(1)
    store.put('b', 1).catch(() => {})
    store.flushSync()
    expect(store.stats().log.durableOffset).toBe(2)
    expect(store.has('b')).toBe(true)
    await store.putBatchDeferred([{ key: 'c', value: 1 }])
    await store.sync()
    expect([store.stats().log.durableOffset, store.getSync('c')]).toEqual([3, 1])
    await store.close()
  })

  it('deferred batches: written and visible, durable with the next sync', async () => {
    const store = await openJson(freshPath(), backend, { durability: 'flush', syncIntervalMs: 3_600_000 })
    for (let i = 0; i < 20; i++) await store.putBatchDeferred([{ key: i, value: i }])
    expect(store.size).toBe(20)
    expect(store.stats().log.durableOffset).toBe(0)
    await store.flush()
    expect(store.stats().log.durableOffset).toBe(20)
    await store.close()

    const durable = await openJson(freshPath(), backend)
    for (let i = 0; i < 50; i++) await durable.putBatchDeferred([{ key: i, value: i }])
    await durable.flush()
    expect([durable.size, durable.stats().log.durableOffset]).toEqual([50, 50])
    expect(durable.stats().log.syncs).toBeLessThan(50)
    await durable.close()
  })

  it('iterators show one moment, whatever is written meanwhile', async () => {
    const store = await openJson<number>(freshPath(), backend)
    const all = Array.from({ length: 700 }, (_, i) => [`key ${String(i).padStart(3, '0')}`, i] as [string, number])
    await store.putBatch(all.map(([key, value]) => ({ key, value })))
    const forward: [Key, number][] = []
    const backward: Key[] = []
    const entries = store.entries()
    const keys = store.keys({ reverse: true })
    forward.push((await entries.next()).value as [Key, number])
    backward.push((await keys.next()).value as Key)
    await store.putBatch([...all.filter((_, i) => i % 3 === 0).map(([key]) => ({ key, delete: true }) as const), { key: 'key 0005', value: -1 }])
    await Promise.all(all.filter((_, i) => i % 3 === 1).map(([key]) => store.put(key, -2)))
    await store.clear()
    await store.put('other', -3)
    for await (const entry of entries) forward.push(entry)
    for await (const key of keys) backward.push(key)
    expect(forward).toEqual(all)
    expect(backward).toEqual(all.map(([key]) => key).reverse())
    expect(await entriesOf(store)).toEqual([['other', -3]])
    for await (const [key] of store) expect(key).toBe('other')
    await store.close()
  })

  it('an iterator that runs between batches never sees half of one', async () => {
    const store = await openJson<number>(freshPath(), backend)
    const writer = (async () => {
      for (let round = 0; round < 40; round++) {
        const batch = Array.from({ length: 50 }, (_, i): BatchEntry<number> => ({ key: i, value: round }))
        await store.putBatch(round % 4 === 3 ? batch.map(({ key }) => ({ key, delete: true })) : batch)
      }
    })()
    let done = false
    void writer.then(() => (done = true))
    let seen = 0
    while (!done) {
      const values = new Set((await entriesOf(store)).map(([, value]) => value))
      expect(values.size).toBeLessThan(2)
      const count = (await keysOf(store)).length
      expect([0, 50]).toContain(count)
      seen++
      await new Promise((resolve) => setImmediate(resolve))
    }
    await writer
    expect(seen).toBeGreaterThan(0)
    await store.close()
  })

  it('get at an offset: versions, tombstones, and what clear() took', async () => {
    const store = await openJson<number>(freshPath(), backend, { segmentBytes: 256 * 1024 })
    await store.put('k', 0)
    await store.putBatch(Array.from({ length: 3000 }, (_, i) => ({ key: i, value: i })))
    const second = await store.put('k', 1)
    await store.delete('k')
    const third = await store.put('k', 2)
    await store.clear()
    const end = await store.put('z', 3)
    expect(await store.get('k', { at: 0 })).toBe(0)
    expect(await store.get('k', { at: second - 1 })).toBe(0)
    expect(await store.get('k', { at: second })).toBe(1)
    expect(await store.get('k', { at: second + 1 })).toBe(undefined)
    expect(await store.get('k', { at: third })).toBe(2)
    expect(await store.get('k', { at: end })).toBe(undefined)
    expect(await store.get(1234, { at: third })).toBe(1234)
    expect(await store.get(1234, { at: end })).toBe(undefined)
    expect(await store.get('z', { at: third })).toBe(undefined)
    expect(await store.get('z', { at: 10 ** 9 })).toBe(3)
    expect(await store.get('never', { at: end })).toBe(undefined)
    await store.close()
  })

  it('T7: a failed sync leaves the old values; reopen() makes the store writable again', async () => {
    const testing = testingOf(backend)
    const store = await openJson(freshPath(), backend)
    await store.put('k', 'old')
    await store.put('gone', 1)
    testing.fault('datasync', 1, EIO, true, 0)
    const failing = [store.put('k', 'new'), store.put('l', 1), store.delete('gone'), store.clear()]
    const codes = await Promise.all(failing.map((promise) => codeOf(() => promise)))
    expect(new Set(codes)).toEqual(new Set(['ERR_SEALOG_FAILED']))
    testing.clearFaults()
    expect([await store.get('k'), store.getSync('gone'), store.has('l'), store.size]).toEqual(['old', 1, false, 2])
    expect(store.stats().pendingWrites).toBe(0)
    expect(await codeOf(() => store.put('k', 2))).toBe('ERR_SEALOG_FAILED')
    expect(await codeOf(() => store.putBatchDeferred([{ key: 'k', value: 2 }]))).toBe('ERR_SEALOG_FAILED')
    expect(store.failure?.code).toBe('ERR_SEALOG_FAILED')
    await store.reopen()
    // What was written and not acknowledged may have come through: the index says what the log says.
    const log = await Log.openReader<unknown>(store.directory, { backend })
    const survived = (await readAll(log)).length
    await log.close()
    expect(store.committedOffset).toBe(survived)
    const versions = await Promise.all(['k', 'l', 'gone'].map((key) => store.get(key)))
    expect(versions).toEqual(await Promise.all(['k', 'l', 'gone'].map((key) => store.get(key, { at: survived - 1 }))))
    await store.put('k', 'newer')
    expect(store.getSync('k')).toBe('newer')
    await store.close()
  })

  it('reopen() after committed records were lost: the index is made anew, as the log is', async () => {
    const testing = testingOf(backend)
    const store = await openJson(freshPath(), backend, { durability: 'flush', syncIntervalMs: 3_600_000, idleMarkMs: 3_600_000 })
    await store.put('kept', 1)
    await store.sync()
    await store.put('kept', 2)
    await store.put('lost', 3)
    testing.fault('datasync', 1, EIO, true, 0)
    expect(await codeOf(() => store.sync())).toBe('ERR_SEALOG_FAILED')
    testing.clearFaults()
    expect(await entriesOf(store)).toEqual([
      ['kept', 2],
      ['lost', 3],
    ])
    // As a disk that never got them: zeros behind what was synced.
    const file = segmentPath(store.directory, 0)
    const content = readFileSync(file)
    writeFileSync(file, content.fill(0, groupsOf(content).groups[0].end))
    await store.reopen()
    expect(store.committedOffset).toBe(1)
    expect(await entriesOf(store)).toEqual([['kept', 1]])
    expect(await store.put('lost', 4)).toBe(1)
    await store.close()
  })

  it('a refused write leaves the old value, and its offset is given out again', async () => {
    if (!environmentOf(backend).kernels.can.preallocate) return
    const testing = testingOf(backend)
    const store = await openJson(freshPath(), backend, { segmentBytes: 1024 * 1024 })
    await store.put('k', 'old')
    testing.fault('allocate', 1, ENOSPC, true, 0)
    const large = 'x'.repeat(200_000)
    const refused = [store.put('k', large), store.put('l', large), store.delete('k')]
    for (const promise of refused) expect(await codeOf(() => promise)).toBe('ERR_SEALOG_NO_SPACE')
    testing.clearFaults()
    expect([store.getSync('k'), store.has('l')]).toEqual(['old', false])
    expect(await store.put('l', 'there')).toBe(1)
    expect(await entriesOf(store)).toEqual([
      ['k', 'old'],
      ['l', 'there'],
    ])
    testing.fault('allocate', 1, ENOSPC, true, 0)
    expect(await codeOf(() => store.put('m', large))).toBe('ERR_SEALOG_NO_SPACE')
    testing.clearFaults()
    expect(await store.delete('m')).toBe(false)
    expect(await store.delete('k')).toBe(true)
    expect(await entriesOf(store)).toEqual([['l', 'there']])
    await store.close()
  })

  it('a log of other content is refused and stays as it is', async () => {
    const contents: Array<(log: Log) => Promise<unknown>> = [
      (log) => log.append(bytes('no key')),
      (log) => log.append(bytes('x'), { key: 'a plain key' }),
      async (log) => {
        await log.append(bytes('x'), { key: Uint8Array.of(0x40, 0x61) })
        await log.append(bytes('x'), { key: Uint8Array.of(0x40) })
      },
    ]
    for (const fill of contents) {
      const directory = freshPath()
      await withLog(directory, { backend }, fill)
      const before = readFiles(directory)
      expect(await codeOf(() => Store.open(directory, { backend }))).toBe('ERR_SEALOG_FORMAT')
      expect(readFiles(directory)).toEqual(before)
    }
    // A foreign record between good ones is met by the replay.
    const directory = freshPath()
    await withLog(directory, { backend }, async (log) => {
      await log.append(bytes('x'), { key: Uint8Array.of(0x40, 0x61) })
      await log.append(bytes('x'))
      await log.append(bytes('x'), { key: Uint8Array.of(0x40, 0x61) })
    })
    const error = await errorOf(() => Store.open(directory, { backend }))
    expect([error.code, error.offset]).toEqual(['ERR_SEALOG_FORMAT', 1])
    await withLog(directory, { backend }, async (log) => expect(log.endOffset).toBe(3))
  })

  it('the codec is the one of the log', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, (store) => store.put('a', { n: 1 }))
    expect(await codeOf(() => Store.open(directory, { backend, codec: 'bytes' }))).toBe('ERR_SEALOG_CODEC_MISMATCH')
    const adopted = await Store.open<unknown>(directory, { backend, codec: undefined } as never)
    expect([adopted.codec, await adopted.get('a')]).toEqual(['json', { n: 1 }])
    await adopted.close()
  })

  it('replay reports how far it is, and ends where the log ends', async () => {
    const directory = freshPath()
    await withStore(directory, backend, {}, (store) => store.putBatch(Array.from({ length: 3000 }, (_, i) => ({ key: i % 1000, value: 'x'.repeat(1000) + i }))))
    const progress: number[] = []
    await withStore(directory, backend, { onProgress: ({ offset, endOffset }) => progress.push(offset, endOffset) }, async (store) => {
      expect(store.size).toBe(1000)
      expect(await store.get(7)).toBe(`${'x'.repeat(1000)}2007`)
    })
    expect(progress.at(-2)).toBe(3000)
    expect(new Set(progress.filter((_, i) => i % 2 === 1))).toEqual(new Set([3000]))
  })

  it('after close everything is refused', async () => {
    const store = await openJson(freshPath(), backend)
    await store.put('a', 1)
    await store.put('b', 1)
    const entries = store.entries()
    await entries.next()
    const pending = store.put('c', 1)
    await store.close()
    expect(await pending).toBe(2)
    const calls: Array<() => unknown> = [
      () => store.get('a'),
      () => store.getSync('a'),
      () => store.has('a'),
      () => store.put('a', 1),
      () => store.delete('a'),
      () => store.putBatch([]),
      () => store.clear(),
      () => store.keys(),
      () => store.size,
      () => store.snapshot(),
      () => store.reopen(),
      () => entries.next(),
    ]
    for (const call of calls) expect(await codeOf(call)).toBe('ERR_SEALOG_CLOSED')
    await store.close()
  })

  it('closeSync: everything accepted is durable, what was under way ends, the directory is free at return', async () => {
    const directory = freshPath()
    const entries = Array.from({ length: 30_000 }, (_, i) => ({ key: `a key of some length, so that a snapshot takes several slices ${i}`, value: i }))
    const store = await openJson(directory, backend, { durability: 'flush', snapshotBytes: false })
    for (let i = 0; i < entries.length; i += 5000) await store.putBatch(entries.slice(i, i + 5000))
    for (const turns of [0, 1, 3, 8]) {
      const again = turns === 0 ? store : await openJson(directory, backend, { durability: 'flush', snapshotBytes: false })
      const snapshot = again.snapshot().then(
        () => 'written',
        (error: LogError) => error.code,
      )
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
      const put = again.put('last', turns)
      again.closeSync()
      expect(await put).toBe(again.committedOffset - 1)
      expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
      const files = statSync(directory).mtimeMs
      expect(['written', 'ERR_SEALOG_CLOSED']).toContain(await snapshot)
      await new Promise((resolve) => setImmediate(resolve))
      expect(statSync(directory).mtimeMs).toBe(files)
      for (const call of [() => again.get('last'), () => again.put('x', 1), () => again.size]) expect(await codeOf(call)).toBe('ERR_SEALOG_CLOSED')
      again.closeSync()
      await again.close()
      await withStore(directory, backend, {}, async (last) => expect([last.size, last.getSync('last')]).toEqual([30_001, turns]))
    }
  })

  it('closeSync with reads and an iterator under way: they are told', async () => {
    const store = await openJson(freshPath(), backend, { recordCache: false })
    await store.putBatch(Array.from({ length: 1000 }, (_, i) => ({ key: i, value: i })))
    const iterator = store.entries()
    await iterator.next()
    const reads = Promise.allSettled([store.get(1), store.getMany([2, 3]), store.get(4)])
    store.closeSync()
    for (const result of await reads) if (result.status === 'rejected') expect(result.reason.code).toBe('ERR_SEALOG_CLOSED')
    expect(await codeOf(() => iterator.next())).toBe('ERR_SEALOG_CLOSED')
  })

  it('the demo feed loaded as a store equals a plain replay: 4,375 keys ever seen', async () => {
    const lines = gunzipSync(readFileSync(path.resolve('demo/changes.ndjson.gz')))
      .toString()
      .trimEnd()
      .split('\n')
    const plain = new Map<string, unknown>()
    const ever = new Set<string>()
    const directory = freshPath()
    const store = await openJson(directory, backend, { durability: 'flush', snapshotBytes: 1024 * 1024 })
    let batch: BatchEntry<unknown>[] = []
    let transaction: number | undefined
    for (const line of lines) {
      const { headers, key, value } = JSON.parse(line) as { headers: { operation: string; tx: number }; key: string; value: unknown }
      if (headers.tx !== transaction && batch.length > 0) {
        store.putBatch(batch).catch(() => {})
        if (store.writableNeedDrain) await store.drain()
        batch = []
      }
      transaction = headers.tx
      ever.add(key)
      if (headers.operation === 'delete') {
        plain.delete(key)
        batch.push({ key, delete: true })
      } else {
        plain.set(key, value)
        batch.push({ key, value })
      }
    }
    await store.putBatch(batch)
    await store.flush()
    expect(ever.size).toBe(4375)
    const expected = [...plain].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    expect(await entriesOf(store)).toEqual(expected)
    await store.close()
    await withStore(directory, backend, {}, async (again) => {
      expect(again.size).toBe(plain.size)
      expect(again.stats().snapshot).toBeDefined()
      expect(await entriesOf(again)).toEqual(expected)
    })
  })
})
