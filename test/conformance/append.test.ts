import { describe, expect, it } from 'vitest'
import { type Durability, Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, errorOf, offsets, range, readAll, text, withLog } from '../support/logs.js'

const modes: Durability[] = ['fsync', 'flush', 'none']

describe.each(backends)('appending (%s)', (backend) => {
  describe.each(modes)('in mode %s', (durability) => {
    it('gives out dense offsets in the order of the calls, whatever the form', async () => {
      const directory = freshPath()
      await withLog(directory, { backend, durability }, async (log) => {
        const first = log.append(bytes('a'))
        const second = log.append(bytes('b'), { key: 'k' })
        const batch = log.appendBatch([bytes('c'), bytes('d')])
        const queued = log.enqueue(bytes('e'))
        const records = log.appendRecords([
          { value: bytes('f'), key: 'x' },
          { key: 'x', tombstone: true },
        ])
        expect(queued).toBe(4)
        expect(log.endOffset).toBe(7)
        expect(await first).toBe(0)
        expect(await second).toBe(1)
        expect(await batch).toEqual({ first: 2, last: 3 })
        expect(await records).toEqual({ first: 5, last: 6 })
        expect(log.appendSync(bytes('g'))).toBe(7)
        await log.committed()
        expect(log.committedOffset).toBe(8)
        expect((await readAll(log)).map((record) => text(record.value))).toEqual(['a', 'b', 'c', 'd', 'e', 'f', '', 'g'])
      })
      await withLog(directory, { backend, durability }, async (log) => {
        expect((await readAll(log)).map((record) => text(record.value))).toEqual(['a', 'b', 'c', 'd', 'e', 'f', '', 'g'])
        expect(await log.append(bytes('h'))).toBe(8)
      })
    })

    it('holds startOffset ≤ durableOffset, committedOffset ≤ endOffset at every step, and sync() brings them together', async () => {
      await withLog(freshPath(), { backend, durability }, async (log) => {
        const check = () => {
          expect(log.startOffset).toBeLessThanOrEqual(log.durableOffset)
          expect(log.durableOffset).toBeLessThanOrEqual(log.endOffset)
          expect(log.committedOffset).toBeLessThanOrEqual(log.endOffset)
        }
        for (let i = 0; i < 200; i++) {
          log.enqueue(bytes(`record ${i}`))
          check()
          if (i % 20 === 0) await log.flush()
          check()
        }
        await log.sync()
        expect(log.committedOffset).toBe(200)
        expect(log.durableOffset).toBe(200)
        log.enqueue(bytes('x'))
        log.syncSync()
        expect(log.durableOffset).toBe(201)
      })
    })

    it('flush() and flushSync() commit everything accepted', async () => {
      await withLog(freshPath(), { backend, durability }, async (log) => {
        log.enqueue(bytes('a'))
        await log.flush()
        expect(log.committedOffset).toBe(1)
        log.enqueue(bytes('b'))
        log.flushSync()
        expect(log.committedOffset).toBe(2)
      })
    })

    it('committed(offset) and durable(offset) resolve when the record is there', async () => {
      await withLog(freshPath(), { backend, durability, syncIntervalMs: 20 }, async (log) => {
        const offset = log.enqueue(bytes('a'))
        await log.committed(offset)
        expect(log.committedOffset).toBeGreaterThan(offset)
        await log.durable(offset)
        expect(log.durableOffset).toBeGreaterThan(offset)
        await log.durable()
        await log.committed()
      })
    })
  })

  it('resolves an append only when its group is durable in mode fsync', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const offset = await log.append(bytes('a'))
      expect(log.durableOffset).toBeGreaterThan(offset)
    })
  })

  it('refuses to wait for an offset that was not given out', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const error = await errorOf(() => log.committed(5))
      expect(error).toMatchObject({ code: 'ERR_SEALOG_OFFSET_RANGE', offset: 5, endOffset: 0 })
      expect(await codeOf(() => log.durable(0))).toBe('ERR_SEALOG_OFFSET_RANGE')
      expect(await codeOf(() => log.committed(-1))).toBe('ERR_SEALOG_ARGUMENT')
      await log.committed()
    })
  })

  it('G3: a batch is all or nothing, also when one of its values is bad', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(await codeOf(() => log.appendBatch([bytes('a'), 'not bytes' as never, bytes('c')]))).toBe('ERR_SEALOG_VALUE')
      expect(log.endOffset).toBe(0)
      await log.appendBatch([bytes('a'), bytes('b')])
      expect(await offsets(log)).toEqual([0, 1])
    })
  })

  it('an empty batch resolves to an empty range and writes nothing', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      await log.append(bytes('a'))
      expect(await log.appendBatch([])).toEqual({ first: 1, last: 0 })
      expect(await log.appendRecords([])).toEqual({ first: 1, last: 0 })
      expect(log.endOffset).toBe(1)
    })
  })

  it('names the first offset of its batch in every record', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      await log.append(bytes('a'))
      await log.appendBatch([bytes('b'), bytes('c'), bytes('d')])
      await log.append(bytes('e'))
      expect((await readAll(log)).map((record) => record.batch)).toEqual([0, 1, 1, 1, 4])
      expect(range(0, 5).map((offset) => log.getSync(offset)?.batch)).toEqual([0, 1, 1, 1, 4])
    })
  })

  it('stores keys as text or bytes, empty ones too, up to 65,535 bytes; tombstones carry a key and no value', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const long = new Uint8Array(65_535).fill(7)
      await log.append(bytes('a'), { key: 'clé' })
      await log.append(bytes('b'), { key: Uint8Array.of(0, 255) })
      await log.append(bytes('c'), { key: '' })
      await log.append(bytes('d'), { key: long })
      await log.append(bytes('e'))
      await log.appendRecords([{ key: 'gone', tombstone: true }])
      const records = await readAll(log)
      expect(records.map((record) => record.key && Buffer.from(record.key).toString('latin1').slice(0, 8))).toEqual([
        Buffer.from('clé').toString('latin1'),
        '\0\xff',
        '',
        '\x07'.repeat(8),
        undefined,
        'gone',
      ])
      expect(records[3].key?.length).toBe(65_535)
      expect(records.map((record) => record.tombstone)).toEqual([false, false, false, false, false, true])
      for (const record of records) expect(log.getSync(record.offset)).toEqual(record)
      expect(await codeOf(() => log.append(bytes('x'), { key: new Uint8Array(65_536) }))).toBe('ERR_SEALOG_RECORD_TOO_LARGE')
      expect(log.endOffset).toBe(6)
    })
  })

  it('expectedOffset appends only at exactly that offset', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      expect(await log.append(bytes('a'), { expectedOffset: 0 })).toBe(0)
      const error = await errorOf(() => log.append(bytes('b'), { expectedOffset: 0 }))
      expect(error).toMatchObject({ code: 'ERR_SEALOG_CONFLICT', offset: 0, endOffset: 1 })
      expect(await log.appendBatch([bytes('b'), bytes('c')], { expectedOffset: 1 })).toEqual({ first: 1, last: 2 })
      expect(await codeOf(() => log.appendBatch([bytes('d')], { expectedOffset: 9 }))).toBe('ERR_SEALOG_CONFLICT')
      expect(await codeOf(() => log.appendRecords([{ value: bytes('d') }], { expectedOffset: 2 }))).toBe('ERR_SEALOG_CONFLICT')
      expect(await codeOf(() => log.enqueue(bytes('d'), { expectedOffset: 2 }))).toBe('ERR_SEALOG_CONFLICT')
      expect(await codeOf(() => log.appendSync(bytes('d'), { expectedOffset: 2 }))).toBe('ERR_SEALOG_CONFLICT')
      // Of two that race for one offset, exactly one wins.
      const race = await Promise.allSettled([log.append(bytes('x'), { expectedOffset: 3 }), log.append(bytes('y'), { expectedOffset: 3 })])
      expect(race.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected'])
      expect(log.endOffset).toBe(4)
    })
  })

  it('a signal aborted before acceptance appends nothing; after it, it gives up the wait and not the record', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const reason = new Error('stop')
      const aborted = AbortSignal.abort(reason)
      await expect(log.append(bytes('a'), { signal: aborted })).rejects.toBe(reason)
      await expect(log.appendBatch([bytes('a')], { signal: aborted })).rejects.toBe(reason)
      expect(log.endOffset).toBe(0)
      const controller = new AbortController()
      const waiting = log.append(bytes('b'), { signal: controller.signal })
      controller.abort(reason)
      await expect(waiting).rejects.toBe(reason)
      await log.committed()
      expect(text((await log.get(0))?.value ?? bytes(''))).toBe('b')
      // An abort after the acknowledgement changes nothing.
      const late = new AbortController()
      expect(await log.append(bytes('c'), { signal: late.signal })).toBe(1)
      late.abort()
    })
  })

  it('copies a value before the call returns', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const value = bytes('before')
      const key = bytes('key')
      const large = new Uint8Array(600_000).fill(1)
      const done = [log.append(value, { key }), log.append(value), log.append(large), log.appendBatch([value, large])]
      value.fill(0)
      key.fill(0)
      large.fill(2)
      await Promise.all(done)
      const records = await readAll(log)
      expect(records.map((record) => record.value[0])).toEqual([98, 98, 1, 98, 1])
      expect(records.every((record) => record.value.every((byte) => byte === 1 || record.value.length < 10))).toBe(true)
      expect(text(records[0].key ?? bytes(''))).toBe('key')
    })
  })

  it('keeps records of every size around slab, read window and block edges', async () => {
    const directory = freshPath()
    const sizes = [0, 1, 7, 8, 9, 4095, 8192 - 24, 8192, 65_535, 65_536, 131_072, 262_143, 262_144, 262_145, 1_048_576, 3_000_001]
    const value = (i: number) => new Uint8Array(sizes[i]).fill(i + 1)
    await withLog(directory, { backend, durability: 'flush' }, async (log) => {
      sizes.forEach((_, i) => log.enqueue(value(i), i % 2 === 0 ? undefined : { key: `k${i}` }))
      await log.sync()
    })
    await withLog(directory, { backend }, async (log) => {
      const all = await readAll(log)
      for (let i = 0; i < sizes.length; i++) {
        for (const record of [all[i], log.getSync(i), await log.get(i)]) {
          expect(record?.value.length).toBe(sizes[i])
          expect(Buffer.compare(record?.value ?? bytes(''), value(i))).toBe(0)
          expect(record?.key && text(record.key)).toBe(i % 2 === 0 ? undefined : `k${i}`)
        }
      }
    })
  })

  it('accepts records exactly at maxRecordBytes and maxBatchBytes and refuses one byte more', async () => {
    await withLog(freshPath(), { backend, maxRecordBytes: 100, maxBatchBytes: 250 }, async (log) => {
      await log.append(new Uint8Array(100))
      const error = await errorOf(() => log.append(new Uint8Array(101)))
      expect(error).toMatchObject({ code: 'ERR_SEALOG_RECORD_TOO_LARGE', field: 'value', value: 101 })
      expect(await codeOf(() => log.append(new Uint8Array(99), { key: 'kk' }))).toBe('ERR_SEALOG_RECORD_TOO_LARGE')
      await log.appendBatch([new Uint8Array(100), new Uint8Array(100), new Uint8Array(50)])
      expect(await codeOf(() => log.appendBatch([new Uint8Array(100), new Uint8Array(100), new Uint8Array(51)]))).toBe('ERR_SEALOG_BATCH_TOO_LARGE')
      expect(log.endOffset).toBe(4)
    })
  })

  it('many logs of one thread append at the same time without mixing', async () => {
    const logs = await Promise.all(range(0, 20).map((i) => Log.open(freshPath(), { backend, durability: modes[i % 3] })))
    try {
      const done: Promise<unknown>[] = []
      for (let n = 0; n < 50; n++) logs.forEach((log, i) => done.push(log.append(bytes(`${i}:${n}`))))
      await Promise.all(done)
      for (const [i, log] of logs.entries()) expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, 50).map((n) => `${i}:${n}`))
    } finally {
      await Promise.all(logs.map((log) => log.close()))
    }
  })
})
