import { readdirSync, readlinkSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { type Durability, Log, LogError } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, errorOf, range, readAll, text, withLog } from '../support/logs.js'

const EIO = 5
const ENOSPC = 28

afterEach(() => {
  for (const backend of backends) testingOf(backend).clearFaults()
})

describe.each(backends)('failure (%s)', (backend) => {
  const testing = testingOf(backend)

  it.each<[Durability, string]>([
    ['fsync', 'write'],
    ['fsync', 'datasync'],
    ['flush', 'write'],
  ])('G6, T5: in mode %s a failed %s is sticky: every waiter and later call rejects with an error of its own and one cause', async (durability, kind) => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend, durability })
    await log.append(bytes('good'))
    testing.fault(kind, 1, EIO, false, 0)
    const outcomes = await Promise.allSettled([log.append(bytes('a')), log.append(bytes('b')), log.appendBatch([bytes('c')])])
    const errors = outcomes.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as LogError) : undefined))
    for (const error of errors) expect(error).toMatchObject({ code: 'ERR_SEALOG_FAILED', cause: { code: 'EIO' } })
    expect(new Set(errors).size).toBe(3)
    expect(new Set(errors.map((error) => error?.cause)).size).toBe(1)
    const cause = errors[0]?.cause
    // The fault is over; the log must not notice.
    for (const call of [
      () => log.append(bytes('d')),
      () => log.appendBatch([bytes('d')]),
      () => log.enqueue(bytes('d')),
      () => log.appendSync(bytes('d')),
      () => log.flush(),
      () => log.sync(),
      () => log.flushSync(),
      () => log.syncSync(),
      () => log.truncateAfter(0),
      () => log.truncateBefore(1),
      () => log.committed(1),
    ]) {
      expect(await errorOf(call)).toMatchObject({ code: 'ERR_SEALOG_FAILED', cause })
    }
    expect(log.failure).toMatchObject({ code: 'ERR_SEALOG_FAILED', cause })
    expect([log.committedOffset, log.endOffset]).toEqual([1, 1])
    // Reads go on.
    expect(text(log.getSync(0)?.value ?? bytes(''))).toBe('good')
    expect((await readAll(log)).length).toBe(1)
    expect(await errorOf(() => log.close())).toMatchObject({ code: 'ERR_SEALOG_FAILED', cause })
    const again = await Log.open(directory, { backend })
    const records = (await readAll(again)).map((record) => text(record.value))
    expect(records.slice(0, 1)).toEqual(['good'])
    expect(['good', 'a', 'b', 'c'].slice(0, records.length)).toEqual(records)
    await again.close()
  })

  it('a failed sync of what flush committed poisons, and never retries', async () => {
    const log = await Log.open(freshPath(), { backend, durability: 'flush' })
    await log.append(bytes('a'))
    testing.fault('datasync', 1, EIO, false, 0)
    expect(await codeOf(() => log.sync())).toBe('ERR_SEALOG_FAILED')
    expect(log.durableOffset).toBe(0)
    testing.resetCounts()
    expect(await codeOf(() => log.sync())).toBe('ERR_SEALOG_FAILED')
    expect(await codeOf(() => log.durable(0))).toBe('ERR_SEALOG_FAILED')
    expect(testing.counts().datasync ?? 0).toBe(0)
    expect(log.getSync(0)).toBeDefined()
    expect(await codeOf(() => log.close())).toBe('ERR_SEALOG_FAILED')
  })

  it('short writes and short reads are continued, not failed', async () => {
    const log = await Log.open(freshPath(), { backend })
    testing.fault('write', 1, 0, false, 10)
    testing.fault('write', 3, 0, false, 1)
    await log.appendBatch(range(0, 20).map((i) => bytes(`record ${i}`)))
    expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, 20).map((i) => `record ${i}`))
    testing.clearFaults()
    testing.fault('read', 1, 0, false, 30)
    expect((await readAll(log)).length).toBe(20)
    await log.close()
  })

  it('reopen() verifies from disk and writes on, at the offset behind what survived; epoch stays when nothing visible was cut', async () => {
    const log = await Log.open(freshPath(), { backend })
    for (let i = 0; i < 5; i++) await log.append(bytes(`${i}`))
    await log.reopen()
    expect(log.endOffset).toBe(5)
    testing.fault('write', 1, EIO, false, 0)
    expect(await codeOf(() => log.append(bytes('lost')))).toBe('ERR_SEALOG_FAILED')
    await log.reopen()
    expect(log.failure).toBeUndefined()
    expect([log.endOffset, log.epoch]).toEqual([5, 1])
    expect(await log.append(bytes('5'))).toBe(5)
    expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, 6).map(String))
    await log.close()
  })

  it('a reopen() that fails leaves the log failed and readable, and may be tried again', async () => {
    const log = await Log.open(freshPath(), { backend })
    await log.append(bytes('a'))
    testing.fault('datasync', 1, EIO, true, 0)
    expect(await codeOf(() => log.append(bytes('b')))).toBe('ERR_SEALOG_FAILED')
    await expect(log.reopen()).rejects.toBeInstanceOf(LogError)
    expect(await codeOf(() => log.append(bytes('c')))).toBe('ERR_SEALOG_FAILED')
    testing.clearFaults()
    await log.reopen()
    expect(log.endOffset).toBeGreaterThanOrEqual(1)
    const end = log.endOffset
    expect(await log.append(bytes('d'))).toBe(end)
    await log.close()
  })

  it('iterators and followers outlive a failure and a reopen()', async () => {
    const log = await Log.open(freshPath(), { backend })
    await log.append(bytes('0'))
    const follower = log.read({ follow: true })
    await follower.next()
    const waiting = follower.next()
    testing.fault('write', 1, EIO, false, 0)
    expect(await codeOf(() => log.append(bytes('lost')))).toBe('ERR_SEALOG_FAILED')
    await log.reopen()
    await log.append(bytes('1'))
    const step = await waiting
    expect(step.done === true ? undefined : text(step.value.value)).toBe('1')
    await follower.return?.()
    await log.close()
  })

  it('failure of one log leaves the others alone', async () => {
    const logs = await Promise.all([Log.open(freshPath(), { backend }), Log.open(freshPath(), { backend })])
    await logs[0].append(bytes('x'))
    await logs[1].append(bytes('y'))
    testing.fault('datasync', 1, EIO, false, 0)
    expect(await codeOf(() => logs[0].append(bytes('x')))).toBe('ERR_SEALOG_FAILED')
    expect(await logs[1].append(bytes('y'))).toBe(1)
    expect(await codeOf(() => logs[0].close())).toBe('ERR_SEALOG_FAILED')
    await logs[1].close()
  })

  it('a reader that fails to open, and a roll that fails, leave no file open', async () => {
    const directory = freshPath()
    const open = () =>
      readdirSync('/proc/self/fd').filter((name) => {
        try {
          return readlinkSync(`/proc/self/fd/${name}`).startsWith(directory)
        } catch {
          return false
        }
      })
    await withLog(directory, { backend, segmentBytes: 4096, maxBatchBytes: 1024, durability: 'none', syncIntervalMs: 3_600_000 }, async (log) => {
      for (let i = 0; i < 30; i++) await log.append(new Uint8Array(300))
    })
    let failed = 0
    for (const kind of ['open', 'read', 'stat', 'list']) {
      for (let nth = 1; nth <= 12; nth++) {
        testing.fault(kind, nth, EIO, false, 0)
        const reader = await Log.openReader(directory, { backend }).catch(() => undefined)
        testing.clearFaults()
        if (reader === undefined) failed++
        await reader?.close()
        expect(open(), `${kind} ${nth}`).toEqual([])
      }
    }
    expect(failed).toBeGreaterThan(5)
    for (let nth = 1; nth <= 4; nth++) {
      const log = await Log.open(directory, { backend })
      testing.fault('syncDirectory', nth, EIO, false, 0)
      for (let i = 0; i < 2; i++) {
        await log.append(bytes('x')).catch(() => {})
        await log
          .commitDriver()
          .roll()
          .catch(() => {})
      }
      testing.clearFaults()
      await log.close().catch(() => {})
      expect(open(), `syncDirectory ${nth}`).toEqual([])
    }
  })

  // Which of the two a backend promises, `kernels.can.preallocate` and stats().preallocated say.
  if (backend === 'native') {
    it('G7: a disk that is full while space is reserved rejects the group, poisons nothing, and the log goes on', async () => {
      const log = await Log.open(freshPath(), { backend })
      await log.append(bytes('a'))
      testing.fault('allocate', 1, ENOSPC, true, 0)
      const big = new Uint8Array(200_000)
      expect(await errorOf(() => log.append(big))).toMatchObject({ code: 'ERR_SEALOG_NO_SPACE', cause: { code: 'ENOSPC' } })
      expect(log.failure).toBeUndefined()
      expect([log.endOffset, log.committedOffset]).toEqual([1, 1])
      testing.clearFaults()
      expect(await log.append(big)).toBe(1)
      await log.close()
    })
  } else {
    it('G7: without reserved space a disk that is full in mid-group poisons, and reopen() goes on when there is space', async () => {
      const log = await Log.open(freshPath(), { backend })
      await log.append(bytes('a'))
      expect(log.stats().preallocated).toBe(false)
      testing.fault('write', 1, ENOSPC, true, 0)
      expect(await errorOf(() => log.append(bytes('b')))).toMatchObject({ code: 'ERR_SEALOG_FAILED', cause: { code: 'ENOSPC' } })
      testing.clearFaults()
      await log.reopen()
      expect(await log.append(bytes('b'))).toBe(1)
      await log.close()
    })
  }
})
