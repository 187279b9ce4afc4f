import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Store } from 'sealog/store'
import type { Case, Contender, Run } from '../harness/case.js'
import { memoryStatus, mix } from '../harness/work.js'
import { LEVEL_KEYS, LMDB_KEYS, MAP, ROCKSDB, SEALOG_STORE, SEALOG_STORE_JS, SQLITE_KEYS } from '../key-stores/index.js'
import { fill, type KeyStoreKind, keyOf, makeEntries, scatteredKeys } from '../key-stores/key-store.js'

const REPLAY = 'sealog Store, full replay'
const SNAPSHOT = 'SNAPSHOT'

const keyCount = (run: Run) => (run.quick ? 100_000 : 1_000_000)

type Prepare = (kind: KeyStoreKind, run: Run) => Promise<void>

async function prepare(kind: KeyStoreKind, run: Run): Promise<void> {
  const store = await kind.open(run.directory, 'flush')
  await fill(store, makeEntries(scatteredKeys(keyCount(run))))
  await store.close()
}

/** A snapshot of all keys, as a store that has been open for a while has one. */
async function prepareSnapshot(kind: KeyStoreKind, run: Run): Promise<void> {
  await prepare(kind, run)
  const store = await openStore(run.directory, kind)
  await store.snapshot()
  await store.close()
}

async function openStore(directory: string, kind: KeyStoreKind): Promise<Store> {
  const { Store } = await import('sealog/store')
  return Store.open(directory, { backend: kind === SEALOG_STORE_JS ? 'js' : 'native', durability: 'flush' })
}

function opening(kind: KeyStoreKind, name = kind.name, prepareWith: Prepare = prepare, before?: (run: Run) => void): Contender {
  return {
    name,
    kind: name === REPLAY ? 'baseline' : kind.kind,
    package: kind.package,
    prepare: (run) => prepareWith(kind, run),
    measure: async (run) => {
      await loadLibrary(kind, run.directory)
      before?.(run)
      const count = keyCount(run)
      let sum = 0
      const visit = (value: Uint8Array) => {
        sum = mix(sum, value)
      }
      const start = performance.now()
      const store = await kind.open(run.directory, 'flush')
      const openMs = performance.now() - start
      await store.read([keyOf(0), keyOf(count - 1)], visit)
      const firstMs = performance.now() - start
      await store.close()
      const snapshot = kind.name.startsWith('sealog') && before === undefined ? await measureSnapshot(run.directory, kind) : {}
      return { values: { openMs, firstMs, ...snapshot }, work: { keys: count, sum } }
    },
  }
}

/** How long the loop is held up while a snapshot of all keys is written. */
async function measureSnapshot(directory: string, kind: KeyStoreKind): Promise<Record<string, number>> {
  const store = await openStore(directory, kind)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  await new Promise((resolve) => setTimeout(resolve, 50))
  delay.enable()
  const start = performance.now()
  await store.snapshot()
  const snapshotMs = performance.now() - start
  // A timer that was held up at the end has not fired yet.
  await new Promise((resolve) => setTimeout(resolve, 5))
  delay.disable()
  await store.close()
  return { snapshotMs, pauseMs: delay.max / 1e6 }
}

/** Code of modules and binaries is no part of the store: an empty one is opened first. */
async function loadLibrary(kind: KeyStoreKind, directory: string): Promise<void> {
  const empty = await mkdtemp(`${directory}-empty-`)
  const store = await kind.open(empty, 'flush')
  await store.close()
  await rm(empty, { recursive: true })
}

export const storeOpen: Case = {
  name: 'store-open',
  quickRounds: 1,
  roundsFactor: 0.6,
  title: 'Open a store of 1,000,000 keys (--quick: 100,000), values of 256 bytes, that was closed cleanly',
  metrics: [
    { key: 'openMs', label: 'ms', better: 'lower' },
    { key: 'firstMs', label: 'ms to two values', better: 'lower' },
    { key: 'snapshotMs', label: 'ms to write a snapshot', better: 'lower' },
    { key: 'pauseMs', label: 'longest pause of the loop meanwhile', better: 'lower' },
  ],
  contenders: [
    opening(SEALOG_STORE, SEALOG_STORE.name, prepareSnapshot),
    opening(SEALOG_STORE, REPLAY, prepare, (run) => rmSync(join(run.directory, SNAPSHOT), { force: true })),
    opening(SEALOG_STORE_JS, SEALOG_STORE_JS.name, prepareSnapshot),
    ...[LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, ROCKSDB, MAP].map((kind) => opening(kind)),
  ],
  targets: [
    {
      text: '1 M keys with a snapshot ≤ 300 ms',
      needs: [SEALOG_STORE.name],
      judge: (results) => {
        const ms = results.median(SEALOG_STORE.name, 'openMs')
        return { measured: `${ms.toFixed(0)} ms${results.quick ? ' (100,000 keys)' : ''}`, reached: ms <= 300 }
      },
    },
    {
      text: '≥ 10 × faster than full replay',
      needs: [SEALOG_STORE.name, REPLAY],
      judge: (results) => {
        const ratio = results.ratio('openMs', REPLAY, SEALOG_STORE.name)
        return { measured: `${ratio.toFixed(1)} ×`, reached: ratio >= 10 }
      },
    },
    {
      text: 'no pause of the loop above 10 ms while the snapshot is written',
      needs: [SEALOG_STORE.name],
      judge: (results) => {
        const ms = results.median(SEALOG_STORE.name, 'pauseMs')
        return { measured: `${ms.toFixed(1)} ms${results.quick ? ' (100,000 keys)' : ''}`, reached: ms <= 10 }
      },
    },
  ],
  notes: () => [
    'lmdb, SQLite and the LSM trees have no index to load: they read pages when they are asked for something. A pause includes the 1 ms between two looks.',
  ],
}

const MILLION = 1_000_000

function memoryPerKey(kind: KeyStoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    nodeFlags: ['--expose-gc'],
    measure: async (run) => {
      const values: Record<string, number> = {}
      const store = await kind.open(run.directory, 'flush')
      const value = Buffer.from('"value"')
      const settled = async () => {
        await store.durable()
        await new Promise((resolve) => setTimeout(resolve, 200))
        globalThis.gc!()
        return memoryStatus('RssAnon')
      }
      for (let i = 0; i < 1000; i++) store.put(`warm:${String(i).padStart(11, '0')}`, value)
      const before = await settled()
      let keys = 0
      for (const million of run.quick ? [1] : [1, 10]) {
        const count = million * MILLION
        for (; keys < count; keys++) {
          store.put(keyOf(keys), value)
          if (store.full) await store.drain()
        }
        values[`rss${million}M`] = ((await settled()) - before) / count
      }
      let found = 0
      await store.read([keyOf(0), keyOf(keys - 1)], (one) => {
        found += one.length
      })
      await store.close()
      if (kind.name.startsWith('sealog')) {
        const reopened = await openStore(run.directory, kind)
        const { keys: held, indexBytes } = reopened.stats()
        values[`index${keys / MILLION}M`] = indexBytes / held
        await reopened.close()
      }
      return { values, work: { keys, found } }
    },
  }
}

export const storeMemory: Case = {
  name: 'store-memory',
  roundsFactor: 0.2,
  title: 'Memory per key of 16 bytes, values of 7 bytes, everything written and durable',
  metrics: [
    { key: 'rss1M', label: 'RSS bytes/key, 1 M', better: 'lower' },
    { key: 'rss10M', label: '10 M', better: 'lower' },
    { key: 'index1M', label: 'index bytes/key, 1 M', better: 'lower' },
    { key: 'index10M', label: '10 M', better: 'lower' },
  ],
  contenders: [SEALOG_STORE, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, ROCKSDB, MAP].map(memoryPerKey),
  targets: [],
  notes: () => [
    'RSS: growth of anonymous memory, keys in it; what a peer keeps in a memory map or the page cache does not count. Only sealog and the Map hold all keys in memory.',
  ],
}
