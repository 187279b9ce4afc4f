import type { Log } from 'sealog'
import type { Store } from 'sealog/store'
import type { Case, Contender } from '../harness/case.js'
import { makeRecords, RECORD_BYTES, seconds } from '../harness/work.js'

const MODES = ['fsync', 'flush', 'none'] as const
type Mode = (typeof MODES)[number]

const BATCH = 1000
const CONCURRENT = 64
const WARM_UP = 5000

/** Writes `count` records; resolves when all of them are acknowledged. */
type Write<T> = (target: T, count: number) => Promise<void>

const records = makeRecords(RECORD_BYTES)
const value = (i: number): Buffer => records[i % records.length]

function count(quick: boolean, share: number): number {
  return Math.round((quick ? 20_000 : 100_000) * share)
}

/** `awaits`: every record, or every few, waits for the disk, so that in mode fsync a part of the records is enough. */
function contender<T extends Log | Store>(name: string, open: (directory: string, durability: Mode) => Promise<T>, write: Write<T>, awaits = 1): Contender {
  return {
    name,
    kind: 'baseline',
    measure: async (run) => {
      const values: Record<string, number> = {}
      for (const mode of MODES) {
        const target = await open(`${run.directory}/${mode}`, mode)
        const warmUp = Math.round(WARM_UP * (mode === 'fsync' ? awaits : 1))
        await write(target, warmUp)
        await target.sync()
        const wanted = count(run.quick, mode === 'fsync' ? awaits : 1)
        const start = performance.now()
        await write(target, wanted)
        // What is accepted is not written yet in mode none.
        await target.flush()
        values[mode] = wanted / seconds(start)
        const { endOffset, committedOffset } = endsOf(target)
        if (endOffset !== warmUp + wanted || committedOffset !== endOffset) throw new Error(`${endOffset} records instead of ${warmUp + wanted}`)
        await target.close()
      }
      return { values, work: {} }
    },
  }
}

function endsOf(target: Log | Store): { readonly endOffset: number; readonly committedOffset: number } {
  const stats = target.stats()
  return 'log' in stats ? stats.log : stats
}

// Imported here, so that processes of other cases do not load them.
const openLog = async (directory: string, durability: Mode): Promise<Log> => (await import('sealog')).Log.open(directory, { durability })
const openStore = async (directory: string, durability: Mode): Promise<Store> =>
  (await import('sealog/store')).Store.open(directory, { durability, snapshotBytes: false })

async function inTurn(howMany: number, one: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < howMany; i++) await one(i)
}

async function together(howMany: number, one: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const caller = async () => {
    while (next < howMany) await one(next++)
  }
  await Promise.all(Array.from({ length: CONCURRENT }, caller))
}

async function inBatches<V>(howMany: number, item: (i: number) => V, batch: (items: V[]) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < howMany; i += BATCH) await batch(Array.from({ length: Math.min(BATCH, howMany - i) }, (_, n) => item(i + n)))
}

function* items<V>(howMany: number, item: (i: number) => V): Generator<V> {
  for (let i = 0; i < howMany; i++) yield item(i)
}

const entry = (i: number) => ({ key: i, value: value(i) })
const record = (i: number) => ({ value: value(i) })
const SINGLE = 'log.append, one after the other'
const BATCHES = `log.appendBatch(${BATCH})`
const STORE_SINGLE = 'store.put, one after the other'
const STORE_WRITE_BATCH = `store.batchWriter().writeBatch(${BATCH})`

export const waysToWrite: Case = {
  name: 'ways-to-write',
  title: `Ways to write ${RECORD_BYTES}-byte records into a log and into a store, until acknowledged: records/s by durability`,
  metrics: MODES.map((mode) => ({ key: mode, label: `records/s, ${mode}`, better: 'higher' as const })),
  contenders: [
    contender(SINGLE, openLog, (log, n) => inTurn(n, (i) => log.append(value(i))), 0.02),
    contender(`log.append, ${CONCURRENT} callers`, openLog, (log, n) => together(n, (i) => log.append(value(i))), 0.5),
    contender('log.enqueue + drain', openLog, async (log, n) => {
      for (let i = 0; i < n; i++) {
        log.enqueue(value(i))
        if (log.writableNeedDrain) await log.drain()
      }
      await log.flush()
    }),
    contender(BATCHES, openLog, (log, n) => inBatches(n, value, (values) => log.appendBatch(values))),
    contender(
      `log.batchWriter().writeOne, ${CONCURRENT} callers`,
      openLog,
      (log, n) => {
        const writer = log.batchWriter()
        return together(n, (i) => writer.writeOne(record(i)))
      },
      0.1,
    ),
    contender(`log.batchWriter().writeBatch(${BATCH})`, openLog, (log, n) => {
      const writer = log.batchWriter()
      return inBatches(n, record, (list) => writer.writeBatch(list))
    }),
    contender('log.batchWriter().writeAll', openLog, async (log, n) => {
      await log.batchWriter().writeAll(items(n, record))
    }),
    contender(STORE_SINGLE, openStore, (store, n) => inTurn(n, (i) => store.put(i, value(i))), 0.02),
    contender(`store.put, ${CONCURRENT} callers`, openStore, (store, n) => together(n, (i) => store.put(i, value(i))), 0.5),
    contender(`store.putBatch(${BATCH})`, openStore, (store, n) => inBatches(n, entry, (entries) => store.putBatch(entries))),
    contender(`store.putBatchDeferred(${BATCH})`, openStore, (store, n) => inBatches(n, entry, (entries) => store.putBatchDeferred(entries))),
    contender(STORE_WRITE_BATCH, openStore, (store, n) => {
      const writer = store.batchWriter()
      return inBatches(n, entry, (list) => writer.writeBatch(list))
    }),
    contender('store.batchWriter().writeAll', openStore, async (store, n) => {
      await store.batchWriter().writeAll(items(n, entry))
    }),
  ],
  targets: [
    {
      text: 'mode fsync: batches of 1,000 through the batch writer ≥ 5 × single puts',
      needs: [STORE_SINGLE, STORE_WRITE_BATCH],
      judge: (results) => {
        const ratio = results.ratio('fsync', STORE_WRITE_BATCH, STORE_SINGLE)
        return { measured: `${ratio.toFixed(1)} ×`, reached: ratio >= 5 }
      },
    },
  ],
  notes: () => ['"until acknowledged" and then `flush()`, so that mode none has written what it counts, and a store has synced it in every mode.'],
}
