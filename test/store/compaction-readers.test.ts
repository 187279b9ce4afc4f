/** Readers in other processes, opened before a compaction, read on through it and behind it. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { until } from '../support/logs.js'
import { startProgram } from '../support/programs.js'
import { Changes, openJson } from './stores.js'

const OPTIONS = { segmentBytes: 2048, idleMarkMs: 3_600_000, snapshotBytes: false, compaction: false, durability: 'flush' } as const

vi.setConfig({ testTimeout: 60_000 })
process.removeAllListeners('warning')

describe.each(backends)('readers of a log that is compacted (%s)', (backend) => {
  it.each([2, 500])('in another process, with at most %i files open', async (maxOpenFiles) => {
    const directory = freshPath()
    const changes = new Changes()
    const store = await openJson(directory, backend, OPTIONS)
    const fill = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const key = `key ${i % 3 === 0 ? i : i % 17}`
        const value = { i, text: 'x'.repeat(60) }
        changes.put(changes.length, key, value)
        await store.put(key, value)
      }
    }
    await fill(200)
    const program = startProgram('compacted-reader.mjs', [backend, directory, maxOpenFiles])
    try {
      await until(() => program.lines().length > 0, 'the reader has begun')
      let removed = 0
      for (let pass = 0; pass < 8; pass++) {
        await fill(60)
        removed += (await store.compact({ keepCompleteChunks: 0, tombstoneMs: 0 })).recordsRemoved
      }
      expect(removed).toBeGreaterThan(200)
      changes.put(changes.length, 'last', 1)
      await store.put('last', 1)
      const { status, stderr } = await program.ended
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      const end = program.lines<{ content: unknown; records: number }>().at(-1)
      expect(end?.content).toEqual(changes.entries(changes.length))
      // A file that stays open is read as it was.
      if (maxOpenFiles === 2) expect(end?.records).toBeLessThan(changes.length - 150)
    } finally {
      program.child.kill()
      await store.close()
    }
  })

  it('one that is behind finds the segments that were closed and replaced before it came to them', async () => {
    const directory = freshPath()
    const store = await openJson<number>(directory, backend, OPTIONS)
    await store.put('first', 1)
    const reader = await Log.openReader<number>(directory, { backend, pollIntervalMs: 20 })
    for (let i = 0; i < 200; i++) await store.put(`key ${i % 4}`, i)
    await store.compact({ keepCompleteChunks: 0 })
    await store.put('end', 2)
    await reader.refresh()
    expect(reader.committedOffset).toBe(202)
    const values = new Map<string, unknown>()
    for await (const { key, value } of reader.read())
      values.set(
        Buffer.from(key ?? [])
          .subarray(1)
          .toString(),
        value,
      )
    expect([...values].sort()).toEqual([
      ['end', 2],
      ['first', 1],
      ['key 0', 196],
      ['key 1', 197],
      ['key 2', 198],
      ['key 3', 199],
    ])
    await store.close()
    await reader.refresh()
    expect(reader.getSync(0)?.offset).toBe(0)
    expect(reader.getSync(5)).toBeUndefined()
    expect(await reader.get(6)).toBeUndefined()
    await reader.close()
  })

  it.each([false, true])('chunks of rewritten segments are served to one that opened the log before (read: %s)', async (read) => {
    const directory = freshPath()
    const store = await openJson(directory, backend, {
      segmentBytes: 2048,
      maxRecordBytes: 1024,
      maxBatchBytes: 1024,
      chunkBytes: 400,
      seal: 'json',
      durability: 'flush',
    })
    for (let i = 0; i < 150; i++) await store.put(`key ${i % 50}`, { i, text: 'x'.repeat(40) })
    await store.flush()
    const reader = await Log.openReader(directory, { backend })
    if (read) for await (const _ of reader.read());
    const warnings: (string | undefined)[] = []
    const listener = (warning: Error & { code?: string }) => warnings.push(warning.code)
    process.on('warning', listener)
    await store.compact({ keepCompleteChunks: 0, tombstoneMs: 0 })
    const rewritten = () => fs.readdirSync(path.join(directory, 'chunks')).some((name) => /\.100\.\d+\..*json$/.test(name))
    await until(rewritten, 'the last rewritten segment is sealed')
    const opened = await reader.chunks.open(100)
    expect(opened?.first).toBe(100)
    opened?.close()
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', listener)
    expect(warnings).not.toContain('SEALOG_CHUNK_DAMAGED')
    await reader.close()
    await store.close()
  })

  it('a read meets files that are gone again and again, as long as each is another one', async () => {
    const directory = freshPath()
    const store = await openJson<number>(directory, backend, OPTIONS)
    for (let i = 0; i < 100; i++) await store.put(i < 20 && i % 2 === 0 ? `once ${i}` : 'often', i)
    await store.flush()
    const reader = await Log.openReader<number>(directory, { backend })
    const compact = () => store.compact({ keepCompleteChunks: 0, tombstoneMs: 0 })
    await compact()
    const recheck = reader.recheck.bind(reader)
    let looks = 0
    reader.recheck = async () => {
      const changed = await recheck()
      if (++looks > 3) return changed
      await store.put(`once ${2 * looks}`, 100 + looks)
      await compact()
      return changed
    }
    const values: number[] = []
    for await (const record of reader.read()) values.push(record.value)
    expect(looks).toBeGreaterThan(2)
    expect(values.slice(0, 3)).toEqual([0, 8, 10])
    await reader.close()
    await store.close()
  })
})
