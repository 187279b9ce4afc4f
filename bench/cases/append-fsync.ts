import type { Case, Contender, Measurement, Metric, Plot, Results, Run, Verdict } from '../harness/case.js'
import { rawLimit } from '../harness/raw-limits.js'
import { percentile } from '../harness/statistics.js'
import { fileBytes, makeRecords, RECORD_BYTES, seconds, WorkCheck } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { WRITE_SYNC } from '../stores/lines.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import type { Store, StoreKind } from '../stores/store.js'

/** Of what is measured, done before it: code that is not compiled yet is a case of its own. */
const WARM_UP = 0.5

const PERCENTILES = [
  { key: 'p50Us', label: 'p50', fraction: 0.5, raw: 'p50Seconds', oneIn: 2 },
  { key: 'p90Us', label: 'p90', fraction: 0.9, raw: 'p90Seconds', oneIn: 10 },
  { key: 'p99Us', label: 'p99', fraction: 0.99, raw: 'p99Seconds', oneIn: 100 },
  { key: 'p999Us', label: 'p99.9', fraction: 0.999, raw: 'p999Seconds', oneIn: 1000 },
  { key: 'maxUs', label: 'max', fraction: 1, raw: 'maxSeconds', oneIn: Number.POSITIVE_INFINITY },
] as const

const METRICS: readonly Metric[] = [
  { key: 'recordsPerSecond', label: 'records/s', better: 'higher' },
  ...PERCENTILES.map(({ key, label }) => ({ key, label: `µs ${label}`, better: 'lower' as const })),
]

/** The axis tells how many appends there are to one that takes longer: 10 is p90. */
const PLOT: Plot = {
  name: 'latency',
  title: 'µs until durable that one append in … exceeds: 2 (p50), 10 (p90), 100 (p99), 1,000 (p99.9)',
  points: PERCENTILES.flatMap(({ key, oneIn }) => (Number.isFinite(oneIn) ? [{ x: oneIn, key }] : [])),
}

/** Writes `count` records and fills in how long each took to become durable, in ms. */
type Drive = (store: Store, records: readonly Buffer[], latencies: Float64Array) => Promise<void>

const oneAtATimeSync: Drive = async (store, records, latencies) => {
  for (let i = 0; i < latencies.length; i++) {
    const start = performance.now()
    store.appendDurableSync(records[i % records.length])
    latencies[i] = performance.now() - start
  }
}

/** So many writers, each waiting for its own record before the next one. */
function concurrent(writers: number): Drive {
  return async (store, records, latencies) => {
    let next = 0
    const writer = async () => {
      for (let i = next++; i < latencies.length; i = next++) {
        const start = performance.now()
        await store.appendDurable(records[i % records.length])
        latencies[i] = performance.now() - start
      }
    }
    await Promise.all(Array.from({ length: writers }, writer))
  }
}

function contender(kind: StoreKind, drive: Drive, records: (quick: boolean) => number, name = kind.name): Contender {
  return {
    name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run): Promise<Measurement> => {
      const store = await kind.open(run.directory, 'fsync')
      const pool = makeRecords(RECORD_BYTES)
      const warmUp = Math.ceil(records(run.quick) * WARM_UP)
      await drive(store, pool, new Float64Array(warmUp))
      const groupsBefore = store.groups

      const latencies = new Float64Array(records(run.quick))
      const start = performance.now()
      await drive(store, pool, latencies)
      const total = seconds(start)

      const groups = store.groups === undefined ? undefined : store.groups - groupsBefore!
      await store.close()
      const file = (fileBytes(run.directory, (name) => name.endsWith('.log')) * latencies.length) / (latencies.length + warmUp)
      return {
        values: {
          recordsPerSecond: latencies.length / total,
          ...Object.fromEntries(PERCENTILES.map(({ key, fraction }) => [key, percentile(latencies, fraction) * 1000])),
        },
        work: await check(kind, run),
        details: groups === undefined ? {} : { groups, groupBytes: Math.ceil(file / groups) },
      }
    },
  }
}

async function check(kind: StoreKind, run: Run): Promise<Record<string, string | number>> {
  const store = await kind.open(run.directory, 'fsync')
  const check = new WorkCheck()
  await store.scan((value) => check.add(value))
  await store.close()
  return check.result()
}

/** As many write + fdatasync as sealog made groups in this round, of the same size. */
function bareSyncs(name: string, preallocate: number, of: string, records: (quick: boolean) => number): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run) => {
      const sealog = run.earlier[of]
      if (!sealog?.details) throw new Error(`needs the group counts of ${of}, which failed in this round`)
      const { groups, groupBytes } = sealog.details
      const raw = rawLimit('sync', { file: `${run.directory}/file`, bytes: groupBytes, count: groups, preallocate })
      if (raw.bytes !== groups * groupBytes) throw new Error(`wrote ${raw.bytes} bytes instead of ${groups * groupBytes}`)
      return {
        values: {
          recordsPerSecond: records(run.quick) / raw.seconds,
          ...Object.fromEntries(PERCENTILES.map((one) => [one.key, raw[one.raw] * 1e6])),
        },
        work: {},
        details: { groups, groupBytes },
      }
    },
  }
}

const EXTENDING = 'write+fdatasync, extending'
const PREALLOCATED = 'write+fdatasync, preallocated'

const APPEND_SYNC = 'sealog appendSync'
const AWAIT_APPEND = 'sealog await append'

const oneWriterRecords = (quick: boolean) => (quick ? 300 : 1200)

export const appendFsync1: Case = {
  name: 'append-fsync-1',
  title: 'Durable append, one writer, 256-byte records',
  roundsFactor: 2,
  quickRounds: 2,
  metrics: METRICS,
  plots: [PLOT],
  contenders: [
    contender(SEALOG, oneAtATimeSync, oneWriterRecords, APPEND_SYNC),
    bareSyncs(EXTENDING, 0, APPEND_SYNC, oneWriterRecords),
    bareSyncs(PREALLOCATED, 1, APPEND_SYNC, oneWriterRecords),
    contender(SEALOG, concurrent(1), oneWriterRecords, AWAIT_APPEND),
    contender(SEALOG_JS, oneAtATimeSync, oneWriterRecords, 'sealog js appendSync'),
    contender(SEALOG_JS, concurrent(1), oneWriterRecords, 'sealog js await append'),
    contender(LMDB, concurrent(1), oneWriterRecords),
    contender(LMDB, oneAtATimeSync, oneWriterRecords, 'lmdb putSync'),
    contender(SQLITE, oneAtATimeSync, oneWriterRecords),
    contender(LEVEL, concurrent(1), oneWriterRecords),
    contender(WRITE_SYNC, oneAtATimeSync, oneWriterRecords, 'fs.writeSync + fdatasyncSync'),
  ],
  targets: [
    {
      text: 'appendSync ≤ 1.15 × a bare write+fdatasync loop on an appending file (p50)',
      needs: [APPEND_SYNC, EXTENDING],
      judge: (results) => atMost(results.ratio('p50Us', APPEND_SYNC, EXTENDING), 1.15),
    },
    {
      text: 'appendSync ≤ 1.15 × the same loop on a preallocated file (p50; sealog preallocates too)',
      needs: [APPEND_SYNC, PREALLOCATED],
      judge: (results) => atMost(results.ratio('p50Us', APPEND_SYNC, PREALLOCATED), 1.15),
    },
    {
      text: 'await append: the bare loop × 1.15 + one thread hop (47.5 µs, field notes A4)',
      needs: [AWAIT_APPEND, EXTENDING],
      judge: (results) => {
        const hop = results.median(AWAIT_APPEND, 'p50Us') - results.median(APPEND_SYNC, 'p50Us')
        const bound = 1.15 * results.median(EXTENDING, 'p50Us') + 47.5
        const p50 = results.median(AWAIT_APPEND, 'p50Us')
        return { measured: `${p50.toFixed(0)} µs against ${bound.toFixed(0)} µs; hop ${hop.toFixed(0)} µs`, reached: p50 <= bound }
      },
    },
  ],
}

const RECORDS_64 = (quick: boolean) => 64 * (quick ? 50 : 250)

export const appendFsync64: Case = {
  name: 'append-fsync-64',
  title: 'Durable append, 64 concurrent writers, 256-byte records',
  roundsFactor: 1.4,
  quickRounds: 2,
  metrics: METRICS,
  plots: [PLOT],
  contenders: [
    contender(SEALOG, concurrent(64), RECORDS_64),
    bareSyncs(EXTENDING, 0, SEALOG.name, RECORDS_64),
    bareSyncs(PREALLOCATED, 1, SEALOG.name, RECORDS_64),
    contender(SEALOG_JS, concurrent(64), RECORDS_64),
    contender(LMDB, concurrent(64), RECORDS_64),
    contender(LEVEL, concurrent(64), RECORDS_64),
  ],
  targets: [
    {
      text: "≥ 3 × lmdb's durable put",
      needs: [SEALOG.name, LMDB.name],
      judge: (results) => {
        const ratio = results.ratio('recordsPerSecond', SEALOG.name, LMDB.name)
        return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= 3 }
      },
    },
  ],
  notes: (results) => [...groupNote(results), 'better-sqlite3 is synchronous: 64 writers get what one gets, see append-fsync-1.'],
}

const RECORDS_1000 = (quick: boolean) => 1000 * (quick ? 30 : 200)

export const appendFsync1000: Case = {
  name: 'append-fsync-1000',
  title: 'Durable append, 1,000 waiters, 256-byte records',
  quickRounds: 2,
  metrics: METRICS,
  plots: [PLOT],
  contenders: [
    contender(SEALOG, concurrent(1000), RECORDS_1000),
    bareSyncs(EXTENDING, 0, SEALOG.name, RECORDS_1000),
    bareSyncs(PREALLOCATED, 1, SEALOG.name, RECORDS_1000),
    contender(SEALOG_JS, concurrent(1000), RECORDS_1000),
    contender(LMDB, concurrent(1000), RECORDS_1000),
  ],
  targets: [
    {
      text: '≥ 200,000 records/s, or within 1.2 × of raw sync rate × group size',
      needs: [SEALOG.name, EXTENDING],
      judge: (results) => {
        const rate = results.median(SEALOG.name, 'recordsPerSecond')
        const slower = 1 / results.ratio('recordsPerSecond', SEALOG.name, EXTENDING)
        return {
          measured: `${Math.round(rate).toLocaleString('en')} records/s, raw ÷ sealog ${slower.toFixed(2)}`,
          reached: rate >= 200_000 || slower <= 1.2,
        }
      },
    },
  ],
  notes: groupNote,
}

function groupNote(results: Results): readonly string[] {
  const groups = results.detail(SEALOG.name, 'groups')
  return [
    `sealog: ${groups.toFixed(0)} groups (one fdatasync each) of ${(results.detail(SEALOG.name, 'groupBytes') / 1024).toFixed(1)} KiB; the raw loops sync that many groups of that size.`,
  ]
}

function atMost(ratio: number, bound: number): Verdict {
  return { measured: `${ratio.toFixed(2)} ×`, reached: ratio <= bound }
}
