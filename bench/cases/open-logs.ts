import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Case, Contender } from '../harness/case.js'
import { makeRecords, RECORD_BYTES, WorkCheck } from '../harness/work.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { bytesOf, type Store, type StoreKind } from '../stores/store.js'
import { concurrently } from '../stores/writers.js'

const TOGETHER = 16
/** One after the other; the figure does not change with more. */
const IN_TURN = 1000

/** `share` of the logs, for those that would take minutes; figures are per log. */
function contender(kind: StoreKind, share: number): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const count = (run.quick ? 1000 : 10_000) * share
      const records = makeRecords(RECORD_BYTES)
      const directory = (i: number) => join(run.directory, `log-${i}`)
      const create = async (i: number) => {
        mkdirSync(directory(i))
        const store = await kind.open(directory(i), 'flush')
        await store.append(records[i % records.length])
        await store.close()
      }
      const createMs = await perLog(count, (all) => concurrently(TOGETHER, all, create))
      const stores: Store[] = []
      const open = async (i: number) => {
        stores[i] = await kind.open(directory(i), 'flush')
      }
      const openMs = await perLog(Math.min(count, IN_TURN), (some) => concurrently(1, some, open))
      await closeAll(stores)
      const togetherMs = await perLog(count, (all) => concurrently(TOGETHER, all, open))
      check(stores, records)
      const closeMs = await perLog(count, () => closeAll(stores))
      return { values: { togetherMs, openMs, createMs, closeMs, openSeconds: (togetherMs * count) / 1000 }, work: {}, details: { count } }
    },
  }
}

async function perLog(count: number, all: (count: number) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await all(count)
  return (performance.now() - start) / count
}

async function closeAll(stores: Store[]): Promise<void> {
  for (const store of stores) await store.close()
  stores.length = 0
}

/** Each holds its own record. */
function check(stores: readonly Store[], records: readonly Buffer[]): void {
  const [found, expected] = [new WorkCheck(), new WorkCheck()]
  for (const [i, store] of stores.entries()) {
    found.add(bytesOf(store.get(0)))
    expected.add(records[i % records.length])
  }
  if (JSON.stringify(found.result()) !== JSON.stringify(expected.result())) throw new Error('the logs do not hold what was written into them')
}

export const openLogs: Case = {
  name: 'open-logs',
  title: '10,000 (--quick: 1,000) logs of one record each: created, closed, and all opened again in one process (mode flush)',
  roundsFactor: 0.2,
  quickRounds: 1,
  metrics: [
    { key: 'togetherMs', label: `ms/log, open, ${TOGETHER} at a time`, better: 'lower' },
    { key: 'openMs', label: 'ms/log, open, one by one', better: 'lower' },
    { key: 'createMs', label: `ms/log, create + append + close, ${TOGETHER} at a time`, better: 'lower' },
    { key: 'closeMs', label: 'ms/log, close', better: 'lower' },
    { key: 'openSeconds', label: `s to open all of them, ${TOGETHER} at a time`, better: 'lower' },
  ],
  contenders: [contender(SEALOG, 1), contender(SEALOG_JS, 0.1), contender(LMDB, 0.1), contender(SQLITE, 0.1)],
  targets: [],
  notes: () => [
    'All are open at the same time when they were opened again, and each is read. The others do a tenth of the logs. Memory of an open log: see idle-logs.',
  ],
}
