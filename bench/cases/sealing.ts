import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Case, Contender, Results } from '../harness/case.js'
import { rawLimit } from '../harness/raw-limits.js'
import { cpuSeconds, threadSeconds } from '../harness/usage.js'
import { RECORD_BYTES } from '../harness/work.js'
import { type Backend, CHUNK_BYTES, madeFacts, makeSealed, openSealed, removeChunks, sealedFacts } from '../stores/sealed-log.js'

const MB = 1e6
const SEAL_THREAD = 'sealog-seal'

function payloadBytes(quick: boolean): number {
  return (quick ? 6 : 60) * CHUNK_BYTES
}

function contender(name: string, kind: Contender['kind'], backend: Backend): Contender {
  return {
    name,
    kind,
    prepare: (run) => makeSealed(run.directory, payloadBytes(run.quick), backend),
    measure: async (run) => {
      removeChunks(run.directory)
      const seals: { readonly duration: number; readonly records: number }[] = []
      const add = (message: unknown) => seals.push(message as (typeof seals)[number])
      subscribe('sealog:seal:done', add)
      const cpu = cpuSeconds([process.pid])
      const log = await openSealed(run.directory, 'flush', backend)
      await log.chunks.seal()
      // The twin has no thread for it.
      const thread = backend === 'native' ? threadSeconds(SEAL_THREAD) : cpuSeconds([process.pid]) - cpu
      unsubscribe('sealog:seal:done', add)
      const facts = await sealedFacts(log)
      await log.close()
      const megabytes = (seals.reduce((sum, { records }) => sum + records, 0) * RECORD_BYTES) / MB
      const { sha1, chunks, bytes } = madeFacts(run.directory)
      if (facts.sha1 !== sha1 || seals.length !== chunks) throw new Error('chunks that were sealed again differ from those before')
      return {
        values: { mbPerSecond: megabytes / seals.reduce((sum, { duration }) => sum + duration, 0), threadMbPerSecond: megabytes / thread },
        work: { sha1 },
        details: { chunks, bytes },
      }
    },
  }
}

const SEALOG = 'sealog'

/** Files of the same size and count, each synced; in one file, one behind the other. */
const bareWrites: Contender = {
  name: 'write+fdatasync of the same bytes',
  kind: 'limit',
  measure: async (run) => {
    const sealog = run.earlier[SEALOG]
    if (!sealog?.details) throw new Error('needs the counts of sealog, which failed in this round')
    const { chunks, bytes } = sealog.details
    const raw = rawLimit('sync', { file: `${run.directory}/file`, bytes: Math.floor(bytes / chunks), count: chunks })
    return { values: { mbPerSecond: raw.bytes / MB / raw.seconds }, work: {} }
  },
}

export const sealing: Case = {
  name: 'sealing',
  roundsFactor: 0.67,
  title: 'Sealing a log of 256-byte JSON records in chunks of 10 MiB, from the page cache, one chunk at a time',
  metrics: [
    { key: 'mbPerSecond', label: 'MB/s payload, with its syncs', better: 'higher' },
    { key: 'threadMbPerSecond', label: 'MB/s payload of CPU time', better: 'higher' },
  ],
  contenders: [contender(SEALOG, 'sealog', 'native'), contender('sealog js', 'baseline', 'js'), bareWrites],
  targets: [
    {
      text: '≥ 500 MB/s of payload on one thread (CPU time of the sealing thread; what the disk adds is the limit row)',
      needs: [SEALOG],
      judge: (results: Results) => {
        const rate = results.median(SEALOG, 'threadMbPerSecond')
        return { measured: `${rate.toFixed(0)} MB/s (${results.median(SEALOG, 'mbPerSecond').toFixed(0)} MB/s with its syncs)`, reached: rate >= 500 }
      },
    },
  ],
  notes: () => [
    'Per CPU time: of the sealing thread alone, reading, checking, rendering, checksum and write included; of sealog js the whole process. The thread runs at low priority: beside other work it waits.',
  ],
}
