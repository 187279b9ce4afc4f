import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Shape, ShapeStream, type ShapeStreamOptions } from '@electric-sql/client'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createShapeHandler, type ShapeHandler, type ShapeOptions } from '../../lib/http/shape.js'
import { recordToMessage, type ShapeChange } from '../../lib/http/shape-message.js'
import { Log, type LogOptions, type LogView } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { range, until } from '../support/logs.js'

type Json = { [column: string]: unknown }
type Rows = Map<string, Json>

const undo: Array<() => unknown> = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

async function openLog(backend: LogOptions['backend'], options: LogOptions = {}): Promise<Log<Json | number | null>> {
  const log = await Log.open<Json | number | null>(freshPath(), { backend, ...options, codec: 'json' })
  undo.push(() => log.close())
  return log
}

async function listen(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function serve<T>(view: LogView<T>, options: ShapeOptions<T> = {}): Promise<{ url: string; handler: ShapeHandler }> {
  const handler = createShapeHandler(view, { longPollTimeoutMs: 20_000, ...options })
  return { url: `${await listen(handler)}/items`, handler }
}

/** A shape of the official client; a warning of the client, or an error, fails the test. */
function follow(url: string, options: Partial<ShapeStreamOptions> = {}): { shape: Shape; stream: ShapeStream } {
  const aborter = new AbortController()
  const warn = vi.spyOn(console, 'warn')
  const errors: unknown[] = []
  const stream = new ShapeStream({ ...options, url, signal: aborter.signal, onError: (error: Error) => void errors.push(error) } as ShapeStreamOptions)
  const shape = new Shape(stream)
  undo.push(() => {
    aborter.abort()
    const warnings = warn.mock.calls.map(([message]) => String(message)).filter((message) => !message.includes('HTTP (not HTTPS)'))
    warn.mockRestore()
    expect({ errors, warnings }).toEqual({ errors: [], warnings: [] })
  })
  return { shape, stream }
}

const inStep = (shape: Shape, rows: Rows) => until(() => isEqual(shape, rows), 'the shape is in step')

function isEqual(shape: Shape, rows: Rows): boolean {
  return JSON.stringify([...shape.currentValue].sort()) === JSON.stringify([...rows].sort())
}

const get = (url: string, query: Record<string, string | number>, init: RequestInit = {}) => {
  const parameters = Object.entries(query).map(([name, value]): [string, string] => [name, String(value)])
  return fetch(`${url}?${new URLSearchParams(parameters)}`, init)
}

/** All messages from `offset` to the end, and where every answer ended. */
async function catchUp(url: string, offset: string, handle?: string): Promise<{ messages: Json[]; ends: string[]; handle: string }> {
  const messages: Json[] = []
  const ends: string[] = []
  for (let at = offset, of = handle ?? ''; ; ) {
    const response = await get(url, of === '' ? { offset: at } : { offset: at, handle: of })
    expect(response.status).toBe(200)
    of = response.headers.get('electric-handle') as string
    at = response.headers.get('electric-offset') as string
    ends.push(at)
    const body = (await response.json()) as Json[]
    const isUpToDate = response.headers.has('electric-up-to-date')
    expect((body.at(-1)?.headers as Json | undefined)?.control === 'up-to-date').toBe(isUpToDate)
    messages.push(...(isUpToDate ? body.slice(0, -1) : body))
    if (isUpToDate) return { messages, ends, handle: of }
  }
}

describe.each(backends)('the shape of a log (%s)', (backend) => {
  describe('with the client of Electric', () => {
    it('is synced over many answers and kept in step with inserts, updates and deletes', async () => {
      const log = await openLog(backend, { segmentBytes: 16 * 1024 })
      const rows: Rows = new Map()
      const put = (key: string, value: Json) => {
        rows.set(key, value)
        return log.append(value, { key })
      }
      await Promise.all(range(0, 2500).map((i) => put(`key ${i % 700}`, { id: String(i), text: `wert ü ${i}` })))
      const { url } = await serve(log, { maxRecords: 300 })
      const { shape } = follow(url)
      expect(new Map(await shape.value)).toEqual(rows)
      await put('key 3', { id: 'new', more: 'column' })
      await put('another', { id: 'x', gone: 'later' })
      await inStep(shape, rows)
      await put('another', { id: 'y' })
      await log.appendRecords([{ key: 'key 5', tombstone: true }])
      rows.delete('key 5')
      await inStep(shape, rows)
      await Promise.all(range(0, 900).map((i) => put(`live ${i}`, { id: String(i) })))
      await inStep(shape, rows)
      expect(shape.isLoading()).toBe(false)
    })

    it('gives columns the types of the schema', async () => {
      const log = await openLog(backend)
      await log.append({ id: 7, ok: true, no: null, tags: ['a', { b: 1 }], name: 'ä' }, { key: 'k' })
      await log.append(12)
      const schema = { id: { type: 'int4' }, ok: { type: 'bool' }, tags: { type: 'jsonb' }, größe: { type: 'int4' } }
      const { shape } = follow((await serve(log, { schema })).url)
      expect(Object.fromEntries(await shape.value)).toEqual({ k: { id: 7, ok: true, no: null, tags: ['a', { b: 1 }], name: 'ä' }, 1: { value: '12' } })
    })

    it('takes records that are changes as they are, and what toMessage makes of others', async () => {
      const log = await openLog(backend)
      const change = (operation: string, key: string, value: Json): Json => ({ key, value, headers: { operation, txids: [1] } })
      await log.appendBatch([
        change('insert', 'a', { x: 1, y: 2 }),
        change('insert', 'b', { x: 1 }),
        change('update', 'a', { y: 3 }),
        change('delete', 'b', {}),
      ])
      const { shape } = follow((await serve(log)).url)
      expect(Object.fromEntries(await shape.value)).toEqual({ a: { x: '1', y: '3' } })

      const events = await openLog(backend)
      await events.appendBatch([{ add: ['p', 'q', 'r'] }, { remove: ['q'] }, { comment: 'nothing' }])
      const toMessage = ({ value }: { value: unknown }): ShapeChange[] | undefined => {
        const { add, remove } = value as { add?: string[]; remove?: string[] }
        if (add !== undefined) return add.map((key) => ({ key, value: { name: key }, headers: { operation: 'insert' } }))
        return remove?.map((key) => ({ key, value: {}, headers: { operation: 'delete' } }))
      }
      const second = follow((await serve(events, { toMessage })).url)
      expect(Object.fromEntries(await second.shape.value)).toEqual({ p: { name: 'p' }, r: { name: 'r' } })
    })

    it('begins anew when the log is cut, and ends in step', async () => {
      const log = await openLog(backend)
      for (const i of range(0, 40)) await log.append({ i: String(i) }, { key: `k${i}` })
      const { url } = await serve(log, { maxRecords: 15 })
      const { shape, stream } = follow(url)
      const rows: Rows = new Map(range(0, 40).map((i) => [`k${i}`, { i: String(i) }]))
      await shape.value
      expect(isEqual(shape, rows)).toBe(true)
      const handle = stream.shapeHandle
      await log.truncateAfter(9)
      await log.append({ i: 'other' }, { key: 'other' })
      await inStep(shape, new Map([...[...rows].slice(0, 10), ['other', { i: 'other' }]]))
      expect(stream.shapeHandle).not.toBe(handle)
      await log.append({ i: 'live' }, { key: 'live' })
      await until(() => shape.currentValue.has('live'), 'the shape follows again')
    })

    it('begins anew, without a warning, when it was away until its place was given up; a client that was not goes on', async () => {
      const log = await openLog(backend, { segmentBytes: 4096 })
      for (const i of range(0, 300)) await log.append({ i: String(i), padding: 'x'.repeat(80) }, { key: `k${i}` })
      const { url } = await serve(log, { maxRecords: 100 })
      const { handle } = await catchUp(url, '-1')
      const ahead = follow(url)
      await ahead.shape.value
      const start = await log.truncateBefore(200)
      expect(start).toBe(200)
      expect((await get(url, { offset: '100_0', handle })).status).toBe(409)
      // Of another page: within one, the client remembers for a URL which handle it was told to give up.
      const behind = follow(`${url}?page=2`, { handle, offset: '100_0' })
      await until(() => behind.shape.currentValue.size === 100, 'the shape has what is left')
      expect(behind.stream.shapeHandle).not.toBe(handle)
      await log.append({ i: 'new' }, { key: 'new' })
      await until(() => ahead.shape.currentValue.size === 301 && behind.shape.currentValue.size === 101, 'both follow')
      expect(ahead.stream.shapeHandle).toBe(handle)
    })

    it('is served from a reader beside the writer', async () => {
      const log = await openLog(backend)
      const reader = await Log.openReader<Json>(log.directory, { backend, pollIntervalMs: 20 })
      undo.push(() => reader.close())
      const { shape } = follow((await serve(reader)).url)
      expect((await shape.value).size).toBe(0)
      await log.append({ a: '1' }, { key: 'k' })
      await inStep(shape, new Map([['k', { a: '1' }]]))
    })
  })

  it('answers for an offset always end at the same place, between batches, and lead everywhere to the same messages', async () => {
    const log = await openLog(backend)
    const batches: number[] = []
    for (let size = 1; log.endOffset < 400; size = (size * 7) % 23) {
      batches.push(log.endOffset)
      await log.appendBatch(range(0, size).map((i) => ({ n: log.endOffset + i, text: 'é'.repeat(i) })))
    }
    const { url } = await serve(log, { maxRecords: 50, maxLength: 3000 })
    const whole = await catchUp(url, '-1')
    expect(whole.messages.map(({ key }) => key)).toEqual(range(0, log.endOffset).map(String))
    const ends = new Map(whole.ends.map((end, i) => [i === 0 ? '0_0' : whole.ends[i - 1], end]))
    batches.push(log.endOffset)
    await log.append({ n: 'more' })
    for (const [start, end] of [...ends].slice(0, -1)) {
      const response = await get(url, { offset: start, handle: whole.handle })
      expect(response.headers.get('electric-offset')).toBe(end)
    }
    for (const from of batches.filter((_, i) => i % 5 === 0)) {
      const rest = await catchUp(url, `${from}_0`, whole.handle)
      expect(rest.messages.map(({ key }) => Number(key))).toEqual(range(from, log.endOffset))
      expect(rest.ends.slice(0, -1).every((end) => batches.includes(Number.parseInt(end, 10)))).toBe(true)
    }
  })

  it('only what is durable is served', async () => {
    const log = await openLog(backend, { durability: 'flush', syncIntervalMs: 3_600_000 })
    await log.append({ n: '0' })
    await log.sync()
    await log.append({ n: '1' })
    const { url } = await serve(log)
    const { messages, handle } = await catchUp(url, '-1')
    expect(messages.map(({ key }) => key)).toEqual(['0'])
    const live = get(url, { offset: '1_0', handle, live: 'true' })
    await log.append({ n: '2' })
    await log.sync()
    const response = await live
    expect(((await response.json()) as Json[]).map(({ key }) => key)).toEqual(['1', '2', undefined])
    expect(response.headers.get('electric-offset')).toBe('3_0')
  })

  it('has the headers of the protocol', async () => {
    const log = await openLog(backend)
    const { url } = await serve(log, { maxRecords: 10, schema: { a: { type: 'text' } }, longPollTimeoutMs: 30 })
    const empty = await get(url, { offset: '-1' })
    expect([empty.status, await empty.json(), empty.headers.get('electric-offset')]).toEqual([200, [], '0_0'])
    await log.appendBatch(range(0, 10).map(() => ({})))
    await log.appendBatch(range(0, 5).map(() => ({})))

    const first = await get(url, { offset: '-1' })
    const headers = Object.fromEntries(first.headers)
    const handle = headers['electric-handle']
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'electric-offset': '10_0',
      'electric-schema': '{"a":{"type":"text"}}',
      'electric-has-data': 'true',
      'cache-control': 'public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746',
      etag: `"${handle}:-1:10_0"`,
      'access-control-allow-origin': '*',
      'x-content-type-options': 'nosniff',
    })
    expect(headers['access-control-expose-headers']).toContain('electric-handle')
    expect(Object.keys(headers)).not.toContain('electric-up-to-date')

    const last = await get(url, { offset: '10_0', handle })
    expect(last.headers.get('electric-up-to-date')).toBe('')
    expect(last.headers.get('cache-control')).toBe('public, max-age=60, stale-while-revalidate=300')
    expect(((await last.json()) as Json[]).at(-1)).toEqual({ headers: { control: 'up-to-date', global_last_seen_lsn: '15' } })
    const etag = last.headers.get('etag') as string
    const unchanged = await get(url, { offset: '10_0', handle }, { headers: { 'if-none-match': `"x", W/${etag}` } })
    expect([unchanged.status, await unchanged.text()]).toEqual([304, ''])

    const live = await get(url, { offset: '15_0', handle, live: 'true', cursor: 4_000_000_000 })
    expect(await live.json()).toEqual([{ headers: { control: 'up-to-date', global_last_seen_lsn: '15' } }])
    expect(Number(live.headers.get('electric-cursor'))).toBeGreaterThan(4_000_000_000)
    expect([live.headers.get('cache-control'), live.headers.get('electric-schema')]).toEqual(['public, max-age=5, stale-while-revalidate=5', null])

    const now = await get(url, { offset: 'now' })
    expect([await now.json(), now.headers.get('electric-offset'), now.headers.get('cache-control')]).toEqual([
      [{ headers: { control: 'up-to-date', global_last_seen_lsn: '15' } }],
      '15_0',
      'no-store',
    ])
    const head = await get(url, { offset: '-1' }, { method: 'HEAD' })
    expect([head.status, head.headers.get('electric-offset'), await head.text()]).toEqual([200, '10_0', ''])
    const preflight = await get(url, {}, { method: 'OPTIONS' })
    expect([preflight.status, preflight.headers.get('access-control-allow-methods')]).toEqual([204, 'GET, HEAD, OPTIONS'])
  })

  it('bad requests get a status and a JSON error', async () => {
    const log = await openLog(backend)
    for (const i of range(0, 5)) await log.append({ i })
    const handler = createShapeHandler((name) => (name === 'a/items' ? log : undefined), { longPollTimeoutMs: 20 })
    const base = await listen(handler)
    const url = `${base}/a/items`
    const { handle } = await catchUp(url, '-1')
    const statuses = async (queries: string[], of = url) => Promise.all(queries.map(async (query) => (await fetch(`${of}?${query}`)).status))
    const bad = [
      '',
      'offset=',
      'offset=abc',
      'offset=-2',
      'offset=1',
      'offset=01_0',
      'offset=1_1',
      'offset=1_0_0',
      'offset=1e3_0',
      'offset=99999999999999999_0',
      'offset=%00',
    ]
    const withHandle = [
      'offset=6_0',
      'offset=9007199254740991_0',
      'offset=1_0&offset=2_0',
      'offset=1_0&live=yes',
      'offset=-1&live=true',
      'offset=1_0&live=true&live_sse=true',
    ]
    withHandle.push('offset=1_0&subset__limit=3', `offset=1_0&handle=${handle}`)
    expect(await statuses([...bad, 'offset=1_0', ...withHandle.map((query) => `${query}&handle=${handle}`)])).toEqual(range(0, 20).map(() => 400))
    const [id, epoch] = handle.split('-')
    const strange = ['', 'x', `${handle}0`, `${id}-${epoch}-`, `${id}-${epoch}-1`, `${id}-9-0`, `0000000000000000-${epoch}-0`, 'ä', 'a\nb']
    for (const other of strange) {
      const response = await get(url, { offset: '1_0', handle: other })
      expect([response.status, await response.json(), response.headers.get('electric-handle')]).toEqual([
        409,
        [{ headers: { control: 'must-refetch' } }],
        handle,
      ])
    }
    expect(await statuses(['offset=-1'], `${base}/a/other`)).toEqual([404])
    expect(await statuses(['offset=-1'], `${base}/a/%2e%2e/items`)).toEqual([404])
    expect(await statuses(['offset=-1'], `${base}/a%2fitems`)).toEqual([404])
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(`${url}?offset=-1`, { method })
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
    }
    const error = await fetch(`${url}?offset=1`)
    expect(error.headers.get('cache-control')).toBe('no-store')
    expect(await error.json()).toEqual({ error: { code: 'ERR_SEALOG_ARGUMENT', message: expect.any(String) } })
  })

  it('errors of the server are told to onError, not to the client', async () => {
    const log = await openLog(backend)
    await log.append({ a: 1 })
    const seen: unknown[] = []
    const failing = await serve(log, {
      toMessage: () => {
        throw new Error('secret')
      },
      onError: (error) => seen.push(error),
    })
    const response = await get(failing.url, { offset: '-1' })
    expect([response.status, await response.text()]).toEqual([500, expect.not.stringContaining('secret')])
    expect(seen).toEqual([new Error('secret')])

    const wrong = await serve(log, {
      toMessage: () => ({ headers: { control: 'up-to-date' } }) as unknown as ShapeChange,
      onError: (error) => seen.push(error),
    })
    expect(await (await get(wrong.url, { offset: '-1' })).json()).toMatchObject({ error: { code: 'ERR_SEALOG_VALUE' } })
    const binary = await Log.open(freshPath(), { backend })
    undo.push(() => binary.close())
    const other = await serve(binary, { onError: (error) => seen.push(error) })
    expect(await (await get(other.url, { offset: '-1' })).json()).toMatchObject({ error: { code: 'ERR_SEALOG_CODEC_MISMATCH' } })
    expect(seen.length).toBe(3)
  })

  it('live requests end when the client goes away, when the handler closes and when the log closes', async () => {
    const log = await openLog(backend)
    await log.append({ a: 1 })
    const exchanges: Array<{ request: IncomingMessage; response: ServerResponse }> = []
    const handler = createShapeHandler(log)
    const changed = vi.spyOn(log, 'changed')
    const url = await listen((request, response) => {
      exchanges.push({ request, response })
      handler(request, response)
    })
    const { handle } = await catchUp(url, '-1')
    const live = { offset: '1_0', handle, live: 'true' }
    const waiters = (): number => changed.mock.results.length
    const aborter = new AbortController()
    const gone = get(url, live, { signal: aborter.signal })
    await until(() => waiters() === 1, 'the first client waits')
    aborter.abort()
    await expect(gone).rejects.toThrow()
    await until(() => exchanges.at(-1)?.response.closed === true, 'its connection is gone')

    const second = get(url, live)
    await until(() => waiters() === 2, 'the second waits, and it alone')
    handler.close()
    const answer = await second
    expect([answer.status, answer.headers.get('connection'), ((await answer.json()) as Json[]).length]).toEqual([200, 'close', 1])
    expect((await get(url, live)).status).toBe(503)

    const closing = await openLog(backend)
    const other = await serve(closing)
    const ended = get(other.url, { offset: 'now', live: 'true' })
    const wait = vi.spyOn(closing, 'changed')
    await until(() => wait.mock.results.length > 0, 'a client waits')
    await closing.close()
    expect(await (await ended).json()).toMatchObject({ error: { code: 'ERR_SEALOG_CLOSED' } })
    expect((await get(other.url, { offset: '-1' })).status).toBe(503)
  })
})

it('options are checked', () => {
  const view = {} as unknown as LogView<unknown>
  const wrong = [
    { maxRecords: 0 },
    { maxLength: 1.5 },
    { longPollTimeoutMs: -1 },
    { toMessage: 'x' },
    { schema: 1 },
    { cors: 3 },
    { maxRecord: 1 },
    { onError: 1 },
  ]
  for (const options of wrong) expect(() => createShapeHandler(view, options as ShapeOptions)).toThrow(expect.objectContaining({ code: 'ERR_SEALOG_OPTION' }))
})

it('a record means its change, the row of its key, or a row of its own', () => {
  const record = (value: unknown, key?: string, tombstone = false) =>
    recordToMessage({ offset: 3, timestamp: 0, key: key === undefined ? undefined : Buffer.from(key), tombstone, batch: 3, value })
  expect(record({ a: 1.5, b: { c: [] } }, 'ключ')).toEqual({ key: 'ключ', value: { a: '1.5', b: '{"c":[]}' }, headers: { operation: 'insert' } })
  expect(record(null, 'k', true)).toEqual({ key: 'k', value: {}, headers: { operation: 'delete' } })
  expect(record([1, null])).toEqual({ key: '3', value: { value: '[1,null]' }, headers: { operation: 'insert' } })
  // What only looks like a message is a value: nobody can smuggle a control message in.
  for (const value of [
    { headers: { control: 'must-refetch' } },
    { key: 'k', headers: { operation: 'insert' } },
    { key: 1, value: {}, headers: { operation: 'insert' } },
  ]) {
    expect(record(value)).toMatchObject({ key: '3', headers: { operation: 'insert' } })
  }
})
