import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Case, Contender } from '../harness/case.js'
import { BUILD } from '../harness/paths.js'
import { rawLimit, segmentFiles } from '../harness/raw-limits.js'
import { bytesFromDisk } from '../harness/usage.js'
import { fileBytes, listFiles, makeRecords, mix, RECORD_BYTES, randomNumbers } from '../harness/work.js'
import { ONE_SEGMENT, RECOVERED_STORES } from '../stores/recovered-stores.js'
import { SEALOG } from '../stores/sealog.js'
import { bytesOf, type Store, type StoreKind } from '../stores/store.js'

const GIB = 2 ** 30
const MIB = 2 ** 20
const CHECKED = 1000

function recordCount(quick: boolean): number {
  return Math.ceil(((quick ? 128 : 512) * MIB) / RECORD_BYTES)
}

const killedOf = (directory: string) => join(directory, 'killed')

function contender(kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const directory = killedOf(run.directory)
      mkdirSync(directory)
      const writer = fork(join(BUILD, 'js/clients/killed-writer.js'), [kind.name, directory, String(recordCount(run.quick))])
      const [message] = await Promise.race([once(writer, 'message'), once(writer, 'exit')])
      if (message !== 'committed') throw new Error(`the writer ended with code ${message}`)
      writer.kill('SIGKILL')
      await once(writer, 'exit')
    },
    measure: async (run) => {
      await loadLibrary(kind, run.directory)
      const directory = mkdtempSync(join(run.directory, 'opened-'))
      cpSync(killedOf(run.directory), directory, { recursive: true })
      const files = listFiles(directory, () => true)
      rawLimit('evict', { file: files })
      const bytes = fileBytes(directory)
      const diskBefore = bytesFromDisk()

      const start = performance.now()
      const store = await kind.open(directory, 'flush')
      const opened = performance.now() - start

      const disk = bytesFromDisk() - diskBefore
      const work = { sum: check(store, recordCount(run.quick)) }
      await store.close()
      rmSync(directory, { recursive: true })
      return { values: { msPerGib: (opened * GIB) / bytes, openMs: opened, readMib: disk / MIB, mib: bytes / MIB }, work }
    },
  }
}

/** All that was committed before the kill is there: the first, the last and some others. */
function check(store: Store, count: number): number {
  const records = makeRecords(RECORD_BYTES)
  let sum = 0
  for (const number of [0, count - 1, ...randomNumbers(CHECKED, count)]) {
    const value = bytesOf(store.get(number))
    if (!records[number % records.length].equals(value)) throw new Error(`record ${number} is not what was written`)
    sum = mix(sum, value)
  }
  return sum
}

/** Code of modules and binaries is no part of the log. */
async function loadLibrary(kind: StoreKind, directory: string): Promise<void> {
  const empty = mkdtempSync(join(directory, 'empty-'))
  const store = await kind.open(empty, 'flush')
  await store.close()
  rmSync(empty, { recursive: true })
}

const LIMIT = 'pread 1 MiB + CRC, one segment'

const bareScan: Contender = {
  name: LIMIT,
  kind: 'limit',
  measure: async (run) => {
    const file = segmentFiles(killedOf(run.directoryOf(ONE_SEGMENT.name)))
    const { seconds, bytes } = rawLimit('scan', { file, block: MIB, crc: 1, evict: 1 })
    return { values: { msPerGib: (seconds * 1000 * GIB) / bytes, openMs: seconds * 1000, readMib: bytes / MIB, mib: bytes / MIB }, work: {} }
  },
}

export const recovery: Case = {
  name: 'recovery',
  title: 'Open after the writer was killed in the middle (mode flush), 512 MiB (--quick: 128 MiB) of 256-byte records, files not in the page cache',
  roundsFactor: 0.6,
  quickRounds: 1,
  metrics: [
    { key: 'msPerGib', label: 'ms/GiB', better: 'lower' },
    { key: 'openMs', label: 'ms', better: 'lower' },
    { key: 'readMib', label: 'MiB read from the disk', better: 'lower' },
    { key: 'mib', label: 'MiB of files', better: 'lower' },
  ],
  contenders: [...RECOVERED_STORES.map(contender), bareScan],
  targets: [],
  notes: () => [
    `${SEALOG.name}: segments of 64 MiB, of which only those are read that were not closed yet, so the time does not grow with the log. ${ONE_SEGMENT.name}: all of it is read, verified, and written ` +
      'once more from the last proven sync on. lmdb needs no recovery; SQLite and classic-level replay a log that is a few MiB long; none of the three reads its data.',
  ],
}
