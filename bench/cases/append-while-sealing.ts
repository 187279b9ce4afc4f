import { spawn } from 'node:child_process'
import type { Case, Contender, Results, Target } from '../harness/case.js'
import { rawLimitCommand } from '../harness/raw-limits.js'
import { percentile } from '../harness/statistics.js'
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import { CHUNK_BYTES, madeFacts, makeSealed, openSealed, removeChunks } from '../stores/sealed-log.js'
import type { Durability } from '../stores/store.js'

const WARM_UP = 50
const MOST_OPENINGS = 50

function payloadBytes(quick: boolean): number {
  return (quick ? 6 : 60) * CHUNK_BYTES
}

function appendCount(durability: Durability, quick: boolean): number {
  return durability === 'fsync' ? (quick ? 500 : 3000) : quick ? 3000 : 30_000
}

type Beside = 'nothing' | 'sealing' | 'writing'

const NAMES: Readonly<Record<Beside, string>> = { nothing: 'alone', sealing: 'while sealing', writing: 'beside write+fdatasync' }

function nameOf(durability: Durability, beside: Beside): string {
  return `${durability} ${NAMES[beside]}`
}

function contender(durability: Durability, beside: Beside): Contender {
  return {
    name: nameOf(durability, beside),
    kind: beside === 'sealing' ? 'sealog' : 'baseline',
    prepare: (run) => makeSealed(run.directory, payloadBytes(run.quick), 'native'),
    measure: async (run) => {
      const latencies: number[] = []
      const count = appendCount(durability, run.quick)
      // As often as it takes: sealing ends earlier than the appends.
      for (let opening = 0; latencies.length < count; opening++) {
        if (opening === MOST_OPENINGS) throw new Error(`${latencies.length} appends in ${opening} openings: what goes on beside them is over too soon`)
        await measureOnce(run.directory, durability, beside, count, latencies)
      }
      return { values: { p50Us: percentile(latencies, 0.5), p99Us: percentile(latencies, 0.99) }, work: {} }
    },
  }
}

/** One opening of the log: appends one after the other, timed as long as what goes on beside it has not ended. */
async function measureOnce(directory: string, durability: Durability, beside: Beside, count: number, latencies: number[]): Promise<void> {
  const { chunks, bytes } = madeFacts(directory)
  if (beside === 'sealing') removeChunks(directory)
  const log = await openSealed(directory, durability, 'native')
  const records = makeRecords(RECORD_BYTES)
  if (beside !== 'sealing') for (let i = 0; i < WARM_UP; i++) await log.append(records[i])
  const writer = beside === 'writing' ? startWriting(`${directory}-beside`, Math.floor(bytes / chunks), chunks) : undefined
  const goesOn = () => beside === 'nothing' || (writer === undefined ? log.stats().sealing.sealedChunks < chunks : writer.running)
  for (let i = 0; latencies.length < count && goesOn(); i++) {
    const start = performance.now()
    await log.append(records[i % records.length])
    latencies.push((performance.now() - start) * 1000)
  }
  await writer?.ended
  await log.chunks.seal()
  await log.close()
}

/** What any program does that writes as many bytes as sealing does, with as many syncs. */
function startWriting(file: string, bytes: number, count: number): { readonly running: boolean; readonly ended: Promise<void> } {
  const [program, ...rest] = rawLimitCommand('sync', { file, bytes, count })
  const child = spawn(program, rest, { stdio: 'ignore' })
  const state = {
    running: true,
    ended: new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code) => {
        state.running = false
        if (code === 0) resolve()
        else reject(new Error(`${program} ended with code ${code}`))
      })
    }),
  }
  return state
}

function target(durability: Durability): Target {
  const subject = nameOf(durability, 'sealing')
  const reference = nameOf(durability, 'nothing')
  return {
    text: `${durability}: p99 of await append while sealing ≤ 1.5 × without`,
    needs: [subject, reference],
    judge: (results: Results) => {
      const ratio = results.ratio('p99Us', subject, reference)
      return { measured: `${ratio.toFixed(2)} ×`, reached: ratio <= 1.5 }
    },
  }
}

const MODES: readonly Durability[] = ['fsync', 'flush']
const SIDES: readonly Beside[] = ['sealing', 'nothing', 'writing']

export const appendWhileSealing: Case = {
  name: 'append-while-sealing',
  roundsFactor: 0.67,
  title: 'await append of 256-byte records, one writer, while the same log is sealed in the background',
  metrics: [
    { key: 'p99Us', label: 'µs p99', better: 'lower' },
    { key: 'p50Us', label: 'µs p50', better: 'lower' },
  ],
  contenders: MODES.flatMap((durability) => SIDES.map((beside) => contender(durability, beside))),
  targets: MODES.map(target),
  notes: () => [
    'Beside write+fdatasync: a C++ program writes and syncs as many bytes in pieces of the same size on the same disk meanwhile: what the disk and the processors do to appends, whoever writes.',
  ],
}
