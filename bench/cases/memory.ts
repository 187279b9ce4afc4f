import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { getHeapStatistics } from 'node:v8'
import type { Case, Contender } from '../harness/case.js'
import { makeRecords, memoryStatus, RECORD_BYTES, WorkCheck } from '../harness/work.js'
import { LEVEL } from '../stores/level.js'
import { NDJSON } from '../stores/lines.js'
import { LMDB } from '../stores/lmdb.js'
import { SEALOG, SEALOG_JS } from '../stores/sealog.js'
import { SQLITE } from '../stores/sqlite.js'
import { load, type StoreKind } from '../stores/store.js'

const MIB = 2 ** 20
/** Defaults of sealog's `configure`: queueBytes, and the staging slab. */
const CONFIGURED_MIB = 64 + 0.25

function recordCount(quick: boolean): number {
  return (quick ? 128 : 2048) * (MIB / RECORD_BYTES)
}

function appending(kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      const records = makeRecords(RECORD_BYTES)
      const before = memoryStatus('VmRSS')
      await load(store, records, recordCount(run.quick))
      const peak = memoryStatus('VmHWM')
      const anonymous = memoryStatus('RssAnon')
      await store.close()

      const reopened = await kind.open(run.directory, 'flush')
      const check = new WorkCheck()
      await reopened.scan((value) => check.add(value))
      await reopened.close()
      return {
        values: { peakMib: peak / MIB, growthMib: (peak - before) / MIB, anonymousMib: anonymous / MIB },
        work: check.result(),
      }
    },
  }
}

export const memory: Case = {
  name: 'memory',
  roundsFactor: 0.6,
  quickRounds: 1,
  title: 'Resident memory while 2 GiB (--quick: 128 MiB) of 256-byte records are appended (mode flush)',
  metrics: [
    { key: 'peakMib', label: 'MiB peak', better: 'lower' },
    { key: 'growthMib', label: 'MiB above the open store', better: 'lower' },
    { key: 'anonymousMib', label: 'MiB anonymous at the end', better: 'lower' },
  ],
  contenders: [appending(SEALOG), appending(SEALOG_JS), appending(LMDB), appending(SQLITE), appending(LEVEL), appending(NDJSON)],
  targets: [
    {
      text: `peak RSS, Node included, ≤ configured buffers (${CONFIGURED_MIB} MiB) + 64 MiB`,
      needs: [SEALOG.name],
      judge: (results) => {
        const peak = results.median(SEALOG.name, 'peakMib')
        return { measured: `${peak.toFixed(0)} MiB`, reached: peak <= CONFIGURED_MIB + 64 }
      },
    },
  ],
  notes: () => ["lmdb's peak counts pages of its memory map, which belong to the page cache; the anonymous figure does not."],
}

/** The first logs pay for what all share; the figure is the slope behind them. */
const SHARE_FOR_WARM_UP = 0.2
/** Longer than idleMarkMs: by then an idle log has written its mark and let go of what it can. */
const IDLE_MS = 2500

function idle(kind: StoreKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    // A small young generation: its size wanders, and what it grows by would be taken for memory of logs.
    nodeFlags: ['--expose-gc', '--max-semi-space-size=1'],
    measure: async (run) => {
      const count = run.quick ? 1000 : 10_000
      const warm = count * SHARE_FOR_WARM_UP
      const records = makeRecords(RECORD_BYTES)
      const stores = []
      let before = undefined as Usage | undefined
      const start = performance.now()
      for (let i = 0; i < count; i++) {
        if (i === warm) before = await settle()
        const store = await kind.open(join(run.directory, `log-${i}`), 'fsync')
        await store.appendDurable(records[i % records.length])
        stores.push(store)
      }
      const openMs = (performance.now() - start) / count
      const after = await settle()
      const threads = readdirSync('/proc/self/task').length
      const check = new WorkCheck()
      for (const store of stores) check.add(store.get(0))
      for (const store of stores) await store.close()

      const per = (of: (usage: Usage) => number) => (of(after) - of(before!)) / (count - warm)
      return {
        values: {
          heapBytes: per((usage) => usage.heap),
          nativeBytes: per((usage) => usage.anonymous - usage.heapResident),
          bufferBytes: per((usage) => usage.buffers),
          descriptors: per((usage) => usage.descriptors),
          threads,
          openMs,
        },
        work: { logs: count, ...check.result() },
      }
    },
  }
}

interface Usage {
  readonly heap: number
  readonly heapResident: number
  readonly anonymous: number
  readonly buffers: number
  readonly descriptors: number
}

async function settle(): Promise<Usage> {
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
  for (let i = 0; i < 4; i++) {
    globalThis.gc!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const heap = getHeapStatistics()
  return {
    heap: heap.used_heap_size,
    heapResident: heap.total_physical_size,
    anonymous: memoryStatus('RssAnon'),
    buffers: heap.external_memory,
    descriptors: readdirSync('/proc/self/fd').length,
  }
}

export const idleLogs: Case = {
  name: 'idle-logs',
  roundsFactor: 0.2,
  title: 'What an open, idle log costs, with 10,000 (--quick: 1,000) of them open in one process (mode fsync, one record each)',
  metrics: [
    { key: 'heapBytes', label: 'JS heap bytes/log', better: 'lower' },
    { key: 'nativeBytes', label: 'native bytes/log', better: 'lower' },
    { key: 'bufferBytes', label: 'of these array buffers', better: 'lower' },
    { key: 'descriptors', label: 'descriptors/log', better: 'lower' },
    { key: 'threads', label: 'threads in all', better: 'lower' },
    { key: 'openMs', label: 'ms create + append', better: 'lower' },
  ],
  contenders: [idle(SEALOG), idle(SEALOG_JS)],
  targets: [
    {
      text: 'an idle log ≤ 4 KiB of JavaScript heap',
      needs: [SEALOG.name],
      judge: (results) => atMost(results.median(SEALOG.name, 'heapBytes'), 4096),
    },
    {
      text: 'an idle log ≤ 2 KiB native',
      needs: [SEALOG.name],
      judge: (results) => atMost(results.median(SEALOG.name, 'nativeBytes'), 2048),
    },
  ],
  notes: () => [
    'JS heap: used after garbage collection. Native: growth of anonymous resident memory less that of the JS heap, so it includes what the allocator keeps.',
  ],
}

function atMost(bytes: number, bound: number) {
  return { measured: `${bytes.toFixed(0)} bytes`, reached: bytes <= bound }
}
