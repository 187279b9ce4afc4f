import type { Case, Contender } from '../harness/case.js'
import { rawLimit, segmentFiles } from '../harness/raw-limits.js'
import { median } from '../harness/statistics.js'
import { makeRecords, mix, RECORD_BYTES, WorkCheck } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { NDJSON } from '../stores/lines.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { load, type StoreKind } from '../stores/store.js'

const RECORDS = 500_000
/** The first pass warms code and page cache. */
const PASSES = 4

function contender(kind: StoreKind, name = kind.name): Contender {
  return {
    name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      await load(store, makeRecords(RECORD_BYTES), RECORDS)
      await store.close()
    },
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      const times: number[] = []
      let sum = 0
      let records = 0
      for (let pass = 0; pass < PASSES; pass++) {
        sum = 0
        records = 0
        const start = performance.now()
        await store.scan((value) => {
          sum = mix(sum, value)
          records++
        })
        if (pass > 0) times.push(performance.now() - start)
      }
      const check = new WorkCheck()
      await store.scan((value) => check.add(value))
      await store.close()
      const ns = (median(times) * 1e6) / RECORDS
      return { values: { ns, recordsPerSecond: 1e9 / ns }, work: { ...check.result(), sum, scanned: records } }
    },
  }
}

/** Sequential reads of sealog's own files, with and without the checksum. */
function bareScan(name: string, crc: number): Contender {
  return {
    name,
    kind: 'limit',
    measure: async (run) => {
      const file = segmentFiles(run.directoryOf(SEALOG.name))
      rawLimit('scan', { file, block: 1 << 20, crc })
      const passes = Array.from({ length: PASSES - 1 }, () => rawLimit('scan', { file, block: 1 << 20, crc }))
      const ns = (median(passes.map((pass) => pass.seconds)) * 1e9) / RECORDS
      return { values: { ns, recordsPerSecond: 1e9 / ns }, work: {}, details: { bytes: passes[0].bytes } }
    },
  }
}

export const scan: Case = {
  name: 'scan',
  title: `Read all ${RECORDS.toLocaleString('en')} page-cached records of 256 bytes in order, touching every value`,
  metrics: [
    { key: 'ns', label: 'ns/record', better: 'lower' },
    { key: 'recordsPerSecond', label: 'records/s', better: 'higher' },
  ],
  contenders: [
    contender(SEALOG),
    bareScan('pread 1 MiB', 0),
    bareScan('pread 1 MiB + CRC', 1),
    contender(SEALOG_JS),
    contender(LMDB),
    contender(SQLITE),
    contender(LEVEL),
    contender(NDJSON, 'readSync + indexOf'),
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
  ],
  notes: () => ['sealog hands out views that stay valid as long as they are held; the line reader reuses one buffer and verifies nothing.'],
}
