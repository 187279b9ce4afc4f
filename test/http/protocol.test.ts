import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { formatOffsetToken, parseOffsetToken } from '../../lib/http/index.js'
import type { Log } from '../../lib/index.js'
import { bytes, range } from '../support/logs.js'
import { concatenated, readToEnd, send, servedViews, unexpected, withServedLog } from './serving.js'

const SHORT_LIVED = 'public, max-age=60, stale-while-revalidate=300'
const IMMUTABLE = 'public, max-age=31536000, immutable, no-transform'
const JSON_LOG = { codec: 'json' } as const

async function fillNumbers(log: Log<unknown>, from: number, to: number): Promise<void> {
  for (const i of range(from, to)) log.enqueue(i)
  await log.committed()
}

afterEach(() => expect(unexpected.splice(0)).toEqual([]))

describe('offset tokens', () => {
  it('sort as the positions do, and come back as they were', () => {
    const position = fc.record({ epoch: fc.integer({ min: 1, max: 2 ** 31 }), offset: fc.maxSafeNat() })
    fc.assert(
      fc.property(position, position, (a, b) => {
        const [x, y] = [formatOffsetToken(a), formatOffsetToken(b)]
        expect(parseOffsetToken(x)).toEqual(a)
        expect(Math.sign(a.epoch - b.epoch) || Math.sign(a.offset - b.offset)).toBe(x < y ? -1 : x > y ? 1 : 0)
      }),
    )
  })

  it.each([
    '',
    '-1',
    'now',
    '1_1',
    '0000000001_00000000000000012',
    '0000000001_9007199254740992',
    ' 0000000001_0000000000000001',
    '0000000001_000000000000001٣',
  ])('takes nothing else: %j', (token) => expect(parseOffsetToken(token)).toBeUndefined())
})

describe.each(servedViews)('catch-up ($backend, $kind)', (views) => {
  it('answers from the start with every header of the protocol', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => fillNumbers(log, 0, 3),
      async ({ url, token }) => {
        for (const query of ['', '?offset=-1', `?offset=${token(0)}`, '?unknown=1']) {
          const { status, headers, text } = await send(`${url}/${query}`)
          expect([status, text]).toEqual([200, '[0,1,2]'])
          const { date: _date, connection: _connection, 'stream-cursor': cursor, etag, ...rest } = headers
          expect(rest).toEqual({
            'content-type': 'application/json',
            'content-length': '7',
            'cache-control': SHORT_LIVED,
            'stream-next-offset': token(3),
            'stream-up-to-date': 'true',
            'x-content-type-options': 'nosniff',
            'cross-origin-resource-policy': 'cross-origin',
            'access-control-allow-origin': '*',
            'access-control-expose-headers': 'Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-SSE-Data-Encoding, ETag, Allow, Retry-After',
          })
          expect(cursor).toMatch(/^\d+$/)
          expect(etag).toMatch(new RegExp(`^"[0-9a-f]{16}-json:${token(0)}:${token(3)}:t"$`))
        }
      },
    )
  })

  it('answers the end, and an empty log, with an empty body', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      async () => {},
      async ({ url, token, log }) => {
        const empty = await send(`${url}/`)
        expect([empty.status, empty.text, empty.headers['stream-next-offset'], empty.headers['stream-up-to-date']]).toEqual([200, '[]', token(0), 'true'])
        await log.append('x')
        const end = await send(`${url}/?offset=${token(1)}`)
        expect([end.status, end.text, end.headers['stream-next-offset'], end.headers['stream-up-to-date']]).toEqual([200, '[]', token(1), 'true'])
      },
    )
  })

  it('now is the end: nothing of the log, no entity tag, never cached', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => fillNumbers(log, 0, 3),
      async ({ url, token }) => {
        const { status, headers, text } = await send(`${url}/?offset=now`, { 'if-none-match': '*' })
        expect([status, text]).toEqual([200, '[]'])
        expect(headers).toMatchObject({ 'stream-next-offset': token(3), 'stream-up-to-date': 'true', 'cache-control': 'no-store' })
        expect(headers.etag).toBeUndefined()
      },
    )
  })

  it('HEAD tells the end and the type', async () => {
    await withServedLog(
      views,
      { codec: 'bytes' },
      { contentType: 'text/plain; charset=utf-8' },
      (log) => log.append(bytes('x')),
      async ({ url, token }) => {
        const { status, headers, body } = await send(`${url}/`, {}, 'HEAD')
        expect([status, body.length]).toEqual([200, 0])
        expect(headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'stream-next-offset': token(1), 'cache-control': 'no-store' })
      },
    )
  })

  it('bounds answers, and never splits a batch', async () => {
    const sizes = [1, 3, 1, 40, 2, 2, 7, 1, 1, 30]
    await withServedLog(
      views,
      JSON_LOG,
      { maxAnswerBytes: 100 },
      async (log) => {
        for (const [i, size] of sizes.entries()) await log.appendBatch(range(0, size).map((j) => `${i}-${j}`))
      },
      async ({ url }) => {
        const answers = await readToEnd(url, '-1')
        expect(JSON.parse(`[${concatenated('json', answers)}]`)).toEqual(sizes.flatMap((size, i) => range(0, size).map((j) => `${i}-${j}`)))
        const batches = answers.map(({ text }) => new Set((JSON.parse(text) as string[]).map((value) => value.split('-')[0])))
        expect(batches.flatMap((set) => [...set])).toEqual(sizes.map((_, i) => String(i)))
        for (const [i, { body }] of answers.entries()) if (body.length > 100) expect(batches[i].size).toBe(1)
        expect(answers.length).toBe(4)
        expect(answers.slice(0, -1).every(({ headers }) => headers['stream-up-to-date'] === undefined)).toBe(true)
      },
    )
  })

  it('carries UTF-8 and tombstones as the chunk form has them', async () => {
    const values = ['', 'é', '€', '😀', '\u2028', 'line\nline', '"\\']
    const fill = async (log: Log<unknown>) => {
      for (const value of values) await log.append(value, { key: 'k' })
      await log.appendRecords([{ key: 'k', tombstone: true }])
      await log.append(bytes('{ "ready" :\n 1 }'))
    }
    await withServedLog(views, JSON_LOG, {}, fill, async ({ url }) => {
      expect(JSON.parse((await send(`${url}/`)).text)).toEqual([...values, null, { ready: 1 }])
    })
    await withServedLog(views, { codec: 'json', seal: 'ndjson' }, {}, fill, async ({ url }) => {
      const { text, headers } = await send(`${url}/`)
      expect(headers['content-type']).toBe('application/x-ndjson')
      expect(text).toBe(`${[...values.map((value) => JSON.stringify(value)), 'null', '{ "ready" :  1 }'].join('\n')}\n`)
    })
    await withServedLog(views, { codec: 'json', seal: 'raw' }, {}, fill, async ({ url }) => {
      const { text, headers } = await send(`${url}/`)
      expect(headers['content-type']).toBe('application/octet-stream')
      expect(text).toBe(`${values.map((value) => JSON.stringify(value)).join('')}{ "ready" :  1 }`)
    })
    await withServedLog(views, { codec: 'json', seal: false }, {}, fill, async ({ url }) => {
      expect((await send(`${url}/`)).headers['content-type']).toBe('application/json')
    })
  })

  it('answers 304 to who has the bytes already', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => fillNumbers(log, 0, 3),
      async ({ url, log, token }) => {
        const first = await send(`${url}/`)
        const etag = String(first.headers.etag)
        for (const header of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
          const { status, headers, body } = await send(`${url}/`, { 'if-none-match': header })
          expect([status, body.length]).toEqual([304, 0])
          expect(headers).toMatchObject({ etag, 'stream-next-offset': token(3), 'stream-up-to-date': 'true', 'cache-control': SHORT_LIVED })
          expect(headers['content-type']).toBeUndefined()
        }
        expect((await send(`${url}/`, { 'if-none-match': '"other"' })).status).toBe(200)
        await log.append(3)
        expect((await send(`${url}/`, { 'if-none-match': etag })).text).toBe('[0,1,2,3]')
        // The same records again, in another epoch.
        const before = await send(`${url}/`)
        await log.truncateAfter(2)
        await log.append(3)
        const after = await send(`${url}/`, { 'if-none-match': String(before.headers.etag) })
        expect([after.status, after.text]).toEqual([200, '[0,1,2,3]'])
      },
    )
  })

  it('answers 410 when the history or the beginning is gone, and starts anew from -1', async () => {
    await withServedLog(
      views,
      { codec: 'json', segmentBytes: 1024 },
      {},
      (log) => fillNumbers(log, 0, 200),
      async ({ url, log, token }) => {
        const old = token(5)
        await log.truncateAfter(150)
        const epoch = await send(`${url}/?offset=${old}`)
        expect([epoch.status, JSON.parse(epoch.text).error.code]).toEqual([410, 'ERR_SEALOG_EPOCH'])
        for (const live of ['long-poll', 'sse']) expect((await send(`${url}/?offset=${old}&live=${live}`)).status).toBe(410)
        expect(JSON.parse(`[${concatenated('json', await readToEnd(url, '-1'))}]`)).toEqual(range(0, log.endOffset))
      },
    )
    await withServedLog(
      views,
      { codec: 'json', segmentBytes: 1024 },
      {},
      async (log) => {
        await fillNumbers(log, 0, 200)
        await log.truncateBefore(100)
      },
      async ({ url, log, token }) => {
        expect(log.startOffset).toBeGreaterThan(50)
        const { status, text } = await send(`${url}/?offset=${token(5)}`)
        expect([status, JSON.parse(text).error.code]).toEqual([410, 'ERR_SEALOG_OFFSET_TRUNCATED'])
        expect(JSON.parse(`[${concatenated('json', await readToEnd(url, '-1'))}]`)).toEqual(range(log.startOffset, 200))
        expect((await send(`${url}/?offset=${token(log.startOffset)}`)).status).toBe(200)
      },
    )
  })

  it('a beginning that is given up while it is served is no error', async () => {
    await withServedLog(
      views,
      { codec: 'json', segmentBytes: 1024 },
      { maxAnswerBytes: 50 },
      (log) => fillNumbers(log, 0, 400),
      async ({ url, log }) => {
        const answers = await Promise.all([...range(0, 20).map(() => send(`${url}/?offset=-1`)), log.truncateBefore(300).then(() => send(`${url}/?offset=-1`))])
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      },
    )
  })

  it('serves durable records only', async () => {
    await withServedLog(
      views,
      { codec: 'json', durability: 'flush', syncIntervalMs: 3_600_000, idleMarkMs: 3_600_000 },
      {},
      async (log) => {
        await fillNumbers(log, 0, 3)
        await log.sync()
        await fillNumbers(log, 3, 5)
      },
      async ({ url, log, token }) => {
        expect(log.committedOffset).toBe(5)
        expect((await send(`${url}/`)).text).toBe('[0,1,2]')
        expect((await send(`${url}/`, {}, 'HEAD')).headers['stream-next-offset']).toBe(token(3))
        const early = await send(`${url}/?offset=${token(4)}`)
        expect([early.status, JSON.parse(early.text).error.code]).toEqual([400, 'ERR_SEALOG_OFFSET_RANGE'])
        const waiting = send(`${url}/?offset=${token(3)}&live=long-poll`)
        await log.sync()
        expect((await waiting).text).toBe('[3,4]')
        expect((await send(`${url}/?offset=${token(4)}`)).text).toBe('[4]')
      },
    )
  })

  it('allows other origins as it is told to', async () => {
    const cases = [
      [undefined, 'https://a.example', '*', undefined],
      ['https://a.example', 'https://a.example', 'https://a.example', 'Origin'],
      [['https://a.example', 'https://b.example'], 'https://b.example', 'https://b.example', 'Origin'],
      ['https://a.example', 'https://evil.example', undefined, 'Origin'],
      [false, 'https://a.example', undefined, undefined],
    ] as const
    for (const [cors, origin, allowed, vary] of cases) {
      await withServedLog(
        views,
        JSON_LOG,
        { cors },
        async () => {},
        async ({ url }) => {
          const { headers } = await send(`${url}/`, { origin })
          expect([headers['access-control-allow-origin'], headers.vary]).toEqual([allowed, vary])
          expect(headers['cross-origin-resource-policy']).toBe(cors === false ? 'same-origin' : 'cross-origin')
          const preflight = await send(`${url}/`, { origin, 'access-control-request-method': 'GET' }, 'OPTIONS')
          expect([preflight.status, preflight.body.length, preflight.headers['access-control-allow-origin']]).toEqual([204, 0, allowed])
          if (allowed !== undefined) {
            expect(preflight.headers['access-control-allow-methods']).toBe('GET, HEAD, OPTIONS')
            expect(preflight.headers['access-control-allow-headers']).toContain('If-None-Match')
          }
        },
      )
    }
  })
})

describe.each(servedViews)('sealed chunks ($backend, $kind)', (views) => {
  const batches = [1, 5, 1, 1, 9, 2, 30, 1, 1, 1, 12, 4, 1, 3, 1]

  it.each([
    { form: 'json', state: 'unsealed' },
    { form: 'json', state: 'sealed' },
    { form: 'json', state: 'mixed' },
    { form: 'ndjson', state: 'mixed' },
    { form: 'raw', state: 'mixed' },
    { form: 'raw', state: 'sealed' },
  ] as const)('$state $form: every starting offset gives the same records', async ({ form, state }) => {
    const values: string[] = []
    const append = async (log: Log<unknown>) => {
      for (const size of batches) {
        const batch = range(0, size).map((i) => `${values.length}.${i} é😀`)
        values.push(...batch)
        await log.appendBatch(batch)
      }
      await log.appendRecords([{ key: 'k', tombstone: true }])
      values.push('null')
    }
    await withServedLog(
      views,
      { codec: 'json', seal: form, chunkBytes: 200 },
      { maxAnswerBytes: 400 },
      async (log) => {
        await append(log)
        if (state !== 'unsealed') await log.chunks.seal()
        if (state === 'mixed') await append(log)
      },
      async ({ url, token, log, handler }) => {
        expect((await log.chunks.list()).length).toBeGreaterThan(state === 'unsealed' ? -1 : 3)
        const texts = values.map((value) => (value === 'null' ? (form === 'raw' ? '' : 'null') : JSON.stringify(value)))
        for (let from = 0; from <= values.length; from++) {
          const rest = texts.slice(from)
          const expected = form === 'json' ? rest.join(',') : form === 'raw' ? rest.join('') : rest.map((value) => `${value}\n`).join('')
          const answers = await readToEnd(url, token(from))
          expect(concatenated(form, answers)).toBe(expected)
          expect(answers.at(-1)?.headers['stream-next-offset']).toBe(token(values.length))
        }
        if (state === 'sealed') expect(handler.stats().transfers.fallbacks.not_sealed).toBe(0)
      },
    )
  })

  it('what cannot change is immutable; the start, the end and the unsealed are not', async () => {
    await withServedLog(
      views,
      { codec: 'json', chunkBytes: 100 },
      {},
      async (log) => {
        await fillNumbers(log, 0, 500)
        await log.chunks.seal()
      },
      async ({ url, token, log }) => {
        const chunks = await log.chunks.list()
        expect(chunks.length).toBeGreaterThan(2)
        const [first, second] = chunks
        const cache = async (query: string) => (await send(`${url}/?${query}`)).headers['cache-control']
        expect(await cache('')).toBe(SHORT_LIVED)
        expect(await cache('offset=-1')).toBe(SHORT_LIVED)
        expect(await cache(`offset=${token(0)}`)).toBe(IMMUTABLE)
        expect(await cache(`offset=${token(first.first + 1)}`)).toBe(IMMUTABLE)
        expect(await cache(`offset=${token(second.last)}`)).toBe(IMMUTABLE)
        const newest = await send(`${url}/?offset=${token(chunks[chunks.length - 1].first)}`)
        expect([newest.headers['cache-control'], newest.headers['stream-up-to-date']]).toEqual([SHORT_LIVED, 'true'])
        await log.append('more')
        const older = await send(`${url}/?offset=${token(chunks[chunks.length - 1].first)}`, { 'if-none-match': String(newest.headers.etag) })
        expect([older.status, older.headers['cache-control'], older.headers['stream-up-to-date']]).toEqual([200, IMMUTABLE, undefined])
        expect(older.text).toBe(newest.text)
        expect(await cache(`offset=${token(500)}`)).toBe(SHORT_LIVED)
      },
    )
  })

  it('an answer begins at any record and goes to the end of its chunk, whatever answers are bounded to', async () => {
    await withServedLog(
      views,
      { codec: 'json', chunkBytes: 1000 },
      { maxAnswerBytes: 10, cache: 'private' },
      async (log) => {
        await fillNumbers(log, 0, 1000)
        await log.chunks.seal()
      },
      async ({ url, token, log }) => {
        const [{ last }] = await log.chunks.list()
        const { text, headers } = await send(`${url}/?offset=${token(3)}`)
        expect(JSON.parse(text)).toEqual(range(3, last + 1))
        expect(headers['stream-next-offset']).toBe(token(last + 1))
        expect(headers['cache-control']).toBe(IMMUTABLE.replace('public', 'private'))
        expect((await send(`${url}/?offset=${token(3)}`, { 'if-none-match': String(headers.etag) })).status).toBe(304)
      },
    )
  })

  it('whole chunks travel compressed to who takes that', async () => {
    await withServedLog(
      views,
      { codec: 'json', chunkBytes: 1000, chunkEncodings: ['gzip'] },
      {},
      async (log) => {
        await fillNumbers(log, 0, 1000)
        await log.chunks.seal()
      },
      async ({ url, token, log }) => {
        const [first, { first: middle }] = await log.chunks.list()
        const plain = await send(`${url}/?offset=${token(0)}`)
        expect([plain.headers['content-encoding'], plain.headers.vary]).toEqual([undefined, 'Accept-Encoding'])
        for (const accept of ['gzip', 'br, gzip;q=0.5', '*', 'GZIP']) {
          const { headers, body } = await send(`${url}/?offset=${token(0)}`, { 'accept-encoding': accept })
          expect(headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding', 'content-type': 'application/json', 'cache-control': IMMUTABLE })
          expect(headers['stream-next-offset']).toBe(token(middle))
          expect(gunzipSync(body)).toEqual(plain.body)
          expect(body.length).toBeLessThan(first.bytes)
          expect(headers.etag).not.toBe(plain.headers.etag)
          const again = await send(`${url}/?offset=${token(0)}`, { 'accept-encoding': accept, 'if-none-match': String(headers.etag) })
          expect([again.status, again.headers.etag, again.headers.vary]).toEqual([304, headers.etag, 'Accept-Encoding'])
          expect((await send(`${url}/?offset=${token(0)}`, { 'if-none-match': String(headers.etag) })).status).toBe(200)
        }
        for (const accept of ['identity', 'gzip;q=0', 'br', '*;q=0', 'gzip;q=nonsense']) {
          expect((await send(`${url}/?offset=${token(0)}`, { 'accept-encoding': accept })).body).toEqual(plain.body)
        }
        const part = await send(`${url}/?offset=${token(1)}`, { 'accept-encoding': 'gzip' })
        expect([part.headers['content-encoding'], part.headers.vary]).toEqual([undefined, undefined])
        expect(JSON.parse(part.text)[0]).toBe(1)
      },
    )
  })

  it('T44: a chunk that is removed meanwhile is sent to its end', async () => {
    const value = 'x'.repeat(100_000)
    await withServedLog(
      views,
      { codec: 'json', segmentBytes: 16 * 1024 * 1024, chunkBytes: 10 * 1024 * 1024 },
      {},
      async (log) => {
        for (const _ of range(0, 160)) log.enqueue(value)
        await log.chunks.seal()
      },
      async ({ url, token, log }) => {
        const [first] = await log.chunks.list()
        const outgoing = get(`${url}/?offset=${token(1)}`, { agent: false })
        const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
        response.pause()
        await log.truncateBefore(log.endOffset)
        expect((await log.chunks.list()).map(({ sequence }) => sequence)).not.toContain(first.sequence)
        expect(existsSync(first.path)).toBe(false)
        const parts: Buffer[] = []
        for await (const part of response) parts.push(part as Buffer)
        expect(JSON.parse(Buffer.concat(parts).toString())).toEqual(range(1, first.last + 1).map(() => value))
      },
    )
  })
})
