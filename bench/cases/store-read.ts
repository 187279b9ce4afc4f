import type { Case, Contender, Results, Run } from '../harness/case.js'
import { loadPeer } from '../harness/contenders.js'
import { makeRecords, mix, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import { LEVEL_KEYS, LMDB_KEYS, MAP, ROCKSDB, SEALOG_GET_MANY, SEALOG_STORE, SEALOG_UNCACHED, SEALOG_UNCACHED_JS, SQLITE_KEYS } from '../key-stores/index.js'
import { filled, type KeyStore, keyOf, scatteredKeys } from '../key-stores/key-store.js'

const keyCount = (run: Pick<Run, 'quick'>) => (run.quick ? 100_000 : 500_000)
const WARM_UP = 20_000

async function reads(store: KeyStore, keys: readonly string[]): Promise<{ ns: number; sum: number }> {
  let sum = 0
  const visit = (value: Uint8Array) => {
    sum = mix(sum, value)
  }
  const start = performance.now()
  const pending = store.read(keys, visit)
  if (pending !== undefined) await pending
  return { ns: ((performance.now() - start) * 1e6) / keys.length, sum }
}

export const storeGetUncached: Case = {
  name: 'store-get-uncached',
  quickRounds: 1,
  title: 'Get of random keys among 500,000 (--quick: 100,000), values of 256 bytes, files in the page cache, nothing cached above it',
  metrics: [{ key: 'ns', label: 'ns/get', better: 'lower' }],
  contenders: [SEALOG_UNCACHED, SEALOG_GET_MANY, SEALOG_UNCACHED_JS, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, ROCKSDB].map((kind) =>
    filled(kind, keyCount, async (store, run) => {
      const keys = Array.from(randomNumbers(WARM_UP + (run.quick ? 50_000 : 200_000), keyCount(run)), keyOf)
      const warm = await reads(store, keys.slice(0, WARM_UP))
      const { ns, sum } = await reads(store, keys.slice(WARM_UP))
      return { values: { ns }, work: { gets: keys.length, sum: warm.sum ^ sum } }
    }),
  ),
  targets: [atMost('getSync ≤ lmdb getBinary', SEALOG_UNCACHED.name, LMDB_KEYS.name, 'ns', 1)],
  notes: () => [
    'sealog and classic-level verify checksums, lmdb and SQLite have none. lmdb reads through a memory map, sealog by one pread. getMany and rocksdb-native are asynchronous and read many keys a call, the others one after the other on the calling thread.',
  ],
}

const CACHED_KEYS = 100_000
const HOT = 5000
/** Passes over the hot keys per timed call. */
const BURST = 20_000

interface Json {
  get(key: string): unknown
  close(): Promise<void>
}

/** Values of codec json: texts of 254 characters. */
function cachedGets(
  name: string,
  kind: Contender['kind'],
  open: (directory: string, texts: (key: number) => string) => Promise<Json>,
  packageName?: 'lmdb',
): Contender {
  return {
    name,
    kind,
    package: packageName,
    measure: async (run) => {
      const values = makeRecords(RECORD_BYTES).map((record) => JSON.parse(record.toString()) as string)
      const store = await open(run.directory, (number) => values[number % values.length])
      const hot = Array.from(randomNumbers(BURST, HOT), (number) => keyOf(number * (CACHED_KEYS / HOT)))
      let sum = 0
      const pass = () => {
        for (const key of hot) {
          const value = store.get(key) as string
          sum = (Math.imul(sum, 31) + value.charCodeAt(0) + value.length) | 0
        }
      }
      for (let i = 0; i < 10; i++) pass()
      const passes = run.quick ? 20 : 100
      const start = performance.now()
      for (let i = 0; i < passes; i++) pass()
      const ns = ((performance.now() - start) * 1e6) / (passes * BURST)
      await store.close()
      return { values: { ns }, work: { gets: passes * BURST, sum } }
    },
  }
}

function sealogJson(name: string, kind: Contender['kind'], options: object): Contender {
  return cachedGets(name, kind, async (directory, text) => {
    const { Store } = await import('sealog/store')
    const store = await Store.open<string>(directory, { codec: 'json', durability: 'flush', ...options })
    for (let at = 0; at < CACHED_KEYS; at += 1000) await store.putBatch(Array.from({ length: 1000 }, (_, i) => ({ key: keyOf(at + i), value: text(at + i) })))
    return { get: (key) => store.getSync(key), close: () => store.close() }
  })
}

function lmdbJson(name: string, options: object): Contender {
  return cachedGets(
    name,
    'peer',
    async (directory, text) => {
      const { open } = loadPeer('lmdb') as { open(options: object): Json & { put(key: string, value: string): Promise<boolean> } }
      const database = open({ path: directory, ...options })
      let last: Promise<boolean> | undefined
      for (let i = 0; i < CACHED_KEYS; i++) last = database.put(keyOf(i), text(i))
      await last
      return database
    },
    'lmdb',
  )
}

const LMDB_GET = 'lmdb get'

export const storeGetCached: Case = {
  name: 'store-get-cached',
  quickRounds: 1,
  title: `Get of ${HOT.toLocaleString('en')} hot keys among ${CACHED_KEYS.toLocaleString('en')}, values are texts of 254 characters (JSON; lmdb: its default encoding)`,
  metrics: [{ key: 'ns', label: 'ns/get', better: 'lower' }],
  contenders: [
    sealogJson(SEALOG_STORE.name, 'sealog', { backend: 'native' }),
    sealogJson(SEALOG_UNCACHED.name, 'baseline', { backend: 'native', recordCache: false }),
    sealogJson('sealog Store js', 'baseline', { backend: 'js' }),
    lmdbJson(LMDB_GET, {}),
    lmdbJson('lmdb get, cache: true', { cache: true }),
    cachedGets('Map', 'baseline', async (_directory, text) => {
      const map = new Map(scatteredKeys(CACHED_KEYS).map((key) => [key, text(Number(key.slice(5)))]))
      return { get: (key) => map.get(key), close: async () => {} }
    }),
  ],
  targets: [atMost('cached get ≤ 0.5 × lmdb get', SEALOG_STORE.name, LMDB_GET, 'ns', 0.5)],
}

const rangeKeys = (run: Pick<Run, 'quick'>) => (run.quick ? 50_000 : 200_000)
const SHORT = 100

export const storeRange: Case = {
  name: 'store-range',
  quickRounds: 1,
  title: `Keys with their values in order, of 200,000 (--quick: 50,000) that were put in scattered order: all of them, and ranges of ${SHORT}`,
  metrics: [
    { key: 'entriesPerSecond', label: 'entries/s', better: 'higher' },
    { key: 'shortUs', label: `µs for ${SHORT}`, better: 'lower' },
  ],
  contenders: [SEALOG_STORE, SEALOG_UNCACHED, SEALOG_UNCACHED_JS, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, ROCKSDB, MAP].map((kind) =>
    filled({ ...kind, kind: kind === SEALOG_UNCACHED ? 'baseline' : kind.kind }, rangeKeys, async (store, run) => {
      let sum = 0
      let seen = 0
      const visit = (key: string, value: Uint8Array) => {
        sum = (mix(sum, value) + key.charCodeAt(15)) | 0
        seen++
      }
      await store.range('', Number.POSITIVE_INFINITY, visit)
      const passes = run.quick ? 1 : 3
      const start = performance.now()
      for (let i = 0; i < passes; i++) await store.range('', Number.POSITIVE_INFINITY, visit)
      const all = (performance.now() - start) / 1e3
      const froms = Array.from(randomNumbers(run.quick ? 500 : 2000, rangeKeys(run) - SHORT), keyOf)
      const shortStart = performance.now()
      for (const from of froms) await store.range(from, SHORT, visit)
      const shortUs = ((performance.now() - shortStart) * 1e3) / froms.length
      return { values: { entriesPerSecond: (passes * rangeKeys(run)) / all, shortUs }, work: { seen, sum } }
    }),
  ),
  targets: [],
  notes: () => [
    'Values lie in the log in the order of their puts, so that a range in another order reads scattered positions; lmdb, SQLite and the LSM trees store them by key.',
  ],
}

function atMost(text: string, subject: string, reference: string, metric: string, bound: number) {
  return {
    text,
    needs: [subject, reference],
    judge: (results: Results) => {
      const ratio = results.ratio(metric, subject, reference)
      return { measured: `${ratio.toFixed(2)} × its time`, reached: ratio <= bound }
    },
  }
}
