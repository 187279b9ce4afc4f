import { describe, expect, it } from 'vitest'
import { Log, type RecordBatch } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, errorOf, offsets, range, readAll, text, withLog } from '../support/logs.js'

async function filled(backend: 'native' | 'js', count: number, options = {}): Promise<Log> {
  const log = await Log.open(freshPath(), { backend, durability: 'flush', ...options })
  for (let i = 0; i < count; i++) log.enqueue(bytes(`record ${i}`))
  await log.sync()
  return log
}

describe.each(backends)('reading (%s)', (backend) => {
  it('T45: from is inclusive, to exclusive, at every boundary', async () => {
    const log = await filled(backend, 9, { segmentBytes: 1024, maxBatchBytes: 512 })
    try {
      for (let from = 0; from <= 9; from++) {
        for (let to = 0; to <= 11; to++) {
          const expected = range(from, Math.min(to, 9))
          expect(await offsets(log, { from, to })).toEqual(expected)
          const batched: number[] = []
          for await (const batch of log.batches({ from, to, maxBytes: 1 + ((from * 12 + to) % 300) })) {
            for (let i = 0; i < batch.length; i++) batched.push(batch.offset(i))
          }
          expect(batched).toEqual(expected)
        }
      }
      expect(await offsets(log)).toEqual(range(0, 9))
    } finally {
      await log.close()
    }
  })

  it('limit bounds the number of records, 0 included', async () => {
    const log = await filled(backend, 10)
    for (const limit of [0, 1, 9, 10, 11]) expect(await offsets(log, { limit })).toEqual(range(0, Math.min(limit, 10)))
    expect(await offsets(log, { from: 8, limit: 5 })).toEqual([8, 9])
    await log.close()
  })

  it('get and getSync answer undefined at and past the end, an error below the start', async () => {
    const log = await filled(backend, 3)
    expect(log.getSync(3)).toBeUndefined()
    expect(await log.get(3)).toBeUndefined()
    expect(log.getSync(Number.MAX_SAFE_INTEGER)).toBeUndefined()
    expect(await log.get(2 ** 52)).toBeUndefined()
    await log.truncateBefore(2)
    for (const read of [() => log.getSync(1), () => log.get(1), () => readAll(log, { from: 1 })]) {
      expect(await errorOf(read)).toMatchObject({ code: 'ERR_SEALOG_OFFSET_TRUNCATED', offset: 1, startOffset: 2 })
    }
    expect(await offsets(log)).toEqual([2])
    await log.close()
  })

  it('a read that begins past the end is refused, at the end it is empty', async () => {
    const log = await filled(backend, 3)
    expect(await offsets(log, { from: 3 })).toEqual([])
    expect(await errorOf(() => log.read({ from: 4 }))).toMatchObject({ code: 'ERR_SEALOG_OFFSET_RANGE', offset: 4, endOffset: 3 })
    await log.close()
  })

  it.each(['flush', 'none'] as const)('T15: a record is read right after it was accepted in mode %s', async (durability) => {
    await withLog(freshPath(), { backend, durability }, async (log) => {
      for (let i = 0; i < 5; i++) {
        const offset = log.enqueue(bytes(`own ${i}`))
        expect(text(log.getSync(offset)?.value ?? bytes(''))).toBe(`own ${i}`)
      }
      const offset = log.enqueue(bytes('async'))
      expect(text((await log.get(offset))?.value ?? bytes(''))).toBe('async')
      log.enqueue(bytes('read'))
      expect((await readAll(log, { from: 6 })).map((record) => text(record.value))).toEqual(['read'])
    })
  })

  it('in mode fsync nothing is read before it is durable', async () => {
    await withLog(freshPath(), { backend }, async (log) => {
      const offset = log.enqueue(bytes('a'))
      expect(log.committedOffset).toBe(0)
      expect(log.getSync(offset)).toBeUndefined()
      await log.committed(offset)
      expect(log.getSync(offset)).toBeDefined()
    })
  })

  it('T22: what a caller does to a returned buffer is never seen again', async () => {
    const log = await filled(backend, 20)
    log.enqueue(bytes('v'), { key: 'key' })
    await log.flush()
    const spoil = async () => {
      for (const record of await readAll(log)) {
        record.value.fill(0)
        record.key?.fill(0)
      }
      for await (const batch of log.batches()) for (let i = 0; i < batch.length; i++) batch.bytes(i).fill(0)
      for (let i = 0; i <= 20; i++) {
        log.getSync(i)?.value.fill(0)
        ;(await log.get(i))?.value.fill(0)
        log.getSync(i)?.key?.fill(0)
      }
    }
    await spoil()
    await spoil()
    const expected = [...range(0, 20).map((i) => `record ${i}`), 'v']
    expect((await readAll(log)).map((record) => text(record.value))).toEqual(expected)
    expect(range(0, 21).map((i) => text(log.getSync(i)?.value ?? bytes('')))).toEqual(expected)
    expect(text(log.getSync(20)?.key ?? bytes(''))).toBe('key')
    await log.close()
  })

  it('T22: records that were handed out stay what they were, whatever is read and written afterwards', async () => {
    const log = await filled(backend, 40)
    const kept = [...range(0, 20).map((i) => log.getSync(i)), ...(await Promise.all(range(20, 40).map((i) => log.get(i))))]
    const iterated = await readAll(log)
    for (let i = 0; i < 300; i++) log.enqueue(bytes(`later ${i}`), { key: 'later' })
    await log.flush()
    for (let i = 0; i < 340; i++) log.getSync(i)
    await readAll(log)
    const expected = range(0, 40).map((i) => `record ${i}`)
    expect(kept.map((record) => text(record?.value ?? bytes('')))).toEqual(expected)
    expect(iterated.map((record) => text(record.value))).toEqual(expected)
    await log.close()
  })

  it('views of a batch stay what they were while the log goes on, rolls and closes', async () => {
    const log = await filled(backend, 50, { segmentBytes: 4096 })
    const kept: RecordBatch<Uint8Array>[] = []
    for await (const batch of log.batches({ maxBytes: 512 })) kept.push(batch)
    for (let i = 0; i < 500; i++) log.enqueue(bytes(`later ${i}`))
    await log.sync()
    for (let i = 0; i < 50; i++) log.getSync(i)
    await log.close()
    const seen = kept.flatMap((batch) => range(0, batch.length).map((i) => text(batch.bytes(i))))
    expect(seen).toEqual(range(0, 50).map((i) => `record ${i}`))
    expect(() => kept[0].value(kept[0].length)).toThrow(RangeError)
  })

  it('G3: blocks never end inside a batch of the writer, however small they are asked for', async () => {
    await withLog(freshPath(), { backend, durability: 'flush' }, async (log) => {
      for (let n = 1; n <= 12; n++) void log.appendBatch(range(0, n).map((i) => bytes(`${n}/${i} ${'x'.repeat(i * 17)}`)))
      await log.flush()
      for (const maxBytes of [1, 64, 100, 256, 1000, 5000, 100_000]) {
        let next = 0
        for await (const batch of log.batches({ maxBytes })) {
          expect(batch.batch(0)).toBe(next)
          next = batch.nextOffset
          expect(batch.offset(batch.length - 1)).toBe(next - 1)
          if (next < log.endOffset) expect(log.getSync(next)?.batch).toBe(next)
        }
        expect(next).toBe(log.endOffset)
      }
    })
  })

  it('T57: a slow iterator never blocks the writer and sees what it would have seen', async () => {
    const log = await filled(backend, 100, { segmentBytes: 4096 })
    const slow = log.read({ to: 100 })
    const seen: number[] = []
    for (let i = 0; i < 100; i++) {
      const step = await slow.next()
      if (step.done !== true) seen.push(step.value.offset)
      await log.append(bytes(`beside ${i}`))
    }
    expect((await slow.next()).done).toBe(true)
    expect(seen).toEqual(range(0, 100))
    expect(log.endOffset).toBe(200)
    await log.close()
  })

  it('many iterators read at once, each its own range', async () => {
    const log = await filled(backend, 1000, { segmentBytes: 16_384 })
    const results = await Promise.all(range(0, 40).map((i) => offsets(log, { from: i * 20, to: i * 25 + 30, maxBytes: 100 + i })))
    results.forEach((seen, i) => expect(seen).toEqual(range(i * 20, Math.min(1000, i * 25 + 30))))
    await log.close()
  })

  it('next() called many times before any settles yields the records in order', async () => {
    const log = await filled(backend, 30)
    const iterator = log.read()
    const steps = await Promise.all(range(0, 32).map(() => iterator.next()))
    expect(steps.map((step) => (step.done === true ? undefined : step.value.offset))).toEqual([...range(0, 30), undefined, undefined])
    await log.close()
  })

  it('index.lookup names position and segment of an entry at or below the offset', async () => {
    const log = await filled(backend, 400, { segmentBytes: 8192, indexIntervalBytes: 256 })
    await readAll(log)
    const out = new Float64Array(1)
    let previous = -1
    for (let offset = 0; offset < 400; offset++) {
      const position = log.index.lookup(offset, out)
      expect(position).toBeGreaterThanOrEqual(128)
      expect(out[0]).toBeLessThanOrEqual(offset)
      const place = out[0] * 1e6 + position
      expect(place).toBeGreaterThanOrEqual(previous)
      previous = place
    }
    expect(log.index.lookup(400)).toBe(-1)
    expect(log.index.lookup(-1)).toBe(-1)
    expect(log.index.lookup(Number.NaN)).toBe(-1)
    await log.close()
  })

  it('reading an iterator of a log that closes meanwhile ends it', async () => {
    const log = await filled(backend, 5)
    const iterator = log.read()
    await iterator.next()
    await log.close()
    let step = await iterator.next()
    for (let i = 0; i < 5 && step.done !== true; i++) step = await iterator.next()
    expect(step.done).toBe(true)
    expect(await codeOf(() => log.read())).toBe('ERR_SEALOG_CLOSED')
  })
})
