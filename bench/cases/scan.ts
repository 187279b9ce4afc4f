import type { Case, Contender } from '../harness/case.js'
import { rawLimit, segmentFiles } from '../harness/raw-limits.js'
import { median } from '../harness/statistics.js'
import { mix, WorkCheck } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { NDJSON } from '../stores/lines.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { load, type StoreKind } from '../stores/store.js'
import { FEED, type Source, UNIFORM } from './work-sources.js'

/** The first pass warms code and page cache. */
const PASSES = 3

function contender(source: Source, kind: StoreKind, name = kind.name): Contender {
  return {
    name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      await load(store, source.records(), source.count(run.quick))
      await store.close()
    },
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      let sum = 0
      let scanned = 0
      const seconds = await repeat(async () => {
        sum = 0
        scanned = 0
        await store.scan((value) => {
          sum = mix(sum, value)
          scanned++
        })
      })
      const check = new WorkCheck()
      await store.scan((value) => check.add(value))
      await store.close()
      return { values: perRecord(seconds, scanned), work: { ...check.result(), sum, scanned } }
    },
  }
}

/** Median of the passes behind the first, in seconds. */
async function repeat(pass: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < PASSES; i++) {
    const start = performance.now()
    await pass()
    if (i > 0) times.push((performance.now() - start) / 1000)
  }
  return median(times)
}

function perRecord(seconds: number, records: number): Record<string, number> {
  const ns = (seconds * 1e9) / records
  return { ns, recordsPerSecond: 1e9 / ns }
}

const KEPT = 'sealog, views kept'
const VERIFIED = 'sealog verify'

/** Without `reuseBuffers`: every block has a buffer of its own, and views stay valid as long as they are held. */
const kept: Contender = {
  name: KEPT,
  kind: 'baseline',
  measure: async (run) => {
    const { Log } = await import('sealog')
    const log = await Log.open(run.directoryOf(SEALOG.name), { durability: 'flush', backend: 'native' })
    let scanned = 0
    let sum = 0
    const seconds = await repeat(async () => {
      scanned = 0
      sum = 0
      for await (const batch of log.batches({ from: log.startOffset })) {
        scanned += batch.length
        for (let i = 0; i < batch.length; i++) sum = mix(sum, batch.value(i))
      }
    })
    await log.close()
    return { values: perRecord(seconds, scanned), work: { scanned, sum } }
  },
}

/** Every frame and chain verified, without JavaScript per record. */
const verified: Contender = {
  name: VERIFIED,
  kind: 'baseline',
  measure: async (run) => {
    const { verify } = await import('sealog')
    let scanned = 0
    const seconds = await repeat(async () => {
      const report = await verify(run.directoryOf(SEALOG.name), { backend: 'native' })
      if (!report.ok) throw new Error(JSON.stringify(report.problems))
      scanned = report.records
    })
    return { values: perRecord(seconds, scanned), work: { scanned } }
  },
}

/** Sequential reads of sealog's own files, with and without the checksum. */
function bareScan(source: Source, name: string, crc: number): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run) => {
      const file = segmentFiles(run.directoryOf(SEALOG.name))
      rawLimit('scan', { file, block: 1 << 20, crc })
      const passes = Array.from({ length: PASSES }, () => rawLimit('scan', { file, block: 1 << 20, crc }))
      const seconds = median(passes.map((pass) => pass.seconds))
      return { values: perRecord(seconds, source.count(run.quick)), work: {}, details: { bytes: passes[0].bytes } }
    },
  }
}

const CHECKSUMMED = 'pread 1 MiB + CRC'

function scans(name: string, source: Source): Case {
  return {
    name,
    title: `Read everything in order from the page cache, touching every value: ${source.name}`,
    roundsFactor: 0.6,
    quickRounds: 2,
    metrics: [
      { key: 'ns', label: 'ns/record', better: 'lower' },
      { key: 'recordsPerSecond', label: 'records/s', better: 'higher' },
    ],
    contenders: [
      contender(source, SEALOG),
      bareScan(source, 'pread 1 MiB', 0),
      bareScan(source, CHECKSUMMED, 1),
      verified,
      kept,
      ...[SEALOG_JS, LMDB, SQLITE, LEVEL].map((kind) => contender(source, kind)),
      contender(source, NDJSON, 'readSync + indexOf'),
    ],
    targets: [
      {
        text: 'batches handing out views, checksums on: ≤ 100 ns a record',
        needs: [SEALOG.name],
        judge: (results) => {
          const ns = results.median(SEALOG.name, 'ns')
          return { measured: `${ns.toFixed(0)} ns`, reached: ns <= 100 }
        },
      },
      {
        text: `raw (verify, no JavaScript per record) ≥ 0.85 × ${CHECKSUMMED}`,
        needs: [VERIFIED, CHECKSUMMED],
        judge: (results) => {
          const ratio = results.ratio('recordsPerSecond', VERIFIED, CHECKSUMMED)
          return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= 0.85 }
        },
      },
    ],
    notes: () => [
      `sealog and the line reader reuse their buffers (${KEPT}: every block has its own, and views stay valid as long as they are held); the line reader verifies nothing. ` +
        `${VERIFIED}: every frame and chain verified by the kernel, no value reaches JavaScript.`,
    ],
  }
}

export const scan = scans('scan', UNIFORM)
export const scanFeed: Case = { ...scans('scan-feed', FEED), quickRounds: 1 }
