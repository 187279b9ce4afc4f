import { describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, errorOf, range, readAll, text } from '../support/logs.js'

async function withJson(backend: 'native' | 'js', use: (log: Log<unknown>) => Promise<void>): Promise<void> {
  const log = await Log.open(freshPath(), { backend, codec: 'json' })
  try {
    await use(log)
  } finally {
    await log.close()
  }
}

describe.each(backends)('codec json (%s)', (backend) => {
  const values = [null, true, 0, -1.5, '', 'text', 'é漢🎉', '\ud800', [], [1, [2]], {}, { a: { b: [null] } }, 'x'.repeat(100_000), '漢'.repeat(200_000)]

  it('gives back what JSON gives back, by every way of appending and reading', async () => {
    await withJson(backend, async (log) => {
      const expected = values.map((value) => JSON.parse(JSON.stringify(value)))
      for (const value of values) log.enqueue(value)
      await log.appendBatch(values)
      await log.appendRecords(values.map((value) => ({ value, key: 'k' })))
      const all = [...expected, ...expected, ...expected]
      const records = await readAll(log)
      expect(records.map((record) => record.value)).toEqual(all)
      expect(range(0, all.length).map((offset) => log.getSync(offset)?.value)).toEqual(all)
      expect((await log.get(5))?.value).toEqual(all[5])
      for await (const batch of log.batches()) for (let i = 0; i < batch.length; i++) expect(JSON.parse(text(batch.bytes(i)))).toEqual(all[batch.offset(i)])
    })
  })

  it('stores ready JSON text on one line, and leaves the bytes it was given alone', async () => {
    await withJson(backend, async (log) => {
      const given = bytes('{\r\n  "a": "b\\n",\n  "c": [1,\n2]}\n')
      const before = given.slice()
      await log.append(given)
      await log.appendBatch([given])
      expect(given).toEqual(before)
      for await (const batch of log.batches()) for (let i = 0; i < batch.length; i++) expect(text(batch.bytes(i))).toBe('{    "a": "b\\n",   "c": [1, 2]} ')
      expect(log.getSync(0)?.value).toEqual({ a: 'b\n', c: [1, 2] })
    })
  })

  it('takes a Uint8Array as ready JSON text and stores exactly its bytes; strings go through JSON.stringify', async () => {
    await withJson(backend, async (log) => {
      await log.append(bytes(' {"a" : 1} '))
      await log.append('{"a":1}')
      const stored: string[] = []
      for await (const batch of log.batches()) for (let i = 0; i < batch.length; i++) stored.push(text(batch.bytes(i)))
      expect(stored).toEqual([' {"a" : 1} ', '"{\\"a\\":1}"'])
      expect((await readAll(log)).map((record) => record.value)).toEqual([{ a: 1 }, '{"a":1}'])
    })
  })

  it.each([
    ['no JSON', bytes('{"a":')],
    ['two values', bytes('1 2')],
    ['nothing', new Uint8Array(0)],
    ['bytes that are not UTF-8', Uint8Array.of(34, 0xff, 34)],
    ['a byte order mark', Uint8Array.of(0xef, 0xbb, 0xbf, 49)],
  ])('refuses ready text that is %s', async (_what, value) => {
    await withJson(backend, async (log) => {
      expect(await errorOf(() => log.append(value))).toMatchObject({ code: 'ERR_SEALOG_VALUE', field: 'value' })
      expect(await codeOf(() => log.appendBatch([1, value]))).toBe('ERR_SEALOG_VALUE')
      expect(log.endOffset).toBe(0)
    })
  })

  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a BigInt', 1n],
    ['a BigInt inside', { a: [1n] }],
  ])('refuses %s', async (_what, value) => {
    await withJson(backend, async (log) => {
      expect(await errorOf(() => log.append(value))).toMatchObject({ code: 'ERR_SEALOG_VALUE', field: 'value' })
      expect(await codeOf(() => log.enqueue(value, { key: 'k' }))).toBe('ERR_SEALOG_VALUE')
      expect(log.endOffset).toBe(0)
    })
  })

  it('refuses cycles and a throwing toJSON, with the original error as cause', async () => {
    await withJson(backend, async (log) => {
      const cycle: { self?: unknown } = {}
      cycle.self = cycle
      expect((await errorOf(() => log.append(cycle))).cause).toBeInstanceOf(TypeError)
      const thrown = new Error('from toJSON')
      const value = {
        toJSON() {
          throw thrown
        },
      }
      expect(await errorOf(() => log.append(value))).toMatchObject({ code: 'ERR_SEALOG_VALUE', cause: thrown })
      expect(log.endOffset).toBe(0)
      await log.append({ still: 'works' })
    })
  })

  it('a toJSON that appends gets the offset before its own value', async () => {
    await withJson(backend, async (log) => {
      let inner: Promise<number> | undefined
      const value = {
        toJSON() {
          inner = log.append('inner')
          return 'outer'
        },
      }
      expect(await log.append(value)).toBe(1)
      expect(await inner).toBe(0)
      const batch = await log.appendBatch([{ toJSON: () => log.enqueue('second inner') }, 'x'])
      expect(batch).toEqual({ first: 3, last: 4 })
      expect((await readAll(log)).map((record) => record.value)).toEqual(['inner', 'outer', 'second inner', 2, 'x'])
      expect((await readAll(log)).map((record) => record.batch)).toEqual([0, 1, 2, 3, 3])
    })
  })

  it('expectedOffset is judged after toJSON has run', async () => {
    await withJson(backend, async (log) => {
      const value = { toJSON: () => log.enqueue('first') }
      expect(await codeOf(() => log.append(value, { expectedOffset: 0 }))).toBe('ERR_SEALOG_CONFLICT')
      await log.committed()
      expect((await readAll(log)).map((record) => record.value)).toEqual(['first'])
    })
  })

  it('a toJSON that closes the log leaves its value unwritten', async () => {
    const directory = freshPath()
    const log = await Log.open(directory, { backend, codec: 'json' })
    expect(await codeOf(() => log.append({ toJSON: () => log.closeSync() ?? 1 }))).toBe('ERR_SEALOG_CLOSED')
    const again = await Log.open(directory, { backend })
    expect(again.endOffset).toBe(0)
    await again.close()
  })

  it('measures a record in bytes of UTF-8, not in characters', async () => {
    const log = await Log.open(freshPath(), { backend, codec: 'json', maxRecordBytes: 20 })
    expect(await log.append('漢'.repeat(6))).toBe(0)
    expect(await errorOf(() => log.append('漢'.repeat(7)))).toMatchObject({ code: 'ERR_SEALOG_RECORD_TOO_LARGE', value: 23 })
    expect(await log.append('x')).toBe(1)
    expect((await readAll(log)).map((record) => record.value)).toEqual(['漢'.repeat(6), 'x'])
    await log.close()
  })

  it('a tombstone has the value null', async () => {
    await withJson(backend, async (log) => {
      await log.appendRecords([{ key: 'k', tombstone: true }])
      expect(log.getSync(0)).toMatchObject({ tombstone: true, value: null })
      expect((await readAll(log))[0]).toMatchObject({ tombstone: true, value: null })
    })
  })

  it('the codec belongs to the log: another one is refused, none given is adopted', async () => {
    const directory = freshPath()
    const log = await Log.open<{ n: number }>(directory, { backend, codec: 'json' })
    await log.append({ n: 1 })
    await log.close()
    expect(await errorOf(() => Log.open(directory, { backend, codec: 'bytes' }))).toMatchObject({
      code: 'ERR_SEALOG_CODEC_MISMATCH',
      field: 'codec',
      value: 'bytes',
    })
    const adopted = await Log.open<{ n: number }>(directory, { backend })
    expect(adopted.codec).toBe('json')
    expect(adopted.getSync(0)?.value).toEqual({ n: 1 })
    await adopted.close()
    const reader = await Log.openReader<{ n: number }>(directory, { backend })
    expect(reader.getSync(0)?.value).toEqual({ n: 1 })
    await reader.close()
  })
})
