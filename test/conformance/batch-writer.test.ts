import { afterEach, describe, expect, it } from 'vitest'
import { type Durability, Log, LogError, type LogOptions, type RecordInput, type WriteResult } from '../../lib/index.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, range, readAll, text, until } from '../support/logs.js'

const EIO = 5
const ENOSPC = 28
/** A frame around a value of 1000 bytes without key. */
const FRAME_BYTES = 1024

const record = (size = 1000): RecordInput<Uint8Array> => ({ value: new Uint8Array(size) })
const keyed = (key: string, n: number): RecordInput<Uint8Array> => ({ key, value: bytes(String(n)) })
const codeOfResult = (result: WriteResult) => (result.status === 'rejected' && result.reason instanceof LogError ? result.reason.code : result.status)

afterEach(() => {
  for (const backend of backends) testingOf(backend).clearFaults()
})

describe.each(backends)('C32–C39, T26: the batch writer (%s)', (backend) => {
  const testing = testingOf(backend)

  async function withLog(options: LogOptions, use: (log: Log, directory: string) => Promise<void>): Promise<void> {
    const directory = freshPath()
    const log = await Log.open(directory, { backend, ...options })
    try {
      await use(log, directory)
    } finally {
      await log.close().catch(() => {})
    }
  }

  it('C33, C35, C36: writeOne waits: at most maxInFlight calls are under way, and all get their offsets in the order of the calls', () =>
    withLog({}, async (log) => {
      const writer = log.batchWriter()
      const writes = range(0, 25).map((n) => writer.writeOne({ value: bytes(String(n)) }))
      expect(writer.stats()).toMatchObject({ maxInFlight: 10, inFlight: 10, waiting: 15, accepted: 10 })
      expect(log.endOffset).toBe(10)
      let most = 0
      log.observe(() => {
        most = Math.max(most, writer.stats().inFlight)
      })
      expect(await Promise.all(writes)).toEqual(range(0, 25))
      expect(most).toBeLessThanOrEqual(10)
      expect(writer.stats()).toMatchObject({ inFlight: 0, bytesInFlight: 0, waiting: 0, accepted: 25, rejected: 0 })
      expect((await readAll(log)).map(({ value }) => text(value))).toEqual(range(0, 25).map(String))
    }))

  it('maxBytes bounds what is under way, with one item beyond it at most, also within one batch', () =>
    withLog({}, async (log) => {
      const writer = log.batchWriter({ maxInFlight: 100, maxBytes: 3 * FRAME_BYTES - 1 })
      const writes = [...range(0, 5).map(() => writer.writeOne(record())), writer.writeBatch(range(0, 40).map(() => record()))]
      let most = writer.stats().bytesInFlight
      log.observe(() => {
        most = Math.max(most, log.stats().queuedBytes)
      })
      expect(log.endOffset).toBe(3)
      await Promise.all(writes)
      expect([log.committedOffset, most]).toEqual([45, 3 * FRAME_BYTES])
      expect(await writer.writeOne(record(50_000))).toBe(45)
    }))

  it('C34, C39: writeBatch gives a result per item in their order; bad ones do not fail the others, nor take offsets', () =>
    withLog({ maxRecordBytes: 2000 }, async (log) => {
      const bad = [
        record(3000),
        { value: 'text' },
        { key: 7, value: bytes('x') },
        { value: bytes('x'), timestamp: -1 },
        null,
        { key: 'x'.repeat(70_000), value: bytes('') },
      ]
      const items = [keyed('a', 0), ...bad, keyed('b', 1), { key: 'a', tombstone: true }, record(3000)] as RecordInput<Uint8Array>[]
      const results = await log.batchWriter().writeBatch(items)
      expect(results.map((result) => (result.status === 'fulfilled' ? result.value : codeOfResult(result)))).toEqual([
        0,
        'ERR_SEALOG_RECORD_TOO_LARGE',
        'ERR_SEALOG_VALUE',
        'ERR_SEALOG_ARGUMENT',
        'ERR_SEALOG_ARGUMENT',
        'ERR_SEALOG_ARGUMENT',
        'ERR_SEALOG_RECORD_TOO_LARGE',
        1,
        2,
        'ERR_SEALOG_RECORD_TOO_LARGE',
      ])
      const records = await readAll(log)
      expect(records.map(({ batch, tombstone }) => [batch, tombstone])).toEqual([
        [0, false],
        [1, false],
        [2, true],
      ])
    }))

  it('a batch of nothing, and one of bad items only', () =>
    withLog({}, async (log) => {
      const writer = log.batchWriter()
      expect(await writer.writeBatch([])).toEqual([])
      expect((await writer.writeBatch([{ value: 1 }] as unknown as RecordInput<Uint8Array>[])).map(codeOfResult)).toEqual(['ERR_SEALOG_VALUE'])
      expect(await codeOf(() => writer.writeBatch(7 as unknown as []))).toBe('ERR_SEALOG_ARGUMENT')
      expect(writer.stats()).toMatchObject({ inFlight: 0, accepted: 0, rejected: 1 })
    }))

  it.each<Durability>(['fsync', 'flush', 'none'])('the order of calls is the order of offsets, whatever waits (%s)', (durability) =>
    withLog({ durability }, async (log) => {
      const writer = log.batchWriter({ maxInFlight: 2, maxBytes: 200 })
      let n = 0
      const calls: Promise<unknown>[] = []
      for (let round = 0; round < 30; round++) {
        calls.push(writer.writeOne(keyed('key', n++)))
        calls.push(writer.writeBatch(range(n, n + 7).map((m) => keyed('key', m))))
        n += 7
      }
      const items = async function* () {
        for (const m of range(n, n + 50)) yield keyed('key', m)
      }
      calls.push(writer.flush().then(() => writer.writeAll(items())))
      await Promise.all(calls)
      await writer.flush()
      expect((await readAll(log)).map(({ value }) => Number(text(value)))).toEqual(range(0, n + 50))
    }),
  )

  it.each([
    ['an iterable', 'flush', false],
    ['an async iterable', 'flush', true],
    ['an iterable in mode none', 'none', false],
  ] as const)(
    'T26: a million items from %s: no more than maxBytes is taken from it ahead of what is written, and what is queued stays bounded',
    (_, durability, asynchronous) =>
      withLog({ durability, segmentBytes: 16 * 1024 * 1024, cache: false }, async (log) => {
        const COUNT = backend === 'native' ? 1_000_000 : 200_000
        const writer = log.batchWriter({ maxBytes: 1024 * 1024 })
        const value = new Uint8Array(16)
        let ahead = 0
        let queued = 0
        const note = (taken: number) => {
          if (taken % 1000 !== 0) return
          ahead = Math.max(ahead, durability === 'none' ? 0 : taken - log.committedOffset)
          queued = Math.max(queued, writer.stats().bytesInFlight, log.stats().queuedBytes)
        }
        function* items() {
          for (let i = 0; i < COUNT; i++) {
            note(i)
            yield { value }
          }
        }
        async function* later() {
          yield* items()
        }
        expect(await writer.writeAll(asynchronous ? later() : items())).toEqual({ written: COUNT, unchanged: 0, rejected: 0, firstRejected: undefined })
        expect(log.endOffset).toBe(COUNT)
        // A frame of 40 bytes each.
        expect(ahead).toBeLessThanOrEqual((1024 * 1024) / 40 + 1)
        expect(queued).toBeLessThan(17 * 1024 * 1024)
      }),
  )

  it('writeAll goes on after bad items, counts them and tells of them', () =>
    withLog({ maxRecordBytes: 100 }, async (log) => {
      const refused: [number, string][] = []
      const items = range(0, 3000).map((n) => (n % 1000 === 999 ? record(101) : keyed('k', n)))
      const result = await log.batchWriter().writeAll(items, {
        onRejected: (reason, item, index) => refused.push([index, `${(reason as LogError).code} ${(item as { value: Uint8Array }).value.length}`]),
      })
      expect(result).toMatchObject({ written: 2997, unchanged: 0, rejected: 3, firstRejected: { index: 999, reason: { code: 'ERR_SEALOG_RECORD_TOO_LARGE' } } })
      expect(refused).toEqual([999, 1999, 2999].map((n) => [n, 'ERR_SEALOG_RECORD_TOO_LARGE 101']))
      expect(log.committedOffset).toBe(2997)
    }))

  it('writeAll rejects with what its source or onRejected throws; what came before it is written', () =>
    withLog({}, async (log) => {
      const writer = log.batchWriter()
      const failing = function* () {
        yield keyed('a', 0)
        throw new Error('the source')
      }
      await expect(writer.writeAll(failing())).rejects.toThrow('the source')
      expect(log.committedOffset).toBe(1)
      let closed = false
      const items = (function* () {
        try {
          yield keyed('a', 1)
          yield null as unknown as RecordInput<Uint8Array>
          yield keyed('a', 2)
        } finally {
          closed = true
        }
      })()
      const onRejected = () => {
        throw new Error('enough')
      }
      await expect(writer.writeAll(items, { onRejected })).rejects.toThrow('enough')
      expect([log.committedOffset, closed]).toEqual([2, true])
      expect(await codeOf(() => writer.writeAll(5 as unknown as []))).toBe('ERR_SEALOG_ARGUMENT')
      expect(writer.stats()).toMatchObject({ bytesInFlight: 0, waiting: 0 })
    }))

  it('a source that waits does not hold the room that others need', () =>
    withLog({}, async (log) => {
      const writer = log.batchWriter({ maxInFlight: 1, maxBytes: 1 })
      let go = () => {}
      const slow = async function* () {
        yield keyed('slow', 0)
        await new Promise<void>((resolve) => {
          go = resolve
        })
        yield keyed('slow', 1)
      }
      const all = writer.writeAll(slow())
      await until(() => log.endOffset === 1, 'the first item')
      expect(await Promise.all(range(1, 5).map((n) => writer.writeOne(keyed('fast', n))))).toEqual(range(1, 5))
      go()
      expect(await all).toMatchObject({ written: 2 })
    }))

  it.each<Durability>(['fsync', 'flush'])('T5: a write that fails in mode %s rejects what it held and all that follows, and nothing hangs', (durability) =>
    withLog({ durability }, async (log) => {
      const writer = log.batchWriter({ maxInFlight: 3, maxBytes: 5 * FRAME_BYTES })
      await writer.writeBatch(range(0, 3).map(() => record()))
      testing.fault('write', 1, EIO, true, 0)
      const one = writer.writeOne(record())
      const batch = writer.writeBatch(range(0, 20).map(() => record()))
      const all = writer.writeAll(range(0, 5000).map(() => record()))
      expect(await codeOf(() => one)).toBe('ERR_SEALOG_FAILED')
      expect(new Set((await batch).map(codeOfResult))).toEqual(new Set(['ERR_SEALOG_FAILED']))
      expect(await codeOf(() => all)).toBe('ERR_SEALOG_FAILED')
      expect(await codeOf(() => writer.flush())).toBe('ERR_SEALOG_FAILED')
      expect(writer.stats()).toMatchObject({ inFlight: 0, bytesInFlight: 0, waiting: 0 })
      testing.clearFaults()
      await log.reopen()
      expect(await writer.writeOne(record())).toBe(3)
    }),
  )

  // Only reserved space can be refused without the log failing.
  if (backend === 'native') {
    it('G7: a full disk refuses the items that it has no room for, tells which those are, and the writer goes on when there is space', () =>
      withLog({ segmentBytes: 16 * 1024, maxBatchBytes: 4096, durability: 'flush' }, async (log) => {
        const writer = log.batchWriter()
        testing.fault('allocate', 1, ENOSPC, true, 0)
        const results = await writer.writeBatch(range(0, 40).map(() => record()))
        const codes = results.map(codeOfResult)
        const written = codes.indexOf('ERR_SEALOG_NO_SPACE')
        expect(written).toBeLessThan(40)
        expect(codes).toEqual([...range(0, written).map(() => 'fulfilled'), ...range(written, 40).map(() => 'ERR_SEALOG_NO_SPACE')])
        expect(log.committedOffset).toBe(written)
        testing.clearFaults()
        expect(await writer.writeOne(record())).toBe(written)
      }))
  }

  it('flush waits for what was given before it, close takes nothing more, and the log stays open', () =>
    withLog({ durability: 'none' }, async (log) => {
      const writer = log.batchWriter({ maxBytes: 1000 })
      const writes = range(0, 30).map((n) => writer.writeOne({ value: bytes(String(n)) }))
      await writer.flush()
      expect(log.stats().queuedBytes).toBe(0)
      await Promise.all(writes)
      const last = writer.writeOne(record())
      const closing = writer.close()
      expect(writer.close()).toBe(closing)
      for (const call of [() => writer.writeOne(record()), () => writer.writeBatch([]), () => writer.writeAll([record()])])
        expect(await codeOf(call)).toBe('ERR_SEALOG_CLOSED')
      await closing
      expect([await last, log.committedOffset]).toEqual([30, 31])
      expect(await log.append(bytes('open'))).toBe(31)
    }))

  it('closing the log rejects what still waits for room', () =>
    withLog({}, async (log) => {
      const writer = log.batchWriter({ maxInFlight: 1 })
      const writes = [writer.writeOne(record()), writer.writeOne(record())]
      const second = codeOf(() => writes[1])
      const batch = writer.writeBatch([record()])
      await log.close()
      expect(await writes[0]).toBe(0)
      expect(await second).toBe('ERR_SEALOG_CLOSED')
      expect((await batch).map(codeOfResult)).toEqual(['ERR_SEALOG_CLOSED'])
      expect(await codeOf(() => writer.close())).toBe('ERR_SEALOG_CLOSED')
    }))

  it('an item whose encoding writes again', async () => {
    const log = await Log.open<unknown>(freshPath(), { backend, codec: 'json' })
    try {
      const writer = log.batchWriter()
      const inner: Promise<number>[] = []
      const results = await writer.writeBatch([
        { value: 0 },
        {
          value: {
            toJSON: () => {
              inner.push(writer.writeOne({ value: 'inner' }))
              return 'outer'
            },
          },
        },
        { value: 2 },
      ])
      expect(results.map((result) => (result.status === 'fulfilled' ? result.value : undefined))).toEqual([0, 1, 2])
      expect(await Promise.all(inner)).toEqual([3])
    } finally {
      await log.close()
    }
  })

  it('refuses options that it does not have', () =>
    withLog({}, async (log) => {
      for (const options of [{ maxInFlight: 0 }, { maxBytes: 1.5 }, { batchSize: 3 }])
        expect(await codeOf(() => log.batchWriter(options))).toBe('ERR_SEALOG_OPTION')
    }))
})
