import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Log, type LogOptions } from '../../lib/index.js'
import { AcceptTimes } from '../../lib/log/accept-times.js'
import { type ChannelMessages, commitDone, operationError } from '../../lib/telemetry/channels.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, range, until } from '../support/logs.js'

const ENOSPC = 28
const undo: Array<() => unknown> = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

function listen<Name extends keyof ChannelMessages>(name: Name): { messages: ChannelMessages[Name][]; stop(): void } {
  const messages: ChannelMessages[Name][] = []
  const listener = (message: unknown) => void messages.push(message as ChannelMessages[Name])
  subscribe(name, listener)
  const stop = () => void unsubscribe(name, listener)
  undo.push(stop)
  return { messages, stop }
}

async function openLog(backend: LogOptions['backend'], options: LogOptions = {}): Promise<Log> {
  const log = await Log.open(freshPath(), { backend, ...options })
  undo.push(() => log.close().catch(() => {}))
  return log
}

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0)

describe.each(backends)('telemetry of the commit path (%s)', (backend) => {
  it.each(['fsync', 'flush', 'none'] as const)('tells every commit once, with what it counted, in mode %s', async (durability) => {
    const log = await openLog(backend, { durability, syncIntervalMs: 3_600_000 })
    const { messages } = listen('sealog:commit')
    const started = performance.now()
    await log.append(bytes('one'))
    await log.appendBatch(range(0, 20).map(() => bytes('batch')))
    for (const i of range(0, 500)) log.enqueue(bytes(`${i}`))
    log.enqueue(new Uint8Array(5 << 20))
    await log.flush()
    log.appendSync(bytes('sync'))
    await log.sync()
    const elapsed = (performance.now() - started) / 1000
    expect(sum(messages.map(({ records }) => records))).toBe(log.committedOffset)
    expect([log.committedOffset, log.stats().environmentQueuedBytes]).toEqual([523, 0])
    expect(sum(messages.map(({ groups }) => groups))).toBe(log.stats().groups)
    expect(sum(messages.map(({ syncs }) => syncs))).toBeLessThanOrEqual(log.stats().syncs)
    if (durability === 'fsync') expect(messages.every(({ syncs }) => syncs > 0)).toBe(true)
    for (const { log: directory, duration } of messages) {
      expect(directory).toBe(log.directory)
      expect(duration).toBeGreaterThan(0)
      expect(duration).toBeLessThanOrEqual(elapsed)
    }
  })

  it('the duration begins with the acceptance of the oldest record', async () => {
    const log = await openLog(backend, { durability: 'none', syncIntervalMs: 3_600_000 })
    const { messages } = listen('sealog:commit')
    log.enqueue(bytes('waits'))
    const accepted = performance.now()
    await until(() => performance.now() - accepted > 30, 'time has passed')
    log.enqueue(bytes('new'))
    const waited = (performance.now() - accepted) / 1000
    await log.flush()
    expect(messages.map(({ records }) => records)).toEqual([2])
    expect(messages[0].duration).toBeGreaterThanOrEqual(waited)
    log.enqueue(new Uint8Array(5 << 20))
    await log.flush()
    log.enqueue(bytes('later'))
    const later = performance.now()
    await log.flush()
    expect(messages.at(-1)?.records).toBe(1)
    expect(messages.at(-1)?.duration).toBeLessThanOrEqual((performance.now() - later) / 1000 + 0.001)
  })

  it('nothing is made or measured while nobody listens', async () => {
    const log = await openLog(backend)
    const publish = [vi.spyOn(commitDone, 'publish'), vi.spyOn(operationError, 'publish')]
    const measured = vi.spyOn(AcceptTimes.prototype, 'add')
    undo.push(() => vi.restoreAllMocks())
    for (const i of range(0, 50)) await log.append(bytes(`${i}`))
    expect([measured.mock.calls.length, ...publish.map(({ mock }) => mock.calls.length)]).toEqual([0, 0, 0])
    for (const spy of publish) spy.mockRestore()
    const { messages, stop } = listen('sealog:commit')
    await log.append(bytes('heard'))
    expect(messages).toMatchObject([{ records: 1, groups: 1, syncs: 1 }])
    stop()
    await log.append(bytes('unheard'))
    expect([measured.mock.calls.length, messages.length]).toEqual([1, 1])
    // Who comes back is told of what it hears, not of what it missed.
    const again = listen('sealog:commit')
    await log.append(bytes('heard again'))
    expect(again.messages).toMatchObject([{ records: 1, groups: 1, syncs: 1 }])
  })

  it('T48: appends that fail are told with their code', async () => {
    const log = await openLog(backend)
    const { messages } = listen('sealog:error')
    const testing = testingOf(backend)
    undo.push(() => testing.clearFaults())
    await log.append(bytes('good'))
    testing.fault('datasync', 1, 5, false, 0)
    expect(await codeOf(() => log.append(bytes('lost')))).toBe('ERR_SEALOG_FAILED')
    expect(await codeOf(() => log.append(bytes('refused')))).toBe('ERR_SEALOG_FAILED')
    expect(messages).toEqual([{ log: log.directory, operation: 'append', code: 'ERR_SEALOG_FAILED' }])
    testing.clearFaults()

    const full = await openLog(backend)
    const refused = await codeOf(() => {
      for (;;) full.enqueue(new Uint8Array(1 << 20))
    })
    expect(refused).toBe('ERR_SEALOG_QUEUE_FULL')
    expect(messages.slice(1)).toEqual([{ log: full.directory, operation: 'append', code: 'ERR_SEALOG_QUEUE_FULL' }])
    await full.drain()
  })

  it('a full disk is told once for all that it takes along', async () => {
    const log = await openLog(backend)
    await log.append(bytes('good'))
    const { messages } = listen('sealog:error')
    const testing = testingOf(backend)
    undo.push(() => testing.clearFaults())
    const { preallocated } = log.stats()
    testing.fault(preallocated ? 'allocate' : 'write', 1, ENOSPC, true, 0)
    const big = new Uint8Array(4 << 20)
    const codes = await Promise.all([codeOf(() => log.append(big)), codeOf(() => log.append(big))])
    const expected = preallocated ? 'ERR_SEALOG_NO_SPACE' : 'ERR_SEALOG_FAILED'
    expect(codes).toEqual([expected, expected])
    expect(messages).toEqual([{ log: log.directory, operation: 'append', code: expected }])
  })
})

describe('AcceptTimes', () => {
  it('gives the time of the oldest record of a commit, once per submit', () => {
    const times = new AcceptTimes()
    const now = vi.spyOn(performance, 'now')
    undo.push(() => now.mockRestore())
    const add = (offset: number, submit: number, time: number) => {
      now.mockReturnValueOnce(time)
      times.add(offset, submit)
      now.mockReset()
    }
    add(10, 1, 100)
    add(11, 1, 101)
    add(12, 2, 102)
    add(13, 3, 103)
    expect(times.take(10, 11)).toBe(100)
    expect(times.take(11, 12)).toBe(100)
    expect(times.take(12, 14)).toBe(102)
    expect(times.take(14, 14)).toBeUndefined()
    add(14, 4, 104)
    // 15 was accepted while nobody listened.
    add(16, 6, 106)
    expect(times.take(14, 15)).toBe(104)
    expect(times.take(15, 17)).toBe(104)
  })

  it('keeps no more than it is allowed to', () => {
    const times = new AcceptTimes()
    for (const i of range(0, 100_000)) times.add(i, i)
    expect(times.size).toBe(4096)
    expect(times.take(0, 100_000)).toBeTypeOf('number')
    expect(times.size).toBe(1)
  })
})
