import { execFile } from 'node:child_process'
import { appendFileSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Case, Contender, Results, Target } from '../harness/case.js'
import { percentile } from '../harness/statistics.js'
import { residentBytes } from '../harness/usage.js'
import { randomNumbers } from '../harness/work.js'
import { archiveAll, feedFacts, forgetArchives, makeFeedLog, openFeedLog, readFeed, segmentFiles } from '../stores/archived-log.js'

const MB = 1e6
const MiB = 2 ** 20

function segmentCount(quick: boolean): number {
  return quick ? 4 : 10
}

function prepare(directory: string, quick: boolean): Promise<void> {
  return makeFeedLog(directory, segmentCount(quick))
}

const SEALOG = 'sealog, 3 at a time'

function archiving(name: string, kind: Contender['kind'], parallelism: number): Contender {
  return {
    name,
    kind,
    // All use the log of the first one.
    prepare: name === SEALOG ? (run) => prepare(run.directory, run.quick) : undefined,
    measure: async (run) => {
      const directory = run.directoryOf(SEALOG)
      const facts = feedFacts(directory)
      const options = { level: 3, parallelism }
      const idle = residentBytes([process.pid])
      let peak = idle
      const watch = setInterval(() => {
        peak = Math.max(peak, residentBytes([process.pid]))
      }, 5)
      // Once for memory alone, from nothing on. A program that archives runs for long: the second time its JavaScript is compiled.
      await archiveAll(directory, options)
      clearInterval(watch)
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      const { seconds, threadSeconds, bytes } = await archiveAll(directory, options)
      delay.disable()
      return {
        values: {
          mbPerSecond: facts.bytes / MB / seconds,
          packMbPerCpuSecond: facts.bytes / MB / threadSeconds,
          percent: (100 * bytes) / facts.bytes,
          peakMiB: (peak - idle) / MiB,
          // The histogram counts its own resolution.
          delayP99Ms: Math.max(0, delay.percentile(99) / 1e6 - 1),
        },
        work: { segments: facts.segments, bytes: facts.bytes },
      }
    },
  }
}

/** Debian's zstd over the same bytes: compressed, not synced, not read back. `processes` share the segments. */
function zstd(name: string, kind: Contender['kind'], threads: number, processes: number): Contender {
  return {
    name,
    kind,
    programs: ['zstd'],
    measure: async (run) => {
      const source = run.directoryOf(SEALOG)
      const facts = feedFacts(source)
      const parts = Array.from({ length: processes }, (_, i) => ({
        from: segmentFiles(source).slice((facts.segments / processes) * i, (facts.segments / processes) * (i + 1)),
        joined: join(run.directory, `${i}.joined`),
        target: join(run.directory, `${i}.zst`),
      }))
      for (const { from, joined } of parts) for (const path of from) appendFileSync(joined, readFileSync(path))
      const begin = performance.now()
      await Promise.all(parts.map(({ joined, target }) => promisify(execFile)('zstd', ['-3', `-T${threads}`, '-q', '-f', joined, '-o', target])))
      const seconds = (performance.now() - begin) / 1000
      const bytes = parts.reduce((sum, { target }) => sum + statSync(target).size, 0)
      return {
        values: { mbPerSecond: facts.bytes / MB / seconds, percent: (100 * bytes) / facts.bytes },
        work: { segments: facts.segments, bytes: facts.bytes },
      }
    },
  }
}

function judge(text: string, needs: readonly string[], measured: (results: Results) => { readonly measured: string; readonly reached: boolean }): Target {
  return { text, needs, judge: measured }
}

const ONE = 'sealog, 1 at a time'
const TWO = 'sealog, 2 at a time'
const ZSTD_ONE = 'zstd -3 -T1'
const ZSTD_TWO = 'zstd -3 -T2'
const ZSTD_APART = 'zstd -3 -T1, two processes'

export const archiveCase: Case = {
  name: 'archive',
  roundsFactor: 0.6,
  title: 'Archiving segments of 10 MB of the change feed, zstd level 3, from the page cache; sealog: synced, read back and verified',
  metrics: [
    { key: 'mbPerSecond', label: 'MB/s', better: 'higher' },
    { key: 'packMbPerCpuSecond', label: 'MB per CPU second of the compressing threads', better: 'higher' },
    { key: 'percent', label: '% of the segments', better: 'lower' },
    { key: 'peakMiB', label: 'MiB over idle', better: 'lower' },
    { key: 'delayP99Ms', label: 'ms event-loop delay p99', better: 'lower' },
  ],
  contenders: [
    archiving(SEALOG, 'sealog', 3),
    archiving(TWO, 'baseline', 2),
    archiving(ONE, 'baseline', 1),
    zstd(ZSTD_TWO, 'peer', 2, 1),
    zstd(ZSTD_ONE, 'peer', 1, 1),
    zstd(ZSTD_APART, 'baseline', 1, 2),
  ],
  targets: [
    judge(`with verification ≥ 0.7 × ${ZSTD_TWO}`, [SEALOG, ZSTD_TWO], (results) => {
      const ratio = results.ratio('mbPerSecond', SEALOG, ZSTD_TWO)
      return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= 0.7 }
    }),
    judge('two threads ≥ 1.7 × one', [TWO, ONE], (results) => {
      const ratio = results.ratio('mbPerSecond', TWO, ONE)
      return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= 1.7 }
    }),
    judge('archives ≤ 0.12 × their segments', [SEALOG], (results) => {
      const ratio = results.median(SEALOG, 'percent') / 100
      return { measured: ratio.toFixed(4), reached: ratio <= 0.12 }
    }),
    judge('peak memory ≤ 32 MiB over idle', [SEALOG], (results) => {
      const peak = results.median(SEALOG, 'peakMiB')
      return { measured: `${peak.toFixed(1)} MiB`, reached: peak <= 32 }
    }),
    judge('event-loop delay p99 ≤ 5 ms', [SEALOG], (results) => {
      const delay = results.median(SEALOG, 'delayP99Ms')
      return { measured: `${delay.toFixed(2)} ms`, reached: delay <= 5 }
    }),
  ],
  notes: () => [
    'zstd writes one file of all segments one behind the other and ends; sealog syncs every archive, drops it from the page cache, reads it back and compares it.',
    'Two processes of zstd that know nothing of each other, half of the segments each, show what a second processor can add on this machine.',
  ],
}

const APPENDS = 'appends while archiving'
const ALONE = 'appends alone'

/** Records of the feed as fast as they are taken, `flush` mode, for a fixed time. */
function appending(name: string, kind: Contender['kind'], beside: boolean): Contender {
  return {
    name,
    kind,
    prepare: (run) => prepare(run.directory, run.quick),
    measure: async (run) => {
      const { openArchive } = await import('sealog/archive')
      forgetArchives(run.directory)
      const log = await openFeedLog(run.directory)
      const end = log.committedOffset
      const feed = readFeed()
      const archive = beside ? await openArchive(log, { automatic: false, level: 3 }) : undefined
      let done = false
      const work = (archive?.run() ?? sleep(run.quick ? 300 : 800)).then(() => {
        done = true
      })
      const begin = performance.now()
      let bytes = 0
      for (let i = 0; !done; i++) {
        const { value, options } = feed[i % feed.length]
        log.enqueue(value, options)
        bytes += value.length
        if (log.writableNeedDrain) await log.drain()
        else if (i % 256 === 0) await log.committed()
      }
      const seconds = (performance.now() - begin) / 1000
      await work
      await archive?.close()
      await log.truncateAfter(end - 1)
      await log.close()
      return { values: { mbPerSecond: bytes / MB / seconds }, work: {} }
    },
  }
}

export const appendWhileArchiving: Case = {
  name: 'append-while-archiving',
  title: 'Appends of the change feed in flush mode, by one caller, while the closed segments of the log are archived',
  metrics: [{ key: 'mbPerSecond', label: 'MB/s', better: 'higher' }],
  contenders: [appending(APPENDS, 'sealog', true), appending(ALONE, 'baseline', false)],
  targets: [
    judge('≥ 0.7 × without, on 2 cores', [APPENDS, ALONE], (results) => {
      const ratio = results.ratio('mbPerSecond', APPENDS, ALONE)
      return { measured: `${ratio.toFixed(2)} ×`, reached: ratio >= 0.7 }
    }),
  ],
}

/** One record at a random place of a segment that is archived only; every read unpacks a block that is not in memory. */
const fromArchive: Contender = {
  name: 'sealog, from archives',
  kind: 'sealog',
  prepare: async (run) => {
    const { openArchive } = await import('sealog/archive')
    await makeFeedLog(run.directory, segmentCount(run.quick))
    const log = await openFeedLog(run.directory)
    const archive = await openArchive(log, { automatic: false })
    await archive.run()
    await archive.release(log.committedOffset)
    await archive.close()
    await log.close()
  },
  measure: async (run) => {
    const log = await openFeedLog(run.directory)
    const { segments, records } = feedFacts(run.directory)
    const most = Math.floor((records * segments) / (segments + 1))
    const latencies: number[] = []
    let sum = 0
    for (const offset of randomNumbers(run.quick ? 200 : 2000, most)) {
      const begin = performance.now()
      const record = await log.get(offset)
      latencies.push((performance.now() - begin) * 1000)
      sum += record?.offset ?? 0
    }
    await log.close()
    return { values: { p50Us: percentile(latencies, 0.5), p99Us: percentile(latencies, 0.99) }, work: { sum } }
  },
}

export const archiveRead: Case = {
  name: 'archive-read',
  title: 'await get of one record at a random offset of segments that are archived only (blocks of 256 KiB)',
  metrics: [
    { key: 'p50Us', label: 'µs p50', better: 'lower' },
    { key: 'p99Us', label: 'µs p99', better: 'lower' },
  ],
  contenders: [fromArchive],
  targets: [
    judge('a random read in an archive ≤ 2 ms', [fromArchive.name], (results) => {
      const p50 = results.median(fromArchive.name, 'p50Us')
      return { measured: `${(p50 / 1000).toFixed(2)} ms`, reached: p50 <= 2000 }
    }),
  ],
}

export const archiveCases: readonly Case[] = [archiveCase, appendWhileArchiving, archiveRead]
