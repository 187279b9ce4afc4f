import type { Case, Contender, Results } from '../harness/case.js'
import { percentile } from '../harness/statistics.js'
import { mainThreadNanoseconds, seconds } from '../harness/work.js'
import { LEVEL_KEYS, LMDB_KEYS, MAP, ROCKSDB, SEALOG_STORE, SEALOG_STORE_JS, SQLITE_KEYS } from '../key-stores/index.js'
import { checkKeys, type Entry, fill, type KeyStoreKind, makeEntries, scatteredKeys } from '../key-stores/key-store.js'

const BATCH_ENTRIES = 1000
const WARM_UP = 20_000

function puts(kind: KeyStoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const entries = makeEntries(scatteredKeys(run.quick ? 100_000 : 1_000_000))
      const store = await kind.open(run.directory, 'flush')
      await fill(store, entries.slice(0, WARM_UP))
      const count = entries.length - WARM_UP
      const threadBefore = mainThreadNanoseconds()
      const start = performance.now()
      for (let i = WARM_UP; i < entries.length; i++) {
        const { key, value } = entries[i]
        store.put(key, value)
        if (store.full) await store.drain()
      }
      await store.committed()
      const committed = seconds(start)
      const thread = mainThreadNanoseconds() - threadBefore
      await store.durable()
      const durable = seconds(start)
      await store.close()
      return {
        values: { putsPerSecond: count / committed, durablePutsPerSecond: count / durable, threadNs: thread / count },
        work: await checkKeys(kind, run),
      }
    },
  }
}

export const storePut: Case = {
  name: 'store-put',
  quickRounds: 1,
  title: 'Put of new keys in scattered order without waiting for the disk (mode flush), values of 256 bytes; committed, so that readers see them',
  metrics: [
    { key: 'putsPerSecond', label: 'puts/s', better: 'higher' },
    { key: 'durablePutsPerSecond', label: 'puts/s with final sync', better: 'higher' },
    { key: 'threadNs', label: 'thread ns/put', better: 'lower' },
  ],
  contenders: [SEALOG_STORE, SEALOG_STORE_JS, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, ROCKSDB, MAP].map(puts),
  targets: [
    {
      text: "≥ 3 × lmdb's asynchronous put",
      needs: [SEALOG_STORE.name, LMDB_KEYS.name],
      judge: (results) => atLeast(results.ratio('putsPerSecond', SEALOG_STORE.name, LMDB_KEYS.name), 3),
    },
  ],
  notes: () => ['All keys and values are read back from a newly opened store and compared. Map + NDJSON keeps every value in memory and has no checksum.'],
}

function durablePuts(kind: KeyStoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const singles = run.quick ? 300 : 1500
      const batches = run.quick ? 20 : 100
      const entries = makeEntries(scatteredKeys(1000 + singles + batches * BATCH_ENTRIES))
      const store = await kind.open(run.directory, 'fsync')
      for (let i = 0; i < 100; i++) await store.putDurable(entries[i].key, entries[i].value)
      await store.putBatchDurable(entries.slice(100, 1000))

      const latencies = new Float64Array(singles)
      const start = performance.now()
      for (let i = 0; i < singles; i++) {
        const before = performance.now()
        const { key, value } = entries[1000 + i]
        await store.putDurable(key, value)
        latencies[i] = (performance.now() - before) * 1e3
      }
      const single = singles / seconds(start)

      const groups: Entry[][] = Array.from({ length: batches }, (_, i) =>
        entries.slice(1000 + singles + i * BATCH_ENTRIES, 1000 + singles + (i + 1) * BATCH_ENTRIES),
      )
      const batchStart = performance.now()
      for (const group of groups) await store.putBatchDurable(group)
      const batched = (batches * BATCH_ENTRIES) / seconds(batchStart)
      await store.close()
      return {
        values: { batched, single, p50Us: percentile(latencies, 0.5), p99Us: percentile(latencies, 0.99), gain: batched / single },
        work: await checkKeys(kind, run),
      }
    },
  }
}

export const storePutFsync: Case = {
  name: 'store-put-fsync',
  quickRounds: 1,
  title: `Durable puts of new keys (mode fsync), values of 256 bytes: one at a time, each awaited, and atomic batches of ${BATCH_ENTRIES.toLocaleString('en')}`,
  metrics: [
    { key: 'batched', label: 'puts/s in batches', better: 'higher' },
    { key: 'single', label: 'single puts/s', better: 'higher' },
    { key: 'p50Us', label: 'single µs p50', better: 'lower' },
    { key: 'p99Us', label: 'p99', better: 'lower' },
    { key: 'gain', label: 'batches ÷ single', better: 'higher' },
  ],
  contenders: [SEALOG_STORE, SEALOG_STORE_JS, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, MAP].map(durablePuts),
  targets: [
    {
      text: 'batches of 1,000 ≥ 5 × single puts',
      needs: [SEALOG_STORE.name],
      judge: (results) => atLeast(results.median(SEALOG_STORE.name, 'gain'), 5),
    },
    {
      text: 'batches ahead of every peer',
      needs: [SEALOG_STORE.name],
      judge: (results) => atLeast(aheadOfPeers(results), 1),
    },
  ],
  notes: () => ['Batches of Map + NDJSON are not atomic. rocksdb-native is no contender: it has no way to sync its log.'],
}

function aheadOfPeers(results: Results): number {
  const peers = [LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, MAP].filter(({ name }) => results.has(name, 'batched'))
  return Math.min(...peers.map(({ name }) => results.ratio('batched', SEALOG_STORE.name, name)))
}

function atLeast(ratio: number, bound: number) {
  return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= bound }
}
