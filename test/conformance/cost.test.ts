/** What an operation costs in system calls, syncs, copies and allocations: counted, never timed, so that a slow machine cannot fail it and a slow change cannot pass. */
import { beforeAll, describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { Store } from '../../lib/store/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { range } from '../support/logs.js'
import { runProgram } from '../support/programs.js'

const VALUE = Buffer.alloc(256, 7)
const keyOf = (i: number) => `key ${String(i).padStart(6, '0')}`
const QUIET = { snapshotBytes: false, syncIntervalMs: 3_600_000, idleMarkMs: 3_600_000 } as const

/** Bytes per operation. */
interface Cost {
  readonly heap: number
  readonly buffers: number
}

/**
 * Twice what was measured: noise is some tens of bytes, a forgotten copy of a value 256, an object per record on the way some hundreds. Buffers of reads are the
 * one copy that the caller may keep; what is written is copied into memory that is there already.
 */
const BOUNDS: Readonly<Record<string, Cost>> = {
  enqueue: { heap: 100, buffers: 16 },
  append: { heap: 900, buffers: 16 },
  'getSync from disk': { heap: 700, buffers: 300 },
  'getSync from the tail cache': { heap: 450, buffers: 300 },
  // Blocks are read ahead: up to 2 MiB more than the 5,000 records that are counted.
  'record of a scan': { heap: 260, buffers: 1500 },
  'store put of a new value': { heap: 950, buffers: 16 },
  'store get, cached': { heap: 400, buffers: 300 },
}

describe.runIf(backends.includes('native'))('memory that an operation allocates', () => {
  let costs: Record<string, Cost>
  beforeAll(async () => {
    // Nothing is collected while it is counted.
    costs = await runProgram(
      'allocations.mjs',
      ['native', makeDirectory('allocations')],
      ['--expose-gc', '--max-semi-space-size=512', '--min-semi-space-size=512'],
    )
  })

  it.each(Object.entries(BOUNDS))('%s', (operation, bound) => {
    const { heap, buffers } = costs[operation]
    expect(heap, 'bytes of JavaScript heap').toBeLessThan(bound.heap)
    expect(buffers, 'bytes of array buffers').toBeLessThan(bound.buffers)
  })

  it('every operation of the program has its bound', () => expect(Object.keys(costs)).toEqual(Object.keys(BOUNDS)))
})

describe.runIf(backends.includes('native'))('memory of an open log', () => {
  it('one that is idle holds at most 4 KiB of the JavaScript heap', async () => {
    const { heap } = await runProgram<{ heap: number }>(
      'idle-logs.mjs',
      ['native', makeDirectory('idle-logs')],
      ['--expose-gc', '--no-opt', '--max-semi-space-size=1'],
    )
    expect(heap).toBeGreaterThan(0)
    expect(heap).toBeLessThan(4096)
  })
})

describe.each(backends)('system calls of an open (%s)', (backend) => {
  const testing = testingOf(backend)

  it('a new log and its first record are seven syncs: four of directories, MANIFEST, the header of the segment, the group', async () => {
    const directory = freshPath()
    testing.resetCounts()
    await using log = await Log.open(directory, { backend })
    await log.append(VALUE)
    const { syncDirectory, sync, datasync } = testing.counts()
    expect({ syncDirectory, sync, datasync }).toEqual({ syncDirectory: 4, sync: 1, datasync: 2 })
  })

  it('one that was closed is opened without a sync, with three writes and two listings', async () => {
    const directory = freshPath()
    {
      await using log = await Log.open(directory, { backend })
      await log.append(VALUE)
    }
    testing.resetCounts()
    await using log = await Log.open(directory, { backend })
    expect(log.durableOffset).toBe(1)
    const { write, list, syncDirectory = 0, sync = 0, datasync = 0 } = testing.counts()
    // The owner in LOCK, and COMMITTED twice: readers must not believe the last writer while the end is being looked for.
    expect({ write, list, syncs: syncDirectory + sync + datasync }).toEqual({ write: 3, list: 2, syncs: 0 })
  })
})

describe.each(backends)('system calls of a store (%s)', (backend) => {
  const testing = testingOf(backend)

  async function counted(work: () => unknown): Promise<Record<string, number>> {
    testing.resetCounts()
    await work()
    return Object.fromEntries(Object.entries(testing.counts()).filter(([, count]) => count > 0))
  }

  it('a batch of 1,000 is one sync; 1,000 puts at once are far fewer than 1,000', async () => {
    await using store = await Store.open(freshPath(), { ...QUIET, backend, durability: 'fsync' })
    await store.put('first', VALUE)
    const batch = await counted(() => store.putBatch(range(0, 1000).map((i) => ({ key: keyOf(i), value: VALUE }))))
    expect(batch.datasync).toBe(1)
    // The frames, and where COMMITTED says they end.
    expect(batch.write).toBeLessThanOrEqual(3)
    const puts = await counted(() => Promise.all(range(1000, 2000).map((i) => store.put(keyOf(i), VALUE))))
    expect(puts.datasync).toBeGreaterThan(0)
    expect(puts.datasync).toBeLessThan(20)
  })

  it('a value from the log is one pread, one that is cached none; what is not there is none', async () => {
    await using store = await Store.open(freshPath(), { ...QUIET, backend, durability: 'flush', cache: false })
    await store.putBatch(range(0, 5000).map((i) => ({ key: keyOf(i), value: VALUE })))
    await store.flush()
    store.getSync(keyOf(0))
    const some = range(1, 200).map((i) => keyOf((i * 7919) % 5000))
    const read = () => some.forEach((key) => expect(store.getSync(key)).toHaveLength(256))
    expect(await counted(read)).toEqual({ read: some.length })
    expect(await counted(read)).toEqual({})
    expect(await counted(() => range(5000, 5100).forEach((i) => expect(store.getSync(keyOf(i))).toBeUndefined()))).toEqual({})
    expect(await counted(() => store.delete(keyOf(9999)))).toEqual({})
  })

  it('open with a snapshot reads no more than the snapshot, whatever the length of the log', async () => {
    const reads: number[] = []
    for (const versions of [2, 40]) {
      const directory = freshPath()
      {
        await using store = await Store.open(directory, { ...QUIET, backend, durability: 'flush', segmentBytes: 65_536 })
        for (let version = 0; version < versions; version++) await store.putBatch(range(0, 200).map((i) => ({ key: keyOf(i), value: VALUE })))
        await store.snapshot()
      }
      testing.resetCounts()
      await using store = await Store.open(directory, { ...QUIET, backend })
      reads.push(testing.counts().read)
      expect(store.size).toBe(200)
    }
    expect(reads[1]).toBeLessThanOrEqual(reads[0] + 2)
  })
})

describe.each(backends)('system calls of a durable log (%s)', (backend) => {
  it('a synchronous append, and a group of 64, is one write, one sync, and one write of COMMITTED', async () => {
    const testing = testingOf(backend)
    await using log = await Log.open(freshPath(), { backend, durability: 'fsync', idleMarkMs: 3_600_000 })
    log.appendSync(VALUE)
    for (const append of [() => log.appendSync(VALUE), () => Promise.all(range(0, 64).map(() => log.append(VALUE)))]) {
      testing.resetCounts()
      for (let i = 0; i < 3; i++) await append()
      expect(testing.counts()).toMatchObject({ write: 6, datasync: 3 })
    }
  })
})
