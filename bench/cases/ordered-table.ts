import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Bench } from 'tinybench'
import type { Case, Contender, Measurement } from '../harness/case.js'
import { loadPeer } from '../harness/contenders.js'
import { ROOT } from '../harness/paths.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'

const KEYS = 100_000
/** Coprime to the numbers of keys: visits all of them, scattered. */
const STRIDE = 61_803
/** Single look-ups and first steps per timed call, so that the clock does not count. */
const PER_CALL = 4096
const STEPS_PER_CALL = 64
const MILLION = 1_000_000

/** What the contenders have in common. Keys are strings of 16 characters, values numbers. */
interface Table {
  put(key: string, value: number): void
  get(key: string): number | undefined
  /** Keys in order from one on. */
  keysFrom(key: string): Iterable<string>
  entries(): Iterable<readonly [unknown, number]>
}

interface Kind {
  /** An empty one, while those made before are done with. */
  make(): Table
  /** Puts made together are in effect when it returns. */
  fill?(table: Table, puts: () => void): void
}

const keyOf = (number: number) => Buffer.from(`user:${String(number).padStart(11, '0')}`).toString()

async function measureTable(kind: Kind): Promise<Measurement> {
  const fill = kind.fill ?? ((_, puts) => puts())
  const keys = Array.from({ length: KEYS }, (_, i) => keyOf((i * STRIDE) % KEYS))
  const putAll = (table: Table) => fill(table, () => keys.forEach((key, i) => table.put(key, i)))
  const table = kind.make()
  putAll(table)
  let at = 0
  let sum = 0
  const next = () => {
    at = at + 1 === KEYS ? 0 : at + 1
    return keys[at]
  }
  // Quick tasks first: filling leaves garbage for those that follow.
  const bench = new Bench({ time: 400, warmupTime: 100 })
  bench.add('getNs', () => {
    for (let i = 0; i < PER_CALL; i++) sum += table.get(next()) as number
  })
  bench.add('updateNs', () =>
    fill(table, () => {
      for (let i = 0; i < PER_CALL; i++) table.put(next(), i)
    }),
  )
  bench.add('firstUs', () => {
    for (let i = 0; i < STEPS_PER_CALL; i++) {
      for (const key of table.keysFrom(next())) {
        sum += key.length
        break
      }
    }
  })
  bench.add('keysPerSecond', () => {
    for (const key of table.keysFrom('user:')) sum += key.length
  })
  bench.add('entriesPerSecond', () => {
    for (const [, value] of table.entries()) sum += value
  })
  bench.add('putNs', () => putAll(kind.make()))
  await bench.run()
  const ms: Record<string, number> = {}
  for (const { name, result } of bench.tasks) {
    if (result.state !== 'completed') throw new Error(`tinybench: ${name} ${result.state}`)
    ms[name] = result.latency.p50
  }
  if (!Number.isFinite(sum)) throw new Error('a key was not there')
  return {
    values: {
      getNs: (ms.getNs * 1e6) / PER_CALL,
      putNs: (ms.putNs * 1e6) / KEYS,
      updateNs: (ms.updateNs * 1e6) / PER_CALL,
      firstUs: (ms.firstUs * 1e3) / STEPS_PER_CALL,
      keysPerSecond: KEYS / ms.keysPerSecond / 1e3,
      entriesPerSecond: KEYS / ms.entriesPerSecond / 1e3,
    },
    work: checkTable(kind, keys),
  }
}

/** That the table is one: all keys, in order, each with its value. */
function checkTable(kind: Kind, keys: readonly string[]): Record<string, number> {
  const fill = kind.fill ?? ((_, puts) => puts())
  const table = kind.make()
  fill(table, () => keys.forEach((key, i) => table.put(key, i)))
  let wrong = 0
  keys.forEach((key, i) => {
    if (table.get(key) !== i) wrong++
  })
  let listed = 0
  for (const key of table.keysFrom('user:')) if (key !== keyOf(listed++)) wrong++
  return { keys: listed, wrong }
}

function orderedTable(name: string, contender: Contender['kind'], backend: 'native' | 'js'): Contender {
  return {
    name,
    kind: contender,
    measure: async (run) => {
      const { OrderedTable } = await import('sealog/store')
      const make = (): Table => {
        const table = new OrderedTable<number>({ backend })
        return {
          put: (key, value) => table.put(key, value),
          get: (key) => table.get(key),
          keysFrom: (key) => table.keys({ gte: key }) as Iterable<string>,
          entries: () => table.entries(),
        }
      }
      const { values, work } = await measureTable({ make })
      const memory = await indexBytes(backend, run.quick ? [MILLION] : [MILLION, 10 * MILLION])
      return { values: { ...values, ...memory }, work }
    },
  }
}

/** Bytes per key of the index alone, keys and positions in it: the values are the user's. The class is no public interface; taken from the built package by path. */
async function indexBytes(backend: 'native' | 'js', sizes: readonly number[]): Promise<Record<string, number>> {
  const built = (path: string) => import(pathToFileURL(join(ROOT, 'dist', path)).href)
  const { KeyIndex } = (await built('store/key-index.js')) as {
    KeyIndex: new (kernels: object) => { put(key: string, value: number): number; readonly bytes: number; close(): void }
  }
  const { environmentFor } = (await built('log/environment.js')) as { environmentFor(backend: string): { kernels: object } }
  const bytes: Record<string, number> = {}
  for (const size of sizes) {
    const index = new KeyIndex(environmentFor(backend).kernels)
    for (let i = 0; i < size; i++) index.put(`user:${String((i * STRIDE) % size).padStart(11, '0')}`, i)
    bytes[`bytes${size / MILLION}M`] = index.bytes / size
    index.close()
    // The twin's are an estimate, and take long.
    if (backend === 'js') break
  }
  return bytes
}

/** No order: what a table without it costs, and what ordering costs when it is wanted once. */
const map: Contender = {
  name: 'Map, sorted when asked',
  kind: 'peer',
  measure: () =>
    measureTable({
      make: () => {
        const map = new Map<string, number>()
        let sorted: string[] | undefined
        const order = () => {
          sorted ??= [...map.keys()].sort()
          return sorted
        }
        return {
          put: (key, value) => {
            const before = map.size
            map.set(key, value)
            if (map.size !== before) sorted = undefined
          },
          get: (key) => map.get(key),
          *keysFrom(key) {
            const keys = order()
            let low = 0
            for (let high = keys.length; low < high; ) {
              const middle = (low + high) >>> 1
              if (keys[middle] < key) low = middle + 1
              else high = middle
            }
            for (; low < keys.length; low++) yield keys[low]
          },
          *entries() {
            for (const key of order()) yield [key, map.get(key) as number] as const
          },
        }
      },
    }),
}

interface Lmdb {
  open(options: object): {
    openDB(options: object): Database
    transactionSync(action: () => void): void
    close(): Promise<void>
  }
}

interface Database {
  putSync(key: string, value: number): boolean
  get(key: string): number | undefined
  clearSync(): void
  getKeys(options: object): Iterable<string>
  getRange(options: object): Iterable<{ key: string; value: number }>
}

/** Not synced, not even written: puts in one transaction, as tables in memory promise no more. */
const lmdb: Contender = {
  name: 'lmdb, noSync',
  kind: 'peer',
  package: 'lmdb',
  measure: async (run) => {
    const environment = (loadPeer('lmdb') as Lmdb).open({ path: run.directory, noSync: true, maxDbs: 4 })
    // The first table is read while others are filled; those take the place of each other.
    const databases = [0, 1].map((i) => environment.openDB({ name: `table ${i}` }))
    let made = 0
    const measured = await measureTable({
      fill: (_, puts) => environment.transactionSync(puts),
      make: () => {
        const database = databases[made === 0 ? 0 : 1]
        if (made++ > 1) database.clearSync()
        return {
          put: (key, value) => database.putSync(key, value),
          get: (key) => database.get(key),
          keysFrom: (key) => database.getKeys({ start: key }),
          *entries() {
            for (const { key, value } of database.getRange({})) yield [key, value] as const
          },
        }
      },
    })
    await environment.close()
    return measured
  },
}

export const orderedTables: Case = {
  name: 'ordered-table',
  quickRounds: 1,
  roundsFactor: 0.6,
  title: 'OrderedTable of 100,000 keys of 16 bytes, in memory',
  metrics: [
    { key: 'getNs', label: 'ns/get', better: 'lower' },
    { key: 'putNs', label: 'ns/put, new', better: 'lower' },
    { key: 'updateNs', label: 'ns/put, update', better: 'lower' },
    { key: 'firstUs', label: 'µs to first key', better: 'lower' },
    { key: 'keysPerSecond', label: 'M keys/s', better: 'higher' },
    { key: 'entriesPerSecond', label: 'M entries/s', better: 'higher' },
    { key: 'bytes1M', label: 'index bytes/key, 1 M', better: 'lower' },
    { key: 'bytes10M', label: '10 M', better: 'lower' },
  ],
  contenders: [orderedTable(SEALOG.name, 'sealog', 'native'), orderedTable(SEALOG_JS.name, 'baseline', 'js'), map, lmdb],
  targets: [
    { text: 'put of a new key ≤ 267 ns', needs: [SEALOG.name], judge: (results) => atMost(results.median(SEALOG.name, 'putNs'), 267, 'ns') },
    { text: 'get ≤ 143 ns', needs: [SEALOG.name], judge: (results) => atMost(results.median(SEALOG.name, 'getNs'), 143, 'ns') },
    { text: 'first step of an iterator ≤ 4 µs', needs: [SEALOG.name], judge: (results) => atMost(results.median(SEALOG.name, 'firstUs'), 4, 'µs') },
    {
      text: 'ordered range ≥ 5 M keys/s',
      needs: [SEALOG.name],
      judge: (results) => {
        const rate = results.median(SEALOG.name, 'keysPerSecond')
        return { measured: `${rate.toFixed(1)} M keys/s`, reached: rate >= 5 }
      },
    },
  ],
}

function atMost(measured: number, bound: number, unit: string) {
  return { measured: `${measured.toFixed(unit === 'ns' ? 0 : 1)} ${unit}`, reached: measured <= bound }
}
