import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ClientHttp2Session, connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { DurableStream, stream } from '@durable-streams/client'
import express from 'express'
import fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHandler, formatOffsetToken, type Handler } from '../../lib/http/index.js'
import { Log } from '../../lib/index.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, range, until } from '../support/logs.js'
import { send, servedViews, unexpected, withServedLog, withServer } from './serving.js'

afterEach(() => expect(unexpected.splice(0)).toEqual([]))

const OPTIONS = { codec: 'json', chunkBytes: 400 } as const
/** Sealed chunks first, then records that are not sealed. */
async function fill(log: Log<unknown>): Promise<void> {
  for (const i of range(0, 300)) log.enqueue({ i, text: 'é😀' })
  await log.chunks.seal()
  for (const i of range(300, 400)) log.enqueue({ i, text: 'é😀' })
  await log.committed()
}

describe.each(servedViews)('@durable-streams/client ($backend, $kind)', (views) => {
  it('reads a log from the start and from the middle', async () => {
    await withServedLog(views, OPTIONS, { maxAnswerBytes: 1000 }, fill, async ({ url, token, log }) => {
      const all = await stream<{ i: number }>({ url })
      expect((await all.json()).map(({ i }) => i)).toEqual(range(0, 400))
      expect(all.offset).toBe(token(400))
      for (const from of [1, 57, 299, 300, 333, 399, 400]) {
        const rest = await stream<{ i: number }>({ url, offset: token(from) })
        expect((await rest.json()).map(({ i }) => i)).toEqual(range(from, 400))
      }
      expect(await (await stream({ url, offset: 'now', live: false })).json()).toEqual([])
      const head = await DurableStream.head({ url })
      expect(head).toMatchObject({ exists: true, offset: token(log.endOffset), contentType: 'application/json' })
      await expect(stream({ url: `${url}/?x=1`, offset: '12', live: false })).rejects.toThrow()
    })
  })

  it.each(['long-poll', 'sse'] as const)('follows it live by %s', async (live) => {
    await withServedLog(views, OPTIONS, { longPollTimeoutMs: 50, sseLifetimeMs: 100, maxAnswerBytes: 1000 }, fill, async ({ url, token, log, handler }) => {
      const controller = new AbortController()
      // Connections of 100 ms are no fault here; after three of them the client would go no further.
      const response = await stream<{ i: number }>({ url, offset: token(290), live, signal: controller.signal, sseResilience: { minConnectionDuration: 1 } })
      const seen: number[] = []
      let offset = ''
      const unsubscribe = response.subscribeJson((batch) => {
        seen.push(...batch.items.map(({ i }) => i))
        offset = batch.offset
      })
      await until(() => seen.length === 110, 'caught up')
      for (let i = 400; i < 500; i++) {
        log.enqueue({ i })
        if (i % 20 === 0) await until(() => seen.at(-1) === i, `record ${i}`)
      }
      await log.chunks.seal()
      await log.append({ i: 500 })
      await until(() => seen.at(-1) === 500 && offset === token(501), 'the last record')
      expect(seen).toEqual(range(290, 501))
      unsubscribe()
      controller.abort()
      response.cancel()
      await until(() => handler.stats().liveClients === 0, 'nobody waits')
    })
  })

  it('reads bytes by event stream', async () => {
    await withServedLog(
      views,
      { codec: 'bytes' },
      {},
      (log) => log.append(Uint8Array.of(0, 255, 10, 13)),
      async ({ url, log }) => {
        const controller = new AbortController()
        const response = await stream({ url, offset: '-1', live: 'sse', signal: controller.signal })
        const seen: number[] = []
        response.subscribeBytes((chunk) => {
          seen.push(...chunk.data)
        })
        await until(() => seen.length === 4, 'the first record')
        await log.append(Uint8Array.of(128, 10))
        await until(() => seen.length === 6, 'the second record')
        expect(seen).toEqual([0, 255, 10, 13, 128, 10])
        controller.abort()
        response.cancel()
      },
    )
  })
})

describe.each(backends)('frameworks (%s)', (backend) => {
  async function withLog(use: (log: Log<unknown>) => Promise<void>): Promise<void> {
    const log = await Log.open<unknown>(freshPath(), { backend, ...OPTIONS })
    try {
      await fill(log)
      await use(log)
    } finally {
      await log.close()
    }
  }
  const check = async (url: string, log: Log<unknown>, handler: Handler) => {
    const all = await stream<{ i: number }>({ url: `${url}/logs/a` })
    expect((await all.json()).map(({ i }) => i)).toEqual(range(0, 400))
    const waiting = send(`${url}/logs/a?offset=now&live=long-poll`)
    await until(() => handler.stats().liveClients === 1, 'the client waits')
    await log.append('news')
    expect((await waiting).text).toBe('["news"]')
    expect((await send(`${url}/logs/b`)).status).toBe(404)
    expect((await send(`${url}/other`)).text).toBe('other')
  }

  it('Express, at a mount point', async () => {
    await withLog(async (log) => {
      const app = express()
      const handler = createHandler((name) => (name === 'a' ? log : undefined))
      app.use('/logs', handler)
      app.get('/other', (_req, res) => void res.send('other'))
      await withServer(app, ({ url }) => check(url, log, handler))
      handler.close()
    })
  })

  it('Fastify, after hijack', async () => {
    await withLog(async (log) => {
      const app = fastify()
      const handler = createHandler((name) => (name === 'logs/a' ? log : undefined))
      app.all('/logs/*', (request, reply) => {
        reply.hijack()
        handler(request.raw, reply.raw)
      })
      app.get('/other', async () => 'other')
      const url = await app.listen({ port: 0, host: '127.0.0.1' })
      try {
        await check(url, log, handler)
        const posted = await fetch(`${url}/logs/a`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })
        expect(posted.status).toBe(405)
      } finally {
        handler.close()
        await app.close()
      }
    })
  })
})

it('HTTP/2 clients read, wait and follow', async () => {
  const log = await Log.open<unknown>(freshPath(), OPTIONS)
  const handler = createHandler(log)
  let session: ClientHttp2Session | undefined
  const server = createServer((req, res) => handler(req as unknown as IncomingMessage, res as unknown as ServerResponse))
  try {
    await fill(log)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    session = client
    const texts = new Map<string, string>()
    const ended = new Set<string>()
    const ask = (path: string) => {
      const request = client.request({ ':path': path })
      texts.set(path, '')
      request.setEncoding('utf8')
      request.on('data', (text) => texts.set(path, texts.get(path) + text))
      request.on('end', () => ended.add(path))
    }
    const [sealed, unsealed] = [`/?offset=${formatOffsetToken({ epoch: 1, offset: 3 })}`, `/?offset=${formatOffsetToken({ epoch: 1, offset: 390 })}`]
    for (const path of [sealed, unsealed, '/?offset=now&live=long-poll', '/?offset=now&live=sse']) ask(path)
    await until(() => ended.has(sealed) && ended.has(unsealed) && handler.stats().liveClients === 2, 'two answers, two wait')
    expect(JSON.parse(texts.get(sealed) ?? '')[0].i).toBe(3)
    expect(JSON.parse(texts.get(unsealed) ?? '')[0].i).toBe(390)
    await log.append('news')
    await until(() => ended.has('/?offset=now&live=long-poll') && (texts.get('/?offset=now&live=sse') ?? '').includes('data: ["news"]'), 'the news')
    handler.close()
    await until(() => ended.size === 4, 'all have ended')
  } finally {
    session?.destroy()
    await new Promise((resolve) => server.close(resolve))
    await log.close()
  }
})

it('a text log reads as text', async () => {
  const log = await Log.open(freshPath())
  try {
    for (const line of ['one\n', 'two\r\n', 'drei €\n']) await log.append(bytes(line))
    await withServer(createHandler(log, { contentType: 'text/plain; charset=utf-8' }), async ({ url }) => {
      expect(await (await stream({ url, live: false })).text()).toBe('one\ntwo\r\ndrei €\n')
    })
  } finally {
    await log.close()
  }
})
