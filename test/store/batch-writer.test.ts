import { describe, expect, test } from 'vitest'
import { LogError } from '../../lib/index.js'
import type { BatchEntry } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { range } from '../support/logs.js'
import { entriesOf, withStore } from './stores.js'

describe.each(backends)('C32–C40: the batch writer of a store (%s)', (backend) => {
  test('of two writes to one key the later one counts, however they are given', () =>
    withStore<number, void>(freshPath(), backend, { durability: 'flush' }, async (store) => {
      const writer = store.batchWriter({ maxInFlight: 2, maxBytes: 100 })
      const calls: Promise<unknown>[] = []
      for (let n = 0; n < 300; n += 10) {
        calls.push(writer.writeOne({ key: 'k', value: n }))
        calls.push(writer.writeBatch(range(n + 1, n + 10).map((value) => ({ key: 'k', value }))))
      }
      await Promise.all(calls)
      expect(await store.get('k')).toBe(299)
      await writer.writeAll(range(0, 2500).map((value) => ({ key: 'k', value })))
      expect(await store.get('k')).toBe(2499)
    }))

  test('what is acknowledged is visible; deletions of what is not there write nothing; bad entries fail alone', () =>
    withStore<unknown, void>(freshPath(), backend, {}, async (store) => {
      const writer = store.batchWriter()
      const entries = [
        { key: 'a', value: 1 },
        { key: 'none', delete: true },
        { key: '', value: 2 },
        { key: 'b', value: undefined },
        { key: 'b', value: 3 },
        { key: 'a', delete: true },
        { key: 'a', delete: true },
        { key: 'c' },
      ] as BatchEntry<unknown>[]
      const results = await writer.writeBatch(entries)
      expect(results.map((result) => (result.status === 'fulfilled' ? result.value : (result.reason as LogError).code))).toEqual([
        0,
        undefined,
        'ERR_SEALOG_ARGUMENT',
        'ERR_SEALOG_VALUE',
        1,
        2,
        undefined,
        'ERR_SEALOG_ARGUMENT',
      ])
      expect(await entriesOf(store)).toEqual([['b', 3]])
      expect(await writer.writeOne({ key: 'b', delete: true })).toBe(3)
      expect(store.size).toBe(0)
      expect(await writer.writeAll(entries)).toMatchObject({ written: 3, unchanged: 2, rejected: 3, firstRejected: { index: 2 } })
      expect(writer.stats()).toMatchObject({ accepted: 11, rejected: 6, inFlight: 0, bytesInFlight: 0 })
    }))

  test('flush is that of the store: durable in every mode', () =>
    withStore<number, void>(freshPath(), backend, { durability: 'none', syncIntervalMs: 3_600_000 }, async (store) => {
      const writer = store.batchWriter()
      await writer.writeBatch(range(0, 10).map((n) => ({ key: n, value: n })))
      await writer.flush()
      const { durableOffset } = store.stats().log
      expect([durableOffset, store.size]).toEqual([10, 10])
    }))

  test('a closed store refuses every item of a batch, and ends writeAll', () =>
    withStore<number, void>(freshPath(), backend, {}, async (store) => {
      const writer = store.batchWriter()
      await store.close()
      const [result] = await writer.writeBatch([{ key: 1, value: 1 }])
      expect(result.status === 'rejected' && result.reason instanceof LogError && result.reason.code).toBe('ERR_SEALOG_CLOSED')
      await expect(writer.writeAll([{ key: 1, value: 1 }])).rejects.toMatchObject({ code: 'ERR_SEALOG_CLOSED' })
    }))
})
