/** Snapshot, compaction and switch killed, or without power, at every step, and with every system call failing: what is found is what the store held. */
import fs from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { parseSegmentFile } from '../../lib/format/names.js'
import { Log } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { verify } from '../../lib/log/maintenance.js'
import type { CompactCallOptions } from '../../lib/store/index.js'
import { backends, testingOf } from '../support/backends.js'
import { afterReboot } from '../support/crash-recovery.js'
import { copyDirectory, freshPath, makeDirectory } from '../support/directories.js'
import { Random } from '../support/random.js'
import { parseRecording } from '../support/recording.js'
import { Disk, type DiskImage, hashOf, materialize } from '../support/replay.js'
import { Changes, entriesOf, openJson, snapshotPath } from './stores.js'

const OPTIONS = {
  segmentBytes: 1024,
  maxBatchBytes: 512,
  maxRecordBytes: 512,
  idleMarkMs: 3_600_000,
  syncIntervalMs: 3_600_000,
  snapshotBytes: false,
  compaction: false,
} as const
const IMAGES_PER_EVENT = process.env.SEALOG_SOAK === undefined ? 1 : 12
const ALL = { keepCompleteChunks: 0, tombstoneMs: 0 } as const

vi.setConfig({ testTimeout: 300_000 })
process.removeAllListeners('warning')

/** Sums per key since its last deletion: what folding must not change, be it done once or not at all. */
async function sumsOf(directory: string, backend: Backend): Promise<[string, number][]> {
  const reader = await Log.openReader<{ n: number } | null>(directory, { backend })
  const sums = new Map<string, number>()
  for await (const { key, tombstone, value } of reader.read()) {
    const name = Buffer.from(key ?? [])
      .subarray(1)
      .toString()
    if (tombstone) sums.delete(name)
    else sums.set(name, (sums.get(name) ?? 0) + (value?.n ?? 0))
  }
  await reader.close()
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1))
}

const basesIn = (directory: string) => fs.readdirSync(path.join(directory, 'segments')).flatMap((name) => parseSegmentFile(name)?.base ?? [])
const add = (older: unknown, newer: unknown): unknown => ({ n: (older as { n: number }).n + (newer as { n: number }).n })

/** Puts and deletions with a batch among them; the offsets of the batch's first record. */
async function fill(store: Awaited<ReturnType<typeof openJson>>, changes: Changes, from: number, to: number, note: () => void): Promise<void> {
  for (let i = from; i < to; i++) {
    const key = `key ${i % 6}`
    if (i % 9 === 5 && store.has(key)) {
      changes.delete(changes.length, key)
      await store.delete(key)
    } else if (i % 9 === 7) {
      const entries = [`key ${i % 4}`, 'batch', `once ${i}`].map((one) => ({ key: one, value: { n: i } }))
      for (const entry of entries) changes.put(changes.length, entry.key, entry.value)
      await store.putBatch(entries)
    } else {
      changes.put(changes.length, key, { n: i })
      await store.put(key, { n: i })
    }
    note()
  }
}

describe.each(backends)('compaction and crashes (%s)', (backend) => {
  it.each<[string, 'fsync' | 'flush', CompactCallOptions]>([
    ['versions dropped', 'fsync', ALL],
    ['runs folded', 'flush', { ...ALL, merge: add }],
  ])('killed, or without power, at every step: %s, mode %s', async (_, durability, options) => {
    const directory = makeDirectory('store')
    const place = path.join(directory, 'log')
    const testing = testingOf(backend)
    const changes = new Changes()
    testing.record(true)
    const store = await openJson(place, backend, { ...OPTIONS, durability })
    const note = () => testing.note(store.stats().log.durableOffset)
    await fill(store, changes, 0, 30, note)
    const first = await store.compact(options)
    note()
    await fill(store, changes, 30, 42, note)
    const second = await store.compact(options)
    note()
    await store.close()
    expect(Math.min(first.segments, second.segments)).toBeGreaterThan(1)
    testing.note(changes.length)
    const events = parseRecording(testing.takeRecording(), directory)
    testing.record(false)

    const random = new Random(5)
    const disk = Disk.of(new Map([['log', undefined]]))
    const seen = new Set<string>()
    const compaction = events.findIndex((event) => event.kind === 'rename' && event.path.endsWith('SNAPSHOT.tmp'))
    expect(compaction).toBeGreaterThan(0)
    let acknowledged = 0
    let opened = 0
    let halfDone = 0
    /** What is found in an image, with its snapshot and without, when the records below `durable` may not be missing. */
    const check = async (image: DiskImage, durable: number, what: string) => {
      const scratch = makeDirectory('image')
      materialize(image, scratch)
      const again = path.join(scratch, 'log')
      if (basesIn(again).length > new Set(basesIn(again)).size) halfDone++
      const full = path.join(scratch, 'replayed')
      fs.cpSync(again, full, { recursive: true })
      fs.rmSync(snapshotPath(full), { force: true })
      try {
        for (const one of [again, full]) {
          const after = await openJson(one, backend, { ...OPTIONS, durability })
          const end = after.committedOffset
          try {
            expect(end).toBeGreaterThanOrEqual(durable)
            if (options.merge === undefined) expect(await entriesOf(after)).toEqual(changes.entries(end))
          } finally {
            await after.close()
          }
          if (options.merge !== undefined) expect(await sumsOf(one, backend)).toEqual(changes.sums(end))
          expect(fs.readdirSync(path.join(one, 'segments')).filter((name) => name.endsWith('.tmp'))).toEqual([])
          expect(new Set(basesIn(one)).size).toBe(basesIn(one).length)
        }
        expect(await verify(full, { backend })).toMatchObject({ ok: true, tornTail: undefined })
      } catch (error) {
        throw new Error(`${what}: ${(error as Error).message}`, { cause: error })
      } finally {
        fs.rmSync(scratch, { recursive: true, force: true })
      }
      opened++
    }
    let checks: Promise<void>[] = []
    for (const [at, event] of events.entries()) {
      if (event.kind === 'note') acknowledged = event.number
      else if (event.kind !== 'mkdir' || event.path !== 'log') disk.apply(event)
      if (at < compaction - 10) continue
      const images: DiskImage[] = [disk.live()]
      for (const image of disk.crashes(random, IMAGES_PER_EVENT)) if (images.push(afterReboot(image)) > IMAGES_PER_EVENT) break
      for (const image of images) {
        const hash = hashOf(image)
        if (seen.has(hash)) continue
        seen.add(hash)
        checks.push(check(image, acknowledged, `event ${at} (${event.kind} ${'path' in event ? event.path : ''})`))
        if (checks.length === 8) await Promise.all(checks.splice(0))
      }
    }
    await Promise.all(checks)
    checks = []
    console.log(`compaction, ${backend}, ${durability}: ${opened} different images of ${events.length - compaction} events, ${halfDone} with two generations`)
    expect(opened).toBeGreaterThan(80)
    expect(halfDone).toBeGreaterThan(5)
  })

  it('every call of every kind fails once: the store as it was or compacted, and the next pass does the rest', async () => {
    const testing = testingOf(backend)
    const { EIO, ENOSPC } = constants.errno
    const source = freshPath()
    const changes = new Changes()
    const filled = await openJson(source, backend, { ...OPTIONS, durability: 'flush' })
    await fill(filled, changes, 0, 40, () => {})
    await filled.close()
    const expected = changes.entries(changes.length)
    let failures = 0
    for (const kind of ['open', 'read', 'write', 'truncate', 'sync', 'datasync', 'rename', 'unlink', 'list', 'syncDirectory', 'stat', 'close'] as const) {
      for (let nth = 1; ; nth++) {
        const directory = copyDirectory(source)
        const store = await openJson(directory, backend, { ...OPTIONS, durability: 'flush' })
        testing.resetCounts()
        testing.fault(kind, nth, kind === 'write' && nth % 2 === 0 ? ENOSPC : EIO, false, 0)
        await store.compact(ALL).catch(() => failures++)
        const calls = testing.counts()[kind] ?? 0
        testing.clearFaults()
        if (store.failure !== undefined) await store.reopen()
        expect(await entriesOf(store), `${kind} ${nth}`).toEqual(expected)
        for (const [key, value] of expected) expect(store.getSync(key)).toEqual(value)
        await store.put('after', 1)
        await store.compact(ALL)
        await store.close()
        fs.rmSync(snapshotPath(directory), { force: true })
        const after = await openJson(directory, backend, OPTIONS)
        expect(await entriesOf(after)).toEqual([['after', 1], ...expected])
        await after.close()
        expect(await verify(directory, { backend })).toMatchObject({ ok: true })
        fs.rmSync(path.dirname(directory), { recursive: true, force: true })
        if (calls < nth || nth >= (process.env.SEALOG_SOAK === undefined ? 12 : 1000)) break
      }
    }
    expect(failures).toBeGreaterThan(30)
  })

  it.each<[string, 'write' | 'datasync' | 'sync', number, boolean]>([
    ['a full disk where a record is written to MANIFEST', 'write', constants.errno.ENOSPC, false],
    ['a full disk where MANIFEST is synced', 'datasync', constants.errno.ENOSPC, false],
    ['a full disk where MANIFEST is written anew', 'sync', constants.errno.ENOSPC, true],
    ['an error where MANIFEST is synced', 'datasync', constants.errno.EIO, false],
  ])('%s: no file, no descriptor is left behind, and the next pass does it', async (_, kind, errno, torn) => {
    const testing = testingOf(backend)
    const source = freshPath()
    const changes = new Changes()
    const filled = await openJson(source, backend, { ...OPTIONS, durability: 'flush' })
    await fill(filled, changes, 0, 40, () => {})
    await filled.close()
    // With a torn end MANIFEST is written anew by the next append.
    if (torn) fs.appendFileSync(path.join(source, 'MANIFEST'), Buffer.alloc(9, 1))
    const expected = changes.entries(changes.length)
    const manifestFailed = async (nth: number): Promise<boolean> => {
      const directory = copyDirectory(source)
      const store = await openJson(directory, backend, { ...OPTIONS, durability: 'flush' })
      testing.resetCounts()
      testing.fault(kind, nth, errno, false, 0)
      const failure = await store.compact(ALL).catch((error: Error) => error)
      testing.clearFaults()
      if (!(failure instanceof Error && /MANIFEST/.test(failure.message))) {
        await store.close()
        return false
      }
      const certain = errno === constants.errno.ENOSPC
      expect([store.failure === undefined, new Set(basesIn(directory)).size === basesIn(directory).length]).toEqual([certain, certain])
      if (!certain) await store.reopen()
      expect((await store.compact(ALL)).segments).toBeGreaterThan(1)
      expect(await entriesOf(store)).toEqual(expected)
      await store.close()
      const open = fs.readdirSync('/proc/self/fd').flatMap((fd) => {
        const link = path.join('/proc/self/fd', fd)
        return fs.existsSync(link) || fs.lstatSync(link, { throwIfNoEntry: false }) !== undefined ? [fs.readlinkSync(link)] : []
      })
      expect(open.filter((file) => file.startsWith(directory))).toEqual([])
      const after = await openJson(directory, backend, { ...OPTIONS, recovery: 'strict' })
      expect(await entriesOf(after)).toEqual(expected)
      await after.close()
      expect(await verify(directory, { backend })).toMatchObject({ ok: true })
      return true
    }
    let nth = 1
    while (nth < 20 && !(await manifestFailed(nth))) nth++
    expect(nth).toBeLessThan(20)
  })
})
