import { setTimeout as pause } from 'node:timers/promises'
import type { Store } from 'sealog/store'
import type { Case, Contender } from '../harness/case.js'
import { percentile } from '../harness/statistics.js'
import { makeRecords, RECORD_BYTES, WorkCheck } from '../harness/work.js'
import { SEALOG_STORE, SEALOG_STORE_JS } from '../key-stores/index.js'
import { keyOf } from '../key-stores/key-store.js'

const KEYS = 50_000
/** Every key is written so often; the last version of each stays. */
const VERSIONS = 10
const SEGMENT_BYTES = 16 * 2 ** 20
/** One durable put after the other, at this distance, before and during compaction. */
const PUT_EVERY_MS = 2

async function write(store: Store, rounds: number): Promise<void> {
  const values = makeRecords(RECORD_BYTES)
  for (let i = 0; i < rounds * KEYS; i++) {
    void store.put(keyOf(i % KEYS), values[(i * 7 + Math.floor(i / KEYS)) % values.length])
    if (store.writableNeedDrain) await store.drain()
  }
  await store.flush()
}

/** Latencies of puts until `stop` is aborted, in µs. */
async function putsUntil(store: Store, stop: AbortSignal): Promise<number[]> {
  const latencies: number[] = []
  for (let i = 0; !stop.aborted; i++) {
    const start = performance.now()
    await store.put(`other:${String(i).padStart(10, '0')}`, Buffer.from('"value"'))
    latencies.push((performance.now() - start) * 1e3)
    await pause(PUT_EVERY_MS)
  }
  return latencies
}

async function beside<T>(store: Store, work: () => Promise<T>): Promise<{ result: T; latencies: number[] }> {
  const stop = new AbortController()
  const puts = putsUntil(store, stop.signal)
  const result = await work().finally(() => stop.abort())
  return { result, latencies: await puts }
}

function compaction(name: string, kind: Contender['kind'], backend: 'native' | 'js'): Contender {
  return {
    name,
    kind,
    measure: async (run) => {
      const { Store } = await import('sealog/store')
      const store = await Store.open(run.directory, { backend, durability: 'fsync', segmentBytes: SEGMENT_BYTES, compaction: false })
      await write(store, run.quick ? 3 : VERSIONS)
      const quiet = await beside(store, () => pause(run.quick ? 1000 : 3000))
      const start = performance.now()
      const { result, latencies } = await beside(store, () => store.compact({ keepCompleteChunks: 0 }))
      const seconds = (performance.now() - start) / 1e3
      const check = new WorkCheck()
      for await (const [key, value] of store.entries({ prefix: 'user:' })) {
        check.add(Buffer.from(key as string))
        check.add(value)
      }
      await store.close()
      return {
        values: {
          mbPerSecond: result.bytesBefore / 1e6 / seconds,
          putP99Us: percentile(latencies, 0.99),
          quietP99Us: percentile(quiet.latencies, 0.99),
          left: result.bytesAfter / result.bytesBefore,
        },
        work: check.result(),
        details: { segments: result.segments },
      }
    },
  }
}

export const storeCompaction: Case = {
  name: 'store-compaction',
  roundsFactor: 0.6,
  title: `Compaction of ${KEYS.toLocaleString('en')} keys written ${VERSIONS} times (--quick: 3), values of 256 bytes, beside one durable put after the other`,
  metrics: [
    { key: 'mbPerSecond', label: 'MB/s read', better: 'higher' },
    { key: 'putP99Us', label: 'put µs p99 meanwhile', better: 'lower' },
    { key: 'quietP99Us', label: 'put µs p99 without', better: 'lower' },
    { key: 'left', label: 'bytes left', better: 'lower' },
  ],
  contenders: [compaction(SEALOG_STORE.name, 'sealog', 'native'), compaction(SEALOG_STORE_JS.name, 'baseline', 'js')],
  targets: [
    {
      text: '≥ 150 MB/s',
      needs: [SEALOG_STORE.name],
      judge: (results) => {
        const rate = results.median(SEALOG_STORE.name, 'mbPerSecond')
        return { measured: `${rate.toFixed(0)} MB/s`, reached: rate >= 150 }
      },
    },
    {
      text: 'p99 of durable puts meanwhile ≤ 2 × without',
      needs: [SEALOG_STORE.name],
      judge: (results) => {
        const ratio = results.median(SEALOG_STORE.name, 'putP99Us') / results.median(SEALOG_STORE.name, 'quietP99Us')
        return { measured: `${ratio.toFixed(2)} ×`, reached: ratio <= 2 }
      },
    },
  ],
}
