/** Sealing killed at every step, with power lost at every step, and with every system call failing: never a wrong chunk, and all are there afterwards. */
import fs from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { parseChunkFile } from '../../lib/format/names.js'
import { Log, type LogOptions } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends, testingOf } from '../support/backends.js'
import { checkCrashes, recordEvents } from '../support/crash-images.js'
import { freshPath } from '../support/directories.js'
import { readAll, until } from '../support/logs.js'

const OPTIONS = { codec: 'json', chunkBytes: 300, segmentBytes: 1024, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000 } as const

vi.setConfig({ testTimeout: 300_000 })
// Faults and damaged chunks are what this suite is about; each would print a warning.
process.removeAllListeners('warning')

function open(directory: string, backend: Backend, options: LogOptions = {}): Promise<Log<unknown>> {
  return Log.open<unknown>(directory, { ...OPTIONS, ...options, backend, codec: 'json' })
}

/** Whatever chunk there is holds exactly its records; after seal() all records are in chunks and nothing else lies in the folder. */
async function checkSealed(log: Log<unknown>): Promise<void> {
  const records = await readAll(log)
  const expected = (first: number, last: number) =>
    `[${records
      .filter(({ offset }) => offset >= first && offset <= last)
      .map(({ value }) => JSON.stringify(value))
      .join(',')}]`
  for (const chunk of await log.chunks.list()) {
    const found = await log.chunks.open(chunk.first)
    if (found === undefined) continue
    // Records before the start are gone, chunks of their segment are not.
    if (found.first >= log.startOffset) expect(fs.readFileSync(found.path, 'utf8')).toBe(expected(found.first, found.last))
    found.close()
  }
  const chunks = await log.chunks.seal()
  if (records.length === 0) return
  expect(chunks.at(-1)?.last).toBe(records[records.length - 1].offset)
  for (const [i, chunk] of chunks.entries()) {
    if (i > 0) expect(chunk.first).toBe(chunks[i - 1].last + 1)
    if (chunk.first >= log.startOffset) expect(fs.readFileSync(chunk.path, 'utf8')).toBe(expected(chunk.first, chunk.last))
  }
  const strays = fs.readdirSync(path.join(log.directory, 'chunks')).filter((name) => parseChunkFile(name) === undefined)
  expect(strays).toEqual([])
}

describe.each(backends)('sealing and crashes (%s)', (backend) => {
  it('killed, or without power, at every step', async () => {
    const events = await recordEvents(backend, async (place) => {
      const log = await open(place, backend, { chunkEncodings: ['gzip'] })
      for (let i = 0; i < 30; i++) await log.append({ i, text: 'x'.repeat(i * 2) })
      await log.chunks.seal()
      await log.truncateBefore(14)
      await log.truncateAfter(24)
      for (let i = 25; i < 30; i++) await log.append({ again: i, text: 'y'.repeat(30) })
      await log.chunks.seal()
      await log.close()
    })
    const sealing = events.findIndex((event) => event.kind === 'mkdir' && event.path.endsWith('chunks'))
    expect(sealing).toBeGreaterThan(0)
    const opened = await checkCrashes(events, 7, sealing, async (place) => {
      const after = await open(place, backend)
      try {
        await checkSealed(after)
      } finally {
        await after.close()
      }
    })
    console.log(`sealing, ${backend}: ${opened} different images of ${events.length - sealing} events`)
    expect(opened).toBeGreaterThan(200)
  })

  it('every call of every kind fails once: nothing short, nothing lost, sealed afterwards', async () => {
    const testing = testingOf(backend)
    const { EIO, ENOSPC } = constants.errno
    let failures = 0
    for (const kind of ['open', 'read', 'write', 'sync', 'rename', 'mkdir', 'list', 'syncDirectory', 'close', 'unlink'] as const) {
      for (let nth = 1; ; nth++) {
        const directory = freshPath()
        let log = await open(directory, backend, { segmentBytes: 64 * 1024 })
        for (let i = 0; i < 12; i++) log.enqueue({ i, text: 'z'.repeat(60) })
        await log.flush()
        await until(() => log.stats().sealing.sealedChunks >= 2, 'the background has nothing left to do')
        await log.close()
        fs.rmSync(path.join(directory, 'chunks'), { recursive: true })
        log = await open(directory, backend, { segmentBytes: 64 * 1024 })
        testing.resetCounts()
        testing.fault(kind, nth, kind === 'write' ? ENOSPC : EIO, false, 0)
        const refused = await log.chunks.seal().then(
          () => false,
          () => true,
        )
        if (refused || log.stats().sealing.sealFailures > 0) failures++
        const calls = testing.counts()[kind] ?? 0
        testing.clearFaults()
        if (log.failure !== undefined) await log.reopen()
        await checkSealed(log)
        await log.close()
        fs.rmSync(path.dirname(directory), { recursive: true, force: true })
        if (calls < nth) break
      }
    }
    expect(failures).toBeGreaterThan(20)
  })
})
