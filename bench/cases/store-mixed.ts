import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import type { Case } from '../harness/case.js'
import { percentile } from '../harness/statistics.js'
import { makeRecords, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import { LEVEL_KEYS, LMDB_KEYS, ROCKSDB, SEALOG_STORE, SEALOG_STORE_JS, SQLITE_KEYS } from '../key-stores/index.js'
import { filled, type KeyStore, type KeyStoreKind, keyOf } from '../key-stores/key-store.js'

const CLIENTS = 64
const KEYS = 50_000
/** Of ten operations of a client these many are puts that are durable before it goes on, one is a range of RANGE keys, the rest are gets. */
const PUTS = 2
const RANGE = 20
/** About 15,000 operations per second are asked for. */
const LEAST_PAUSE_MS = 2

/** A client as a server has one: it takes its time between an answer and the next request. Clients that never pause would measure how many fit into a turn of the loop. */
async function client(store: KeyStore, puts: boolean, numbers: Uint32Array, values: readonly Buffer[], until: number, latencies: number[]): Promise<number> {
  let done = 0
  for (let i = 0; performance.now() < until; i++) {
    const key = keyOf(numbers[i % numbers.length])
    const start = performance.now()
    const kind = i % 10
    if (kind < PUTS && puts) await store.putDurable(key, values[i % values.length])
    else if (kind === 9) await store.range(key, RANGE, () => {})
    else await store.read([key], () => {})
    latencies.push((performance.now() - start) * 1e3)
    done++
    await pause(LEAST_PAUSE_MS + (i % 3))
  }
  return done
}

const durable = (kind: KeyStoreKind): KeyStoreKind => ({ ...kind, open: (directory) => kind.open(directory, 'fsync') })

export const storeMixed: Case = {
  name: 'store-mixed',
  quickRounds: 1,
  roundsFactor: 0.6,
  title: `${CLIENTS} clients at once on ${KEYS.toLocaleString('en')} keys: 70 % gets, 20 % durable puts (mode fsync), 10 % ranges of ${RANGE}, 2 to 4 ms between an answer and the next request`,
  metrics: [
    { key: 'loopMs', label: 'event loop delay p99 ms', better: 'lower' },
    { key: 'loopMaxMs', label: 'max', better: 'lower' },
    { key: 'operationsPerSecond', label: 'operations/s', better: 'higher' },
    { key: 'p50Us', label: 'µs p50', better: 'lower' },
    { key: 'p99Us', label: 'p99', better: 'lower' },
  ],
  contenders: [SEALOG_STORE, SEALOG_STORE_JS, LMDB_KEYS, LEVEL_KEYS, SQLITE_KEYS, ROCKSDB].map((kind) =>
    filled(
      durable(kind),
      () => KEYS,
      async (store, run) => {
        const values = makeRecords(RECORD_BYTES)
        const numbers = randomNumbers(CLIENTS * 1000, KEYS)
        const puts = kind !== ROCKSDB
        const load = async (ms: number) => {
          const latencies: number[] = []
          const until = performance.now() + ms
          const clients = Array.from({ length: CLIENTS }, (_, i) => client(store, puts, numbers.subarray(i * 1000, (i + 1) * 1000), values, until, latencies))
          const done = (await Promise.all(clients)).reduce((sum, one) => sum + one, 0)
          return { done, latencies, seconds: (performance.now() - until + ms) / 1e3 }
        }
        await load(300)
        const delay = monitorEventLoopDelay({ resolution: 1 })
        delay.enable()
        const { done, latencies, seconds } = await load(run.quick ? 1500 : 5000)
        delay.disable()
        let keys = 0
        await store.range('', Number.POSITIVE_INFINITY, (_, value) => {
          if (value.length === RECORD_BYTES) keys++
        })
        return {
          values: {
            operationsPerSecond: done / seconds,
            loopMs: delay.percentile(99) / 1e6,
            loopMaxMs: delay.max / 1e6,
            p50Us: percentile(latencies, 0.5),
            p99Us: percentile(latencies, 0.99),
          },
          work: { keys },
        }
      },
    ),
  ),
  targets: [
    {
      text: 'event loop delay p99 < 5 ms',
      needs: [SEALOG_STORE.name],
      judge: (results) => {
        const ms = results.median(SEALOG_STORE.name, 'loopMs')
        return { measured: `${ms.toFixed(1)} ms`, reached: ms < 5 }
      },
    },
  ],
  notes: () => [
    'rocksdb-native has no way to make a put durable, so its puts are gets here. better-sqlite3 and lmdb serve gets on the calling thread, as sealog does.',
  ],
}
