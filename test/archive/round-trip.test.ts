/** What is archived and read back, or restored, is what it was: the same records for every way of reading, the same bytes on disk. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { openArchive } from '../../lib/archive/index.js'
import { Log, verify } from '../../lib/index.js'
import { environmentOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { codeOf, errorOf, offsets, range, text, until } from '../support/logs.js'
import { Random } from '../support/random.js'
import { archiveNames, archivers, digest, fill, OPTIONS, openBoth, roll, segmentHashes } from './archives.js'

describe.each(archivers)('archives (%s)', (backend) => {
  it.each([1, 2, 3])('random log %i: the same records and, restored, the same bytes', async (seed) => {
    const random = new Random(seed)
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 64 * 1024 })
    // Some records and batches are larger than a block.
    await fill(log, 600, random, seed === 3 ? 9000 : 600)
    await roll(log)
    const before = await digest(log)
    const hashes = segmentHashes(directory)
    const segments = archive.stats().pending
    expect(await archive.run()).toBe(segments)
    expect(await archive.release(log.endOffset)).toBe(segments)
    expect(archive.list().map(({ local }) => local)).toEqual(Array(segments).fill(false))
    expect(segmentHashes(directory).size).toBe(1)
    expect(await digest(log)).toBe(before)
    for (let i = 0; i < 60; i++) {
      const offset = random.below(log.endOffset)
      const [async, sync] = [await log.get(offset), log.getSync(offset)]
      expect(async?.offset).toBe(offset)
      expect(sync).toEqual(async)
      const to = Math.min(log.endOffset, offset + random.below(40))
      expect(await offsets(log, { from: offset, to, maxBytes: 1 + random.below(20_000) })).toEqual(range(offset, to))
    }
    const report = await archive.verify()
    expect(report).toMatchObject({ ok: true, archives: segments, records: log.endOffset, problems: [] })
    expect(await verify(directory, { backend })).toMatchObject({ ok: true, records: log.endOffset, problems: [] })

    expect(await archive.restore(0, log.endOffset)).toBe(segments)
    expect(segmentHashes(directory)).toEqual(hashes)
    expect(await digest(log)).toBe(before)
    expect(await archive.restore(0, log.endOffset)).toBe(0)
    await log.close()
    const again = await Log.open(directory, { ...OPTIONS, backend, recovery: 'strict' })
    expect(await digest(again)).toBe(before)
    await again.close()
  })

  it('a block of a batch gives whole batches, of its own memory', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 256 * 1024 })
    for (let i = 0; i < 4; i++) await log.appendBatch(Array.from({ length: 50 }, (_, n) => Buffer.from(`${i} ${n} ${'x'.repeat(300)}`)))
    await roll(log)
    await archive.run()
    await archive.release(log.endOffset)
    const lengths: number[] = []
    for await (const batch of log.batches({ maxBytes: 1000 })) {
      lengths.push(batch.length)
      batch.bytes(0).fill(0)
    }
    expect(lengths).toEqual([50, 50, 50, 50])
    expect(text((await log.get(50))?.value ?? new Uint8Array())).toMatch(/^1 0 x/)
    expect(text((await log.get(99))?.value ?? new Uint8Array())).toMatch(/^1 49 x/)
    await log.close()
  })

  it('readers elsewhere, followers and offsetAt go on when the files are given up', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    for (let i = 0; i < 200; i++) await log.append(Buffer.from(`record ${i}`), { timestamp: 1_700_000_000_000 + (i % 2 === 0 ? i : i - 5) * 1000 })
    const reader = await Log.openReader(directory, { backend })
    const follower = reader.read({ follow: true, maxBytes: 512 })
    const seen: number[] = []
    const follow = async (count: number) => {
      while (seen.length < count) seen.push((await follower.next()).value?.offset ?? -1)
    }
    await follow(3)
    await roll(log)
    await archive.run()
    const times = [0, 1_700_000_000_000, 1_700_000_050_500, 1_700_000_198_000, 1_800_000_000_000]
    const wanted = await Promise.all(times.map((time) => log.offsetAt(time)))
    await archive.release(log.endOffset)
    expect(await Promise.all(times.map((time) => log.offsetAt(time)))).toEqual(wanted)
    expect(await Promise.all(times.map((time) => reader.offsetAt(time)))).toEqual(wanted)
    await log.append(Buffer.from('after'))
    await follow(201)
    expect(seen).toEqual(range(0, 201))
    expect(text((await reader.get(7))?.value ?? new Uint8Array())).toBe('record 7')
    expect(text(reader.getSync(8)?.value ?? new Uint8Array())).toBe('record 8')
    const fresh = await Log.openReader(directory, { backend })
    expect(await offsets(fresh)).toEqual(range(0, 201))
    await archive.restore(0, 100)
    expect(await offsets(reader, { from: 0, to: 201 })).toEqual(range(0, 201))
    await follower.return?.()
    await reader.close()
    await fresh.close()
    await log.close()
  })

  it('a cut inside a released segment restores it first; archives behind the cut are gone', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    for (let i = 0; i < 300; i++) await log.append(Buffer.from(`record ${i}`))
    await roll(log)
    await archive.run()
    await archive.release(log.endOffset)
    const all = archive.list()
    expect(all.length).toBeGreaterThan(3)
    const { base } = all[2]
    expect(await log.truncateAfter(base + 1)).toBe(base + 2)
    expect(archive.list().map((entry) => entry.base)).toEqual(all.slice(0, 2).map((entry) => entry.base))
    expect(archiveNames(directory)).toHaveLength(2)
    for (let i = 0; i < 100; i++) await log.append(Buffer.from(`again ${i}`))
    await roll(log)
    expect(await archive.run()).toBeGreaterThan(0)
    await archive.release(log.endOffset)
    expect(await offsets(log)).toEqual(range(0, base + 102))
    expect(text((await log.get(base + 2))?.value ?? new Uint8Array())).toBe('again 0')
    await log.close()
  })

  it('zstd reads an archive as what it is', async () => {
    const { status } = spawnSync('zstd', ['--version'])
    if (status !== 0) {
      console.warn('SKIPPED: zstd is not installed')
      return
    }
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend)
    for (let i = 0; i < 100; i++) await log.append(Buffer.from(`record number ${i}`))
    await roll(log)
    await archive.run()
    const [{ file }] = archive.list()
    const { stdout, stderr } = spawnSync('zstd', ['-d', '-c', file], { maxBuffer: 2 ** 30 })
    expect(stderr.toString()).toBe('')
    expect(stdout.toString('latin1')).toContain('record number 7')
    await log.close()
  })

  it('archives in another directory, and says when it is not told of it', async () => {
    const directory = freshPath()
    const elsewhere = freshPath('elsewhere')
    const options = { archive: { directory: elsewhere } }
    const { log, archive } = await openBoth(directory, backend, options)
    for (let i = 0; i < 100; i++) await log.append(Buffer.from(`record ${i}`))
    await roll(log)
    await archive.run()
    await archive.release(log.endOffset)
    await log.close()
    expect(fs.existsSync(path.join(directory, 'archive'))).toBe(false)
    const wrong = await Log.open(directory, { ...OPTIONS, backend })
    const error = await errorOf(() => wrong.get(3))
    expect(error).toMatchObject({ code: 'ERR_SEALOG_ARCHIVE', offset: 0 })
    expect(error.message).toContain(path.join(directory, 'archive'))
    expect(await codeOf(() => wrong.getSync(3))).toBe('ERR_SEALOG_ARCHIVE')
    expect(await codeOf(() => offsets(wrong))).toBe('ERR_SEALOG_ARCHIVE')
    await wrong.append(Buffer.from('appends go on'))
    await wrong.close()
    const right = await Log.open(directory, { ...OPTIONS, backend, ...options })
    expect(await offsets(right)).toEqual(range(0, 101))
    const reader = await Log.openReader(directory, { backend, ...options })
    expect(await offsets(reader)).toEqual(range(0, 101))
    expect(await verify(directory, { backend, ...options })).toMatchObject({ ok: true })
    expect((await verify(directory, { backend })).problems[0]).toMatchObject({ code: 'ERR_SEALOG_ARCHIVE', firstOffset: 0 })
    await reader.close()
    await right.close()
  })

  it('archives as segments close, and ends with the log', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, {}, { automatic: true })
    for (let i = 0; i < 400; i++) await log.append(Buffer.from(`record ${i}`))
    await until(() => archive.stats().pending === 0 && archive.stats().archived > 3, 'everything closed is archived')
    expect(await codeOf(() => openArchive(log))).toBe('ERR_SEALOG_CONFLICT')
    await log.close()
    expect(await codeOf(() => archive.run())).toBe('ERR_SEALOG_CLOSED')
    expect(archiveNames(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
    await archive.close()
  })

  it('blocks in memory stay within their bound', async () => {
    const directory = freshPath()
    const { log, archive } = await openBoth(directory, backend, { segmentBytes: 8 * 1024 * 1024 }, { blockBytes: 1024 * 1024 })
    const value = Buffer.alloc(64 * 1024)
    for (let i = 0; i < 400; i++) {
      value.writeUInt32LE(i)
      log.enqueue(value)
    }
    await log.flush()
    await roll(log)
    await archive.run()
    await archive.release(log.endOffset)
    expect(await offsets(log)).toEqual(range(0, 400))
    expect(environmentOf(backend).archivedBlocks.bytes).toBeGreaterThan(8 * 1024 * 1024)
    expect(environmentOf(backend).archivedBlocks.bytes).toBeLessThanOrEqual(16 * 1024 * 1024)
    await log.close()
  })
})
