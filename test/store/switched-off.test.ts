import { describe, expect, test } from 'vitest'
import type { Key, StoreOptions } from '../../lib/store/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { Random } from '../support/random.js'
import { entriesOf, withStore } from './stores.js'

const SWITCHES: { readonly [name: string]: StoreOptions } = {
  'nothing: the defaults': {},
  'the record cache': { recordCache: false },
  'the tail cache': { cache: false },
  snapshots: { snapshotBytes: false },
  'sealed chunks, which a store has none of unless asked': { seal: 'json', chunkBytes: 64 * 1024 },
  'the sparse index: nearly every record is indexed': { indexIntervalBytes: 64 },
  'grouping in the background: every write is synced before it counts': { durability: 'fsync' },
  everything: { recordCache: false, cache: false, snapshotBytes: false, seal: false, indexIntervalBytes: 64, durability: 'fsync' },
}

// The addon itself is switched off by `backend: 'js'`: all of this runs there too.
describe.each(backends)('C44: with an optimisation switched off everything works as with it (%s)', (backend) => {
  test.each(Object.keys(SWITCHES))('off: %s', async (name) => {
    const options = { durability: 'flush' as const, segmentBytes: 256 * 1024, maxBatchBytes: 64 * 1024, ...SWITCHES[name] }
    const directory = freshPath('store')
    const model = new Map<Key, unknown>()
    const random = new Random(7)
    for (let opening = 0; opening < 3; opening++) {
      await withStore<unknown, void>(directory, backend, options, async (store) => {
        expect(store.size).toBe(model.size)
        const writer = store.batchWriter()
        for (let round = 0; round < 10; round++) {
          const entries = Array.from({ length: 50 }, () => {
            const key = random.below(150)
            return random.chance(0.25) ? { key, delete: true as const } : { key, value: { key, text: 'x'.repeat(random.below(400)) } }
          })
          for (const entry of entries) {
            if ('delete' in entry) model.delete(entry.key)
            else model.set(entry.key, entry.value)
          }
          const results = round % 2 === 0 ? await writer.writeBatch(entries) : [await store.putBatch(entries)]
          expect(results.filter((result) => 'status' in result && result.status === 'rejected')).toEqual([])
          for (const key of [random.below(150), random.below(150)]) {
            expect(await store.get(key)).toEqual(model.get(key))
            expect(store.getSync(key)).toEqual(model.get(key))
          }
        }
        expect(await entriesOf(store)).toEqual([...model].sort(([a], [b]) => Number(a) - Number(b)))
      })
    }
  })
})
