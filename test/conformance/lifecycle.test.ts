import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { configure, Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, offsets, range, readAll, segmentPath, text, until, withLog } from '../support/logs.js'

describe.each(backends)('open, close and stats (%s)', (backend) => {
  it('close() makes everything accepted durable, in every mode', async () => {
    for (const durability of ['fsync', 'flush', 'none'] as const) {
      const directory = freshPath()
      const log = await Log.open(directory, { backend, durability })
      for (let i = 0; i < 100; i++) log.enqueue(bytes(`${i}`))
      const waiting = log.append(bytes('last'))
      await log.close()
      expect(await waiting).toBe(100)
      expect([log.durableOffset, log.committedOffset, log.closed]).toEqual([101, 101, true])
      await withLog(directory, { backend }, async (again) => expect(await offsets(again)).toEqual(range(0, 101)))
    }
  })

  it('closeSync() does the same on the calling thread, with appends, a roll and a follower under way', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend, segmentBytes: 2048 })
    const follower = log.read({ follow: true })
    const promises = range(0, 100).map((i) => log.append(bytes(`record ${i}`)))
    log.closeSync()
    expect(log.closed).toBe(true)
    expect(await Promise.all(promises)).toEqual(range(0, 100))
    let step = await follower.next()
    for (let i = 0; i < 200 && step.done !== true; i++) step = await follower.next()
    expect(step.done).toBe(true)
    await withLog(directory, { backend, recovery: 'strict' }, async (again) => expect(await offsets(again)).toEqual(range(0, 100)))
  })

  it('close() called twice, also beside closeSync(), ends once', async () => {
    const log = await Log.open(freshPath(), { backend })
    await log.append(bytes('a'))
    const both = Promise.all([log.close(), log.close()])
    await both
    log.closeSync()
    await log.close()
  })

  it('Symbol.asyncDispose closes', async () => {
    const log = await Log.open(freshPath(), { backend })
    await log[Symbol.asyncDispose]()
    expect(log.closed).toBe(true)
    const directory = log.directory
    const reader = await Log.openReader(directory, { backend })
    await reader[Symbol.asyncDispose]()
    expect(reader.closed).toBe(true)
    expect(await codeOf(() => reader.getSync(0))).toBe('ERR_SEALOG_CLOSED')
  })

  it('a clean close leaves an exact file whose last frame is a mark; opening writes nothing to it', async () => {
    const directory = freshPath()
    await withLog(directory, { backend }, (log) => log.appendBatch([bytes('a'), bytes('b')]))
    const before = readFileSync(segmentPath(directory, 0))
    // Header, two records, their commit frame, the mark.
    expect(before.length).toBe(128 + 2 * 32 + 56 + 56)
    await withLog(directory, { backend }, async (log) => expect(log.endOffset).toBe(2))
    expect(Buffer.compare(readFileSync(segmentPath(directory, 0)), before)).toBe(0)
  })

  it('an idle log marks its end and lets its files go; the next append takes them up again', async () => {
    const log = await Log.open(freshPath(), { backend, idleMarkMs: 20 })
    await log.append(bytes('a'))
    const files = log.stats().openFiles
    await until(() => log.stats().openFiles < files, 'the segment was let go')
    for (let round = 1; round < 4; round++) {
      expect(await log.append(bytes('b'))).toBe(round)
      expect(text(log.getSync(round)?.value ?? bytes(''))).toBe('b')
      await until(() => log.stats().openFiles < files, 'the segment was let go')
    }
    await log.close()
  })

  it('modes flush and none become durable by themselves within syncIntervalMs', async () => {
    for (const durability of ['flush', 'none'] as const) {
      const log = await Log.open(freshPath(), { backend, durability, syncIntervalMs: 30 })
      await log.append(bytes('a'))
      await until(() => log.durableOffset === 1, `durable in mode ${durability}`)
      await log.close()
    }
  })

  it('options may change from open to open; what belongs to the log is adopted', async () => {
    const directory = freshPath()
    await withLog(directory, { backend, codec: 'bytes', maxRecordBytes: 500, maxBatchBytes: 1000 }, (log) => log.append(new Uint8Array(500)))
    await withLog(directory, { backend, durability: 'none' }, async (log) => {
      expect(await codeOf(() => log.append(new Uint8Array(501)))).toBe('ERR_SEALOG_RECORD_TOO_LARGE')
    })
    await withLog(directory, { backend, maxRecordBytes: 100, maxBatchBytes: 100 }, async (log) => {
      expect(await codeOf(() => log.append(new Uint8Array(101)))).toBe('ERR_SEALOG_RECORD_TOO_LARGE')
      // The option bounds appends, never reads.
      expect(log.getSync(0)?.value.length).toBe(500)
      expect((await readAll(log))[0].value.length).toBe(500)
    })
  })

  it('create: false opens what is there and makes nothing', async () => {
    const directory = freshPath()
    expect(await codeOf(() => Log.open(directory, { backend, create: false }))).toBe('ERR_SEALOG_NOT_FOUND')
    expect(existsSync(directory)).toBe(false)
    await withLog(path.join(directory, 'deep', 'er'), { backend }, (log) => log.append(bytes('a')))
    await withLog(path.join(directory, 'deep', 'er'), { backend, create: false }, async (log) => expect(log.endOffset).toBe(1))
  })

  it('stats() tells what happened', async () => {
    await withLog(freshPath(), { backend, segmentBytes: 2048 }, async (log) => {
      for (let i = 0; i < 50; i++) await log.append(bytes(`record ${i} ${'x'.repeat(50)}`))
      const stats = log.stats()
      expect(stats).toMatchObject({
        backend,
        durability: 'fsync',
        startOffset: 0,
        committedOffset: 50,
        durableOffset: 50,
        endOffset: 50,
        epoch: 1,
        groups: 50,
        queuedBytes: 0,
        ownThreads: backend === 'native',
      })
      expect(stats.segments).toBeGreaterThan(2)
      expect(stats.syncs).toBeGreaterThanOrEqual(50)
      expect(stats.indexBytes).toBeGreaterThan(0)
      expect(stats.openFiles).toBeGreaterThan(0)
      expect(log.backend).toBe(backend)
      log.enqueue(bytes('x'))
      expect(log.stats().queuedBytes).toBe(32)
    })
  })

  it('configure() after the first open is ERR_SEALOG_CONFIGURED', async () => {
    expect(await codeOf(() => configure({ queueBytes: 1 << 20 }))).toBe('ERR_SEALOG_CONFIGURED')
    expect(await codeOf(() => configure({ queueByte: 1 } as never))).toBe('ERR_SEALOG_OPTION')
    expect(await codeOf(() => configure({ readerThreads: 0 }))).toBe('ERR_SEALOG_OPTION')
  })
})
