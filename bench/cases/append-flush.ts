import type { Case, Contender, Measurement, Run } from '../harness/case.js'
import { rawLimit } from '../harness/raw-limits.js'
import { median } from '../harness/statistics.js'
import { fileBytes, mainThreadNanoseconds, makeRecords, RECORD_BYTES, seconds, WorkCheck } from '../harness/work.js'
import { HYPERCORE } from '../stores/hypercore.js'
import { LEVEL } from '../stores/level.js'
import { NDJSON, WRITE_SYNC } from '../stores/lines.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_BATCHES, SEALOG_JS } from '../stores/sealog.js'
import { SONIC_BOOM } from '../stores/sonic-boom.js'
import { SQLITE } from '../stores/sqlite.js'
import type { Store, StoreKind } from '../stores/store.js'
import { stream } from '../stores/writers.js'

const WARM_UP = 50_000
const BURSTS = 5
/** 11 MB of frames: below the mark at which sealog asks its caller to wait. */
const BURST_RECORDS = 40_000

function throughputRecords(quick: boolean): number {
  return quick ? 250_000 : 1_000_000
}

/** `share` of the records, for those that would take minutes. */
function contender(kind: StoreKind, share = 1): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      const records = makeRecords(RECORD_BYTES)
      await stream(store, records, WARM_UP * share)

      const burstRecords = BURST_RECORDS * share
      const burst = await measureBursts(store, records, burstRecords)
      await store.durable()

      const count = throughputRecords(run.quick) * share
      const groupsBefore = store.groups
      const threadBefore = mainThreadNanoseconds()
      const start = performance.now()
      await stream(store, records, count)
      const committed = seconds(start)
      const thread = mainThreadNanoseconds() - threadBefore
      await store.durable()
      const durable = seconds(start)
      const groups = store.groups === undefined ? undefined : store.groups - groupsBefore!
      await store.close()

      const total = WARM_UP * share + BURSTS * burstRecords + count
      return {
        values: {
          recordsPerSecond: count / committed,
          // hypercore has no call that syncs
          ...(kind === HYPERCORE ? {} : { durableRecordsPerSecond: count / durable }),
          burstNs: burst,
          threadNs: thread / count,
        },
        work: share === 1 ? await check(kind, run) : await checkShare(kind, run, records, [WARM_UP * share, ...Array(BURSTS).fill(burstRecords), count]),
        details: { fileBytes: Math.round((fileBytes(run.directory, isData) * count) / total), ...(groups === undefined ? {} : { groups }) },
      }
    },
  }
}

/** Segments only: index and manifest are not what the limit writes. */
function isData(name: string): boolean {
  return name.endsWith('.log')
}

/** CPU time of the calling thread for accepting a record, in bursts that fit the queue: median over the bursts. */
async function measureBursts(store: Store, records: readonly Buffer[], burstRecords: number): Promise<number> {
  const costs: number[] = []
  for (let burst = 0; burst < BURSTS; burst++) {
    const before = mainThreadNanoseconds()
    for (let i = 0, at = 0; i < burstRecords; i++) {
      store.write(records[at])
      if (++at === records.length) at = 0
    }
    costs.push((mainThreadNanoseconds() - before) / burstRecords)
    await store.committed()
  }
  return median(costs)
}

/** Reads everything back from a newly opened store. */
async function check(kind: StoreKind, run: Run): Promise<Record<string, string | number>> {
  const store = await kind.open(run.directory, 'flush')
  const check = new WorkCheck()
  await store.scan((value) => check.add(value))
  await store.close()
  return check.result()
}

/** What a share of the work must have left: sequences of so many records, each from the first one on. */
async function checkShare(kind: StoreKind, run: Run, records: readonly Buffer[], sequences: readonly number[]): Promise<Record<string, never>> {
  const expected = new WorkCheck()
  for (const count of sequences) for (let i = 0; i < count; i++) expected.add(records[i % records.length])
  const [is, shouldBe] = [await check(kind, run), expected.result()].map((result) => JSON.stringify(result))
  if (is !== shouldBe) throw new Error(`holds ${is} instead of ${shouldBe}`)
  return {}
}

/** The same file bytes in groups of the same size as sealog wrote in this round, synced once a second and at the end. */
function bareWrites(name: string, preallocate: number, frame = 0, distinct = false): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run): Promise<Measurement> => {
      const sealog = run.earlier[SEALOG.name]
      if (!sealog?.details) throw new Error('needs the byte and group counts of sealog, which failed in this round')
      const { fileBytes: bytes, groups } = sealog.details
      const raw = rawLimit('append', {
        file: `${run.directory}/file`,
        bytes,
        group: Math.ceil(bytes / groups),
        preallocate,
        frame,
        ...(distinct ? { source: bytes } : {}),
      })
      if (raw.bytes !== bytes) throw new Error(`wrote ${raw.bytes} bytes instead of ${bytes}`)
      const count = throughputRecords(run.quick)
      return {
        values: { recordsPerSecond: count / raw.writtenSeconds, durableRecordsPerSecond: count / raw.syncedSeconds },
        work: {},
        details: { fileBytes: bytes, groups: raw.groups },
      }
    },
  }
}

const EXTENDING = 'pwrite, extending'
const PREALLOCATED = 'pwrite, preallocated'
/** Copying and checksumming included: what a log without JavaScript, on one thread, could do at best. */
const FRAMED = 'pwrite + copy + CRC, preallocated'
/** The same where every record comes from memory of its own, as records of a program do, not from a few that the processor's cache holds. */
const DISTINCT = 'pwrite + copy + CRC, distinct records'

export const appendFlush: Case = {
  name: 'append-flush',
  quickRounds: 2,
  title: 'Append without waiting for the disk (mode flush), 256-byte records: enqueue + committed',
  metrics: [
    { key: 'recordsPerSecond', label: 'records/s', better: 'higher' },
    { key: 'durableRecordsPerSecond', label: 'records/s with final sync', better: 'higher' },
    { key: 'burstNs', label: 'thread ns/record, burst', better: 'lower' },
    { key: 'threadNs', label: 'thread ns/record, all', better: 'lower' },
  ],
  contenders: [
    contender(SEALOG),
    bareWrites(EXTENDING, 0),
    bareWrites(PREALLOCATED, 1),
    bareWrites(FRAMED, 1, 24 + RECORD_BYTES),
    bareWrites(DISTINCT, 1, 24 + RECORD_BYTES, true),
    contender(SEALOG_BATCHES),
    contender(SEALOG_JS),
    contender(LMDB),
    contender(SQLITE),
    contender(LEVEL),
    contender(NDJSON),
    contender(WRITE_SYNC),
    contender(SONIC_BOOM),
    contender(HYPERCORE, 0.1),
  ],
  targets: [
    {
      text: 'JavaScript-thread cost ≤ 150 ns a record',
      needs: [SEALOG.name],
      judge: (results) => {
        const ns = results.median(SEALOG.name, 'burstNs')
        return {
          measured: `${ns.toFixed(0)} ns (${results.median(SEALOG.name, 'threadNs').toFixed(0)} ns with completions)`,
          reached: ns <= 150,
        }
      },
    },
    {
      text: 'throughput ≥ 0.85 × bare pwrite loop (extending) of the same bytes and syncs',
      needs: [SEALOG.name, EXTENDING],
      judge: (results) => atLeast(results.ratio('recordsPerSecond', SEALOG.name, EXTENDING), 0.85),
    },
    {
      text: 'throughput ≥ 0.85 × bare pwrite loop (preallocated like sealog) of the same bytes and syncs',
      needs: [SEALOG.name, PREALLOCATED],
      judge: (results) => atLeast(results.ratio('recordsPerSecond', SEALOG.name, PREALLOCATED), 0.85),
    },
    {
      text: 'throughput ≥ 0.85 × the loop that copies and checksums distinct records',
      needs: [SEALOG.name, DISTINCT],
      judge: (results) => atLeast(results.ratio('recordsPerSecond', SEALOG.name, DISTINCT), 0.85),
    },
    {
      text: "throughput ≥ 4 × lmdb's asynchronous put",
      needs: [SEALOG.name, LMDB.name],
      judge: (results) => atLeast(results.ratio('recordsPerSecond', SEALOG.name, LMDB.name), 4),
    },
  ],
  notes: (results) => [
    `sealog: ${results.detail(SEALOG.name, 'groups').toFixed(0)} groups of ${(results.detail(SEALOG.name, 'fileBytes') / results.detail(SEALOG.name, 'groups') / 1024).toFixed(0)} KiB on average; the pwrite loops write groups of that size.`,
    'thread ns/record: CPU time of the JavaScript thread alone; "burst" is the accepting loop, "all" includes completions and back-pressure.',
    'The pwrite loops write one buffer that is warm in the cache of the processor; the one with distinct records reads as much memory as it writes. hypercore writes a tenth of the records.',
  ],
}

function atLeast(ratio: number, bound: number) {
  return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= bound }
}
