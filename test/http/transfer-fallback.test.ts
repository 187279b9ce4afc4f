/** Connections and responses that sendfile is not for get the same bytes, and the reason is counted. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, createSecureServer, connect as http2Connect } from 'node:http2'
import { createServer as createTlsServer, request as tlsRequest } from 'node:https'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import compression from 'compression'
import express from 'express'
import fastify from 'fastify'
import { afterAll, describe, expect, it } from 'vitest'
import type { FallbackReason } from '../../lib/telemetry/channels.js'
import { backends } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'
import { ContentFile, eventually, get, getText, listening, MiB, pathOf, RawClient, Serving, withServer } from './transfer-support.js'

const file = new ContentFile(16 * MiB)
afterAll(() => file.close())

function selfSigned(): { key: Buffer; cert: Buffer } {
  const directory = makeDirectory('certificate')
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(directory, name))
  const options = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost']
  execFileSync('openssl', ['req', ...options, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  return { key: readFileSync(key), cert: readFileSync(cert) }
}

function holdCorked({ socket }: ServerResponse): void {
  socket?.cork()
  setTimeout(() => socket?.uncork(), 20)
}

describe.each(backends)('transfer on %s', (backend) => {
  const because = (reason: FallbackReason): FallbackReason => (backend === 'native' || reason === 'tls' || reason === 'http2' ? reason : 'platform')
  const asked = { position: 11, length: 3 * MiB, prefix: '[' }

  it('over TLS', async () => {
    const serving = new Serving(backend, file)
    const server = createTlsServer(selfSigned(), serving.answer)
    const port = await listening(server)
    for (const each of [asked, { position: 5, length: 1000 }]) {
      const body = await new Promise<Buffer>((resolve, reject) => {
        tlsRequest({ port, host: '127.0.0.1', path: pathOf(each), rejectUnauthorized: false, agent: false }, (res) => {
          const pieces: Buffer[] = []
          res.on('data', (piece) => pieces.push(piece)).on('end', () => resolve(Buffer.concat(pieces)))
        })
          .on('error', reject)
          .end()
      })
      expect(body.equals(serving.expected(each))).toBe(true)
    }
    await serving.ended(2)
    expect(serving.outcomes).toMatchObject([
      { way: 'stream', complete: true, reason: 'tls' },
      { way: 'buffer', complete: true, reason: 'tls' },
    ])
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('over HTTP/2, to its end, to a stalled stream and to one that is reset', async () => {
    const serving = new Serving(backend, file)
    const server = createSecureServer(selfSigned(), (req, res) => void serving.answer(req as unknown as IncomingMessage, res as unknown as ServerResponse))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const session = http2Connect(`https://127.0.0.1:${(server.address() as { port: number }).port}`, { rejectUnauthorized: false })
    for (const each of [asked, { position: 5, length: 1000 }]) {
      const stream = session.request({ ':path': pathOf(each) })
      const pieces: Buffer[] = []
      for await (const piece of stream) pieces.push(piece as Buffer)
      expect(Buffer.concat(pieces).equals(serving.expected(each))).toBe(true)
    }
    await serving.ended(2)
    expect(serving.outcomes).toMatchObject([
      { way: 'stream', complete: true, reason: 'http2' },
      { way: 'buffer', complete: true, reason: 'http2' },
    ])
    serving.stallMs = 150
    const stalled = session.request({ ':path': pathOf({ length: 16 * MiB }) })
    stalled.on('error', () => {})
    await serving.ended(3)
    expect(serving.outcomes[2]).toMatchObject({ way: 'stream', complete: false })
    serving.stallMs = 60_000
    const reset = session.request({ ':path': pathOf({ length: 16 * MiB }) })
    reset.on('error', () => {})
    await new Promise((resolve) => reset.once('response', resolve))
    reset.close(constants.NGHTTP2_CANCEL)
    await serving.ended(4)
    expect(serving.outcomes[3]).toMatchObject({ way: 'stream', complete: false })
    session.destroy()
    await new Promise((resolve) => server.close(resolve))
  })

  it('through Express with the compression middleware, compressed or, when told not to, as it is', async () => {
    const serving = new Serving(backend, file)
    const app = express()
    app.use(compression())
    app.get(
      '/:position/:length/:prefix',
      (req, res) => void serving.answer(req, res, req.headers['x-plain'] === undefined ? {} : { 'cache-control': 'no-transform' }),
    )
    await withServer(app, async (port) => {
      const packed = await get(port, pathOf(asked), { headers: { 'accept-encoding': 'gzip' } })
      expect(packed.headers['content-encoding']).toBe('gzip')
      expect(packed.headers['content-length']).toBeUndefined()
      expect(gunzipSync(packed.body).equals(serving.expected(asked))).toBe(true)
      const plain = await get(port, pathOf(asked), { headers: { 'accept-encoding': 'gzip', 'x-plain': 'yes' } })
      expect(plain.headers['content-length']).toBe(String(3 * MiB + 1))
      expect(plain.body.equals(serving.expected(asked))).toBe(true)
      await serving.ended(2)
      for (const outcome of serving.outcomes) expect(outcome).toMatchObject({ way: 'stream', complete: true, reason: because('wrapped') })
    })
  })

  it('through Express alone and through Fastify with reply.hijack() as through plain node:http', async () => {
    const serving = new Serving(backend, file)
    const app = express()
    app.get('/:position/:length/:prefix', (req, res) => void serving.answer(req, res))
    await withServer(app, async (port) => {
      expect((await get(port, pathOf(asked))).body.equals(serving.expected(asked))).toBe(true)
    })
    const server = fastify()
    server.get('/:position/:length/:prefix', (req, reply) => {
      reply.hijack()
      void serving.answer(req.raw, reply.raw)
    })
    await server.listen({ port: 0, host: '127.0.0.1' })
    const { port } = server.server.address() as { port: number }
    expect((await get(port, pathOf(asked))).body.equals(serving.expected(asked))).toBe(true)
    await serving.ended(2)
    await server.close()
    for (const outcome of serving.outcomes) expect(outcome).toMatchObject({ way: backend === 'native' ? 'sendfile' : 'stream', complete: true })
  })

  it.each([
    ['a response whose write was replaced', (res: ServerResponse) => void (res.write = res.write.bind(res) as typeof res.write)],
    ['a response whose end was replaced', (res: ServerResponse) => void (res.end = res.end.bind(res) as typeof res.end)],
    ['strictContentLength', (res: ServerResponse) => void (res.strictContentLength = true)],
    ['a connection that others hold corked', holdCorked],
  ])('to %s', async (_, prepare) => {
    const serving = new Serving(backend, file)
    await withServer(
      (req, res) => {
        prepare(res)
        void serving.answer(req, res)
      },
      async (port) => {
        expect((await get(port, pathOf(asked))).body.equals(serving.expected(asked))).toBe(true)
        await serving.ended(1)
        expect(serving.outcomes[0].complete).toBe(true)
      },
    )
    if (!_.includes('corked')) expect(serving.outcomes[0]).toMatchObject({ way: 'stream', reason: because('wrapped') })
  })

  it('when something changes the headers as they are written', async () => {
    const serving = new Serving(backend, file)
    await withServer(
      (req, res) => {
        const { writeHead } = res
        res.writeHead = ((status: number) => {
          res.removeHeader('content-length')
          return writeHead.call(res, status)
        }) as typeof res.writeHead
        void serving.answer(req, res)
      },
      async (port) => {
        const { body, headers } = await get(port, pathOf(asked))
        expect(headers['transfer-encoding']).toBe('chunked')
        expect(body.equals(serving.expected(asked))).toBe(true)
        await serving.ended(1)
        expect(serving.outcomes[0]).toMatchObject({ way: 'stream', complete: true, reason: because('wrapped') })
      },
    )
  })

  it('cuts off a client that does not take a small answer', async () => {
    const serving = new Serving(backend, file)
    serving.stallMs = 150
    await withServer(serving.answer, async (port) => {
      // Small ones enough to fill what the systems of both ends hold.
      const client = new RawClient(port, getText(pathOf({ length: 100_000 })).repeat(150))
      await eventually(() => serving.counters.broken > 0 && serving.outcomes.length === serving.started)
      expect(serving.outcomes.at(-1)).toMatchObject({ way: 'buffer', complete: false })
      client.socket.destroy()
    })
  })
})
