/** Appends by mode, number of writers and size of the records: the same cells for all, in one process per contender and round. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Case, Contender, Measurement, Results, Target } from '../harness/case.js'
import { type RawOutput, rawLimit } from '../harness/raw-limits.js'
import { fileBytes, makeRecords, seconds, WorkCheck } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { NDJSON, WRITE_SYNC } from '../stores/lines.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_BATCHES, SEALOG_JS } from '../stores/sealog.js'
import { SONIC_BOOM } from '../stores/sonic-boom.js'
import { SQLITE } from '../stores/sqlite.js'
import type { Durability, StoreKind } from '../stores/store.js'
import { concurrent, durableSync, stream, type Write } from '../stores/writers.js'

const KIB = 1024
const MIB = KIB * KIB
const SIZES = [64, 256, 4 * KIB, 64 * KIB]
/** Shares of what is measured; the first size also warms the code. */
const WARM_UP = 0.2
const FIRST_WARM_UP = 2

/** How much is written of each size: so many records, or so many bytes where that is less. */
interface Amount {
  readonly records: number
  readonly bytes: number
}

interface Cell {
  readonly mode: Durability
  readonly writers: number
  readonly quick: Amount
  readonly full: Amount
}

function countOf({ writers, quick, full }: Cell, isQuick: boolean, size: number): number {
  const { records, bytes } = isQuick ? quick : full
  return Math.max(writers, Math.min(records, Math.floor(bytes / size)))
}

function contender(cell: Cell, kind: StoreKind, write: Write, name = kind.name): Contender {
  return {
    name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run): Promise<Measurement> => {
      const values: Record<string, number> = {}
      const details: Record<string, number> = {}
      const work: Record<string, string | number> = {}
      for (const size of SIZES) {
        const directory = join(run.directory, String(size))
        mkdirSync(directory)
        const records = makeRecords(size)
        const count = countOf(cell, run.quick, size)
        const warmUp = Math.ceil(count * (size === SIZES[0] ? FIRST_WARM_UP : WARM_UP))
        const store = await kind.open(directory, cell.mode)
        await write(store, records, warmUp)
        const groupsBefore = store.groups

        const start = performance.now()
        await write(store, records, count)
        values[rateOf(size)] = count / seconds(start)

        if (store.groups !== undefined) details[`groups${size}`] = store.groups - groupsBefore!
        await store.close()
        details[`bytes${size}`] = Math.round((fileBytes(directory, (file) => file.endsWith('.log')) * count) / (count + warmUp))
        for (const [key, value] of Object.entries(await check(kind, cell.mode, directory))) work[`${key}, ${size} B`] = value
        rmSync(directory, { recursive: true })
      }
      return { values, work, details }
    },
  }
}

async function check(kind: StoreKind, mode: Durability, directory: string): Promise<Record<string, string | number>> {
  const store = await kind.open(directory, mode)
  const check = new WorkCheck()
  await store.scan((value) => check.add(value))
  await store.close()
  return check.result()
}

/** What a size costs without Node: the file bytes and groups of sealog in this round. */
function limit(
  cell: Cell,
  name: string,
  subject: string,
  measure: (written: { file: string; bytes: number; groups: number; size: number }) => number,
): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run) => {
      const details = run.earlier[subject]?.details
      if (details === undefined) throw new Error(`needs the byte and group counts of ${subject}, which failed in this round`)
      const values = SIZES.map((size) => {
        const elapsed = measure({ file: join(run.directory, 'file'), bytes: details[`bytes${size}`], groups: details[`groups${size}`], size })
        return [rateOf(size), countOf(cell, run.quick, size) / elapsed] as const
      })
      return { values: Object.fromEntries(values), work: {} }
    },
  }
}

function checked(raw: RawOutput, bytes: number): RawOutput {
  if (raw.bytes !== bytes) throw new Error(`wrote ${raw.bytes} bytes instead of ${bytes}`)
  return raw
}

/** Header and padding of a frame: see docs/format.md. */
function frameBytes(size: number): number {
  return Math.ceil((24 + size) / 8) * 8
}

const rateOf = (size: number) => `rate${size}`
const sizeLabel = (size: number) => (size < KIB ? `${size} B` : `${size / KIB} KiB`)

const PWRITE = 'pwrite, preallocated'
const DISTINCT = 'pwrite + copy + CRC, distinct records'
const SYNCED = 'write+fdatasync, preallocated'

function flushLimits(cell: Cell): readonly Contender[] {
  return [
    limit(cell, PWRITE, SEALOG.name, ({ file, bytes, groups }) => {
      return checked(rawLimit('append', { file, bytes, group: Math.ceil(bytes / groups), preallocate: 1 }), bytes).writtenSeconds
    }),
    limit(cell, DISTINCT, SEALOG.name, ({ file, bytes, groups, size }) => {
      const frame = frameBytes(size)
      const values = { file, bytes, group: Math.max(frame, Math.ceil(bytes / groups)), preallocate: 1, frame, source: bytes }
      return checked(rawLimit('append', values), bytes).writtenSeconds
    }),
  ]
}

function syncLimit(cell: Cell, subject: string): Contender {
  return limit(cell, SYNCED, subject, ({ file, bytes, groups }) => {
    const group = Math.ceil(bytes / groups)
    return checked(rawLimit('sync', { file, bytes: group, count: groups, preallocate: 1 }), group * groups).seconds
  })
}

/** The size at which the subject does worst against the best of others. */
function worst(results: Results, subject: string, others: readonly string[]): { readonly ratio: number; readonly text: string } | undefined {
  const rows = SIZES.flatMap((size) => {
    const metric = rateOf(size)
    const measured = others.filter((name) => results.has(name, metric)).sort((a, b) => results.median(b, metric) - results.median(a, metric))
    if (measured.length === 0) return []
    const ratio = results.ratio(metric, subject, measured[0])
    return [{ ratio, text: `${ratio.toFixed(2)} × ${measured[0]} at ${sizeLabel(size)}` }]
  })
  return rows.sort((a, b) => a.ratio - b.ratio)[0]
}

function target(text: string, subject: string, others: readonly string[], bound: number): Target {
  return {
    text,
    needs: [subject],
    judge: (results) => {
      const found = worst(results, subject, others)
      return found === undefined ? { measured: 'nobody to compare with', reached: false } : { measured: found.text, reached: found.ratio >= bound }
    },
  }
}

function sizesCase(cell: Cell, how: string, contenders: readonly Contender[], limitName: string): Case {
  const subject = contenders[0].name
  const peers = contenders.filter(({ kind }) => kind === 'peer').map(({ name }) => name)
  const writers = cell.writers === 1 ? 'one writer' : `${cell.writers.toLocaleString('en')} writers`
  return {
    name: `append-sizes-${cell.mode}-${cell.writers}`,
    title: `Append by size of the records, mode ${cell.mode}, ${writers}: ${how}`,
    roundsFactor: 0.6,
    quickRounds: 1,
    metrics: SIZES.map((size) => ({ key: rateOf(size), label: `records/s, ${sizeLabel(size)}`, better: 'higher' })),
    contenders,
    targets: [target('ahead of every peer at every size', subject, peers, 1), target(`≥ 0.85 × ${limitName} at every size`, subject, [limitName], 0.85)],
    plots: [{ name: 'records', title: 'records/s by size of the record in bytes', points: SIZES.map((size) => ({ x: size, key: rateOf(size) })) }],
  }
}

const FLUSH_1: Cell = { mode: 'flush', writers: 1, quick: { records: 60_000, bytes: 24 * MIB }, full: { records: 300_000, bytes: 64 * MIB } }
const FLUSH_MANY = [
  { mode: 'flush', writers: 64, quick: { records: 12_800, bytes: 24 * MIB }, full: { records: 64_000, bytes: 64 * MIB } },
  { mode: 'flush', writers: 1000, quick: { records: 20_000, bytes: 24 * MIB }, full: { records: 80_000, bytes: 96 * MIB } },
] as const satisfies readonly Cell[]
const FSYNC_1: Cell = { mode: 'fsync', writers: 1, quick: { records: 60, bytes: 24 * MIB }, full: { records: 250, bytes: 96 * MIB } }
const FSYNC_MANY = [
  { mode: 'fsync', writers: 64, quick: { records: 1280, bytes: 24 * MIB }, full: { records: 3200, bytes: 64 * MIB } },
  { mode: 'fsync', writers: 1000, quick: { records: 4000, bytes: 24 * MIB }, full: { records: 20_000, bytes: 96 * MIB } },
] as const satisfies readonly Cell[]

const APPEND_SYNC = 'sealog appendSync'

export const appendSizes: readonly Case[] = [
  sizesCase(
    FLUSH_1,
    'enqueue + committed',
    [
      ...[SEALOG, SEALOG_BATCHES].map((kind) => contender(FLUSH_1, kind, stream)),
      ...flushLimits(FLUSH_1),
      ...[SEALOG_JS, LMDB, SQLITE, LEVEL, NDJSON, WRITE_SYNC, SONIC_BOOM].map((kind) => contender(FLUSH_1, kind, stream)),
    ],
    DISTINCT,
  ),
  ...FLUSH_MANY.map((cell) => {
    const write = concurrent(cell.writers, 'append')
    return sizesCase(
      cell,
      'each waits for its record to be committed',
      [contender(cell, SEALOG, write), ...flushLimits(cell), ...[SEALOG_JS, LMDB, SQLITE, LEVEL, NDJSON].map((kind) => contender(cell, kind, write))],
      DISTINCT,
    )
  }),
  sizesCase(
    FSYNC_1,
    'each record durable before the next',
    [
      contender(FSYNC_1, SEALOG, durableSync, APPEND_SYNC),
      syncLimit(FSYNC_1, APPEND_SYNC),
      contender(FSYNC_1, SEALOG, concurrent(1, 'appendDurable'), 'sealog await append'),
      contender(FSYNC_1, SEALOG_JS, durableSync, 'sealog js appendSync'),
      contender(FSYNC_1, LMDB, durableSync, 'lmdb putSync'),
      contender(FSYNC_1, SQLITE, durableSync),
      contender(FSYNC_1, LEVEL, concurrent(1, 'appendDurable')),
      contender(FSYNC_1, WRITE_SYNC, durableSync, 'fs.writeSync + fdatasyncSync'),
    ],
    SYNCED,
  ),
  ...FSYNC_MANY.map((cell) => {
    const write = concurrent(cell.writers, 'appendDurable')
    return sizesCase(
      cell,
      'each waits for its record to be durable',
      [contender(cell, SEALOG, write), syncLimit(cell, SEALOG.name), ...[SEALOG_JS, LMDB, LEVEL].map((kind) => contender(cell, kind, write))],
      SYNCED,
    )
  }),
]
