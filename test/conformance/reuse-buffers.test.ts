/** Iteration over two buffers that take turns: the same records as with buffers of their own, as long as a batch is used before the next is asked for. */
import { describe, expect, it } from 'vitest'
import { Log, type LogOptions, type RecordBatch } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { range, readAll } from '../support/logs.js'
import { Random } from '../support/random.js'

const OPTIONS = { durability: 'flush', cache: false, segmentBytes: 256 * 1024 } as const satisfies LogOptions

function content(i: number): Buffer {
  const random = new Random(i)
  return Buffer.alloc(random.below(10) === 0 ? random.below(20_000) : random.below(200), `${i} `)
}

/** What a batch says of its records, copied. */
function listed(batch: RecordBatch<Uint8Array>): unknown[] {
  return range(0, batch.length).map((i) => {
    const { offset, key, tombstone, batch: first, value } = batch.record(i)
    expect(Buffer.compare(batch.value(i), value as Uint8Array)).toBe(0)
    expect(Buffer.compare(batch.buffer.subarray(batch.start(i), batch.end(i)), value as Uint8Array)).toBe(0)
    return { offset, key: key?.toString(), tombstone, first, value: Buffer.from(value as Uint8Array).toString('latin1') }
  })
}

async function fill(log: Log): Promise<void> {
  let i = 0
  for (let batch = 0; batch < 400; batch++) {
    const count = batch === 200 ? 3000 : 1 + (batch % 9)
    const records = range(i, i + count).map((n) => (n % 11 === 5 ? { key: `key ${n}`, value: content(n) } : { value: content(n) }))
    i += count
    const done = log.appendRecords(batch === 200 ? records.map(({ value }) => ({ value: value.subarray(0, 40) })) : records)
    if (batch % 20 === 0) await done
  }
  await log.committed()
}

describe.each(backends)('batches with reuseBuffers (%s)', (backend) => {
  it.each([64, 4096, 100_000, undefined])('maxBytes %s: the same records', async (maxBytes) => {
    await using log = await Log.open(freshPath(), { ...OPTIONS, backend })
    await fill(log)
    const expected: unknown[] = []
    for await (const batch of log.batches({ maxBytes })) expected.push(...listed(batch))
    const found: unknown[] = []
    const memories = new Set<ArrayBufferLike>()
    let batches = 0
    for await (const batch of log.batches({ maxBytes, reuseBuffers: true })) {
      found.push(...listed(batch))
      memories.add(batch.buffer.buffer)
      batches++
      // A read ahead may be under way by now; it must not touch this batch.
      await new Promise((resolve) => setImmediate(resolve))
      expect(listed(batch)).toEqual(found.slice(-batch.length))
    }
    expect(found).toEqual(expected)
    expect(found.length).toBe(log.endOffset)
    // Two, and again two whenever a larger block is needed.
    if (batches > 40) expect(memories.size).toBeLessThan(batches / 2)
  })

  it('from the tail cache too', async () => {
    await using log = await Log.open(freshPath(), { ...OPTIONS, backend, cache: { records: 5000 } })
    const shown = range(0, 4000)
    for (let i = 0; i < shown.length; i += 50) await log.appendBatch(shown.slice(i, i + 50).map((n) => content(n).subarray(0, 100)))
    expect(log.stats().tailCache?.size).toBeGreaterThan(3000)
    let offset = 0
    for await (const batch of log.batches({ maxBytes: 4096, reuseBuffers: true })) {
      for (let i = 0; i < batch.length; i++) {
        expect(batch.offset(i)).toBe(offset)
        expect(Buffer.compare(batch.value(i), content(offset++).subarray(0, 100))).toBe(0)
      }
    }
    expect(offset).toBe(4000)
  })

  it('records of read() have bytes of their own', async () => {
    await using log = await Log.open(freshPath(), { ...OPTIONS, backend })
    await fill(log)
    const kept = await readAll(log)
    const seen: unknown[] = []
    for await (const batch of log.batches()) for (let i = 0; i < batch.length; i++) seen.push([batch.offset(i), Buffer.from(batch.value(i)).toString('latin1')])
    expect(kept.map(({ offset, value }) => [offset, Buffer.from(value as Uint8Array).toString('latin1')])).toEqual(seen)
  })
})
