import { describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, offsets, range, withLog } from '../support/logs.js'

describe.each(backends)('counts, not times (%s)', (backend) => {
  const testing = testingOf(backend)

  it('n concurrent appends in mode fsync cause far fewer than n fdatasyncs, and one wait for one', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      await log.append(bytes('first'))
      testing.resetCounts()
      await Promise.all(range(0, 1000).map((i) => log.append(bytes(`record ${i}`))))
      const { datasync } = testing.counts()
      expect(datasync).toBeGreaterThan(0)
      expect(datasync).toBeLessThan(20)
      // Eight writers that wait each for their own: about as many syncs as rounds, not as records.
      testing.resetCounts()
      await Promise.all(
        range(0, 8).map(async () => {
          for (let i = 0; i < 50; i++) await log.append(bytes('x'))
        }),
      )
      expect(testing.counts().datasync).toBeLessThan(220)
      testing.resetCounts()
      for (let i = 0; i < 10; i++) await log.append(bytes('alone'))
      expect(testing.counts().datasync).toBe(10)
    })
  })

  it('appendSync in mode fsync is one write and one fdatasync, in mode flush one write', async () => {
    for (const durability of ['fsync', 'flush'] as const) {
      await withLog(freshPath(), { backend, durability, syncIntervalMs: 3_600_000 }, async (log) => {
        log.appendSync(bytes('first'))
        testing.resetCounts()
        for (let i = 0; i < 10; i++) log.appendSync(bytes('x'))
        const { write, datasync, open } = testing.counts()
        // The frames, and the slots of COMMITTED.
        expect(write).toBe(20)
        expect([datasync ?? 0, open ?? 0]).toEqual([durability === 'fsync' ? 10 : 0, 0])
      })
    }
  })

  it('T11: modes flush and none do not sync on the commit path, and sync() always does', async () => {
    for (const durability of ['flush', 'none'] as const) {
      await withLog(freshPath(), { backend, durability, syncIntervalMs: 3_600_000 }, async (log) => {
        await log.append(bytes('first'))
        await log.flush()
        testing.resetCounts()
        for (let i = 0; i < 50; i++) await log.append(bytes('x'))
        await log.flush()
        expect(testing.counts().datasync ?? 0).toBe(0)
        await log.sync()
        expect(testing.counts().datasync).toBe(1)
      })
    }
  })

  it('T35: the index costs no sync and no write on the commit path', async () => {
    await withLog(freshPath(), { backend, indexIntervalBytes: 64 }, async (log) => {
      await log.append(bytes('first'))
      testing.resetCounts()
      for (let i = 0; i < 20; i++) await log.append(new Uint8Array(200))
      const { write, datasync, open, sync } = testing.counts()
      expect({ write, datasync, open: open ?? 0, sync: sync ?? 0 }).toEqual({ write: 40, datasync: 20, open: 0, sync: 0 })
    })
  })

  it('a random getSync is one pread for records that end within 8 KiB of their index entry', async () => {
    await withLog(freshPath(), { backend, durability: 'flush', cache: false }, async (log) => {
      for (let i = 0; i < 5000; i++) log.enqueue(new Uint8Array(256))
      await log.sync()
      log.getSync(0)
      testing.resetCounts()
      for (let i = 0; i < 500; i++) expect(log.getSync((i * 7919) % 5000)?.offset).toBe((i * 7919) % 5000)
      expect(testing.counts()).toMatchObject({ read: 500 })
      expect(Object.entries(testing.counts()).filter(([kind, count]) => kind !== 'read' && count > 0)).toEqual([])
    })
  })

  it('a scan is one pread a block', async () => {
    await withLog(freshPath(), { backend, durability: 'flush' }, async (log) => {
      for (let i = 0; i < 20_000; i++) log.enqueue(new Uint8Array(256))
      await log.sync()
      const bytesOnDisk = 20_000 * (24 + 256)
      testing.resetCounts()
      let blocks = 0
      for await (const batch of log.batches({ maxBytes: 1024 * 1024 })) blocks += batch.length > 0 ? 1 : 0
      const { read } = testing.counts()
      // Blocks grow from 64 KiB to 1 MiB: two small ones first.
      expect(blocks).toBeLessThanOrEqual(Math.ceil(bytesOnDisk / (1024 * 1024)) + 3)
      expect(read).toBeLessThanOrEqual(blocks + 1)
    })
  })

  it('T30: open of a cleanly closed log reads the same whatever the length of its history', async () => {
    const reads: number[] = []
    for (const records of [200, 4000]) {
      const directory = freshPath()
      await withLog(directory, { backend, durability: 'flush', segmentBytes: 16_384 }, async (log) => {
        for (let i = 0; i < records; i++) {
          log.enqueue(new Uint8Array(100))
          if (i % 20 === 0) await log.flush()
        }
      })
      testing.resetCounts()
      const log = await Log.open(directory, { backend })
      reads.push(testing.counts().read)
      expect(log.endOffset).toBe(records)
      await log.close()
    }
    expect(reads[1]).toBeLessThanOrEqual(reads[0] + 2)
  })

  it('an idle log makes no system calls', async () => {
    const log = await Log.open(freshPath(), { backend, idleMarkMs: 10, durability: 'flush', syncIntervalMs: 20 })
    await log.append(bytes('a'))
    const quiet = async () => {
      testing.resetCounts()
      await new Promise((resolve) => setTimeout(resolve, 250))
      return Object.values(testing.counts()).reduce((sum, n) => sum + n, 0)
    }
    let calls = await quiet()
    for (let i = 0; i < 20 && calls > 0; i++) calls = await quiet()
    expect(calls).toBe(0)
    expect(log.durableOffset).toBe(1)
    expect(await offsets(log)).toEqual([0])
    await log.close()
  })
})
