import { mkdtemp, rm } from 'node:fs/promises'
import type { Case, Contender } from '../harness/case.js'
import { percentile } from '../harness/statistics.js'
import { fileBytes, makeRecords, mix, RECORD_BYTES } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { load, type StoreKind } from '../stores/store.js'

const FRAME_BYTES = 24 + RECORD_BYTES
const AGAIN = 10

function recordCount(quick: boolean): number {
  return Math.ceil((quick ? 2 ** 27 : 2 ** 30) / FRAME_BYTES)
}

function contender(kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      await load(store, makeRecords(RECORD_BYTES), recordCount(run.quick))
      await store.close()
    },
    measure: async (run) => {
      const last = recordCount(run.quick) - 1
      const bytes = fileBytes(run.directory)
      await loadLibrary(kind, run.directory)
      const start = performance.now()
      const store = await kind.open(run.directory, 'flush')
      const opened = performance.now() - start
      const sum = mix(mix(0, store.get(last)), store.get(0))
      const readable = performance.now() - start
      await store.close()

      const again = new Float64Array(AGAIN)
      for (let i = 0; i < AGAIN; i++) {
        const before = performance.now()
        const store = await kind.open(run.directory, 'flush')
        again[i] = performance.now() - before
        await store.close()
      }
      return {
        values: { openMs: opened, readableMs: readable, againMs: percentile(again, 0.5), p99Ms: percentile(again, 0.99) },
        work: { last, sum },
        details: { bytes },
      }
    },
  }
}

/** Code of modules and binaries is no part of the log: an empty store is opened first, beside the one that counts. */
async function loadLibrary(kind: StoreKind, directory: string): Promise<void> {
  const empty = await mkdtemp(`${directory}-empty-`)
  const store = await kind.open(empty, 'flush')
  await store.close()
  await rm(empty, { recursive: true })
}

export const reopen: Case = {
  name: 'reopen',
  quickRounds: 2,
  title: 'Open a log of 1 GiB (--quick: 128 MiB) that was closed cleanly',
  metrics: [
    { key: 'openMs', label: 'ms, first', better: 'lower' },
    { key: 'readableMs', label: 'ms to first and last record', better: 'lower' },
    { key: 'againMs', label: 'ms, ten times again (p50)', better: 'lower' },
    { key: 'p99Ms', label: 'p99', better: 'lower' },
  ],
  contenders: [contender(SEALOG), contender(SEALOG_JS), contender(LMDB), contender(SQLITE), contender(LEVEL)],
  targets: [
    {
      text: 'reopen of a 1 GiB log with a clean tail < 50 ms',
      needs: [SEALOG.name],
      judge: (results) => {
        const ms = results.median(SEALOG.name, 'openMs')
        return { measured: `${ms.toFixed(1)} ms${results.quick ? ' (128 MiB)' : ''}`, reached: ms < 50 }
      },
    },
  ],
  notes: (results) => [
    `sealog's files: ${(results.detail(SEALOG.name, 'bytes') / 2 ** 20).toFixed(0)} MiB, in the page cache. Modules and binaries are loaded before.`,
  ],
}
