/** Answers with bytes of a file: the same bytes whatever way they take, and no way for one to hang, mix or end twice. */

import diagnostics from 'node:diagnostics_channel'
import { unlinkSync } from 'node:fs'
import { Agent, createServer } from 'node:http'
import type { Socket } from 'node:net'
import path from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { SENDFILE_MIN_BYTES } from '../../lib/http/sendfile.js'
import { newTransferCounters, type TransferOutcome } from '../../lib/http/transfer.js'
import type { ChannelMessages } from '../../lib/telemetry/channels.js'
import { backends, testingOf } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'
import { ContentFile, eventually, get, getText, listening, MiB, openDescriptors, pathOf, RawClient, Serving, withServer } from './transfer-support.js'

const LARGE = 24 * MiB
const file = new ContentFile(LARGE)
afterAll(() => file.close())

type SendfileName = 'sealog:sendfile:serve' | 'sealog:sendfile:fallback' | 'sealog:sendfile:error'

async function messagesOf<Name extends SendfileName>(name: Name, during: () => Promise<void>): Promise<ChannelMessages[Name][]> {
  const messages: ChannelMessages[Name][] = []
  const listener = (message: unknown) => messages.push(message as ChannelMessages[Name])
  diagnostics.subscribe(name, listener)
  try {
    await during()
  } finally {
    diagnostics.unsubscribe(name, listener)
  }
  return messages
}

describe.each(backends)('transfer on %s', (backend) => {
  const large: TransferOutcome['way'] = backend === 'native' ? 'sendfile' : 'stream'
  const complete = (bytes: number) => (large === 'sendfile' ? { way: large, complete: true, bytes } : { way: large, complete: true, bytes, reason: 'platform' })
  afterEach(() => testingOf(backend).clearFaults())

  it('sends the same bytes for every length, position and prefix, one after the other on one connection', async () => {
    const serving = new Serving(backend, file)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const lengths = [0, 1, 4097, 64 * 1024, SENDFILE_MIN_BYTES - 1, SENDFILE_MIN_BYTES, 512 * 1024 + 1, MiB + 7, 5 * MiB]
    let connections = 0
    await withServer(serving.answer, async (port, server) => {
      server.on('connection', () => connections++)
      for (const length of lengths) {
        for (const [position, prefix] of [
          [0, ''],
          [1, '['],
          [LARGE - length, ''],
        ] as const) {
          const asked = { position, length, prefix }
          const { status, headers, body } = await get(port, pathOf(asked), { agent })
          expect(status).toBe(200)
          expect(headers['content-length']).toBe(String(length + prefix.length))
          expect(body.equals(serving.expected(asked)), `${length} bytes from ${position}`).toBe(true)
          await serving.ended(serving.started)
          expect(serving.outcomes.at(-1)).toMatchObject(length < SENDFILE_MIN_BYTES ? { way: 'buffer', complete: true, bytes: length } : complete(length))
        }
      }
    })
    agent.destroy()
    expect(connections).toBe(1)
    const { counters } = serving
    expect(counters.broken).toBe(0)
    expect(counters.buffer).toBe(15)
    expect(counters[large as 'sendfile' | 'stream']).toBe(12)
    expect(counters.fallbacks).toEqual({
      ...newTransferCounters().fallbacks,
      [backend === 'native' ? 'too_small' : 'platform']: backend === 'native' ? 15 : 27,
    })
    expect(counters.sendfileBytes + counters.copiedBytes).toBe(3 * lengths.reduce((sum, length) => sum + length, 0))
  })

  it('reads a small body that has a key once, and each part, prefix and key for itself', async () => {
    const serving = new Serving(backend, file)
    const testing = testingOf(backend)
    const reads = () => testing.counts().read ?? 0
    await withServer(serving.answer, async (port) => {
      const once = async (asked: { position: number; length: number; prefix?: string }) => {
        const before = reads()
        expect((await get(port, pathOf(asked))).body.equals(serving.expected(asked))).toBe(true)
        return reads() - before
      }
      const asked = { position: 3, length: 5000 }
      for (const [key, expected] of [
        [undefined, [1, 1]],
        ['a', [1, 0]],
        ['b', [1, 0]],
        ['a', [0, 0]],
      ] as const) {
        serving.key = key
        expect([await once(asked), await once(asked)]).toEqual(expected)
      }
      for (const other of [
        { ...asked, position: 4 },
        { ...asked, length: 5001 },
        { ...asked, prefix: '[' },
      ]) {
        expect([await once(other), await once(other)]).toEqual([1, 0])
      }
      await serving.ended(14)
    })
  })

  it('answers HEAD with headers alone, and HTTP/1.0 with a body and an end', async () => {
    const serving = new Serving(backend, file)
    await withServer(serving.answer, async (port) => {
      const head = await get(port, pathOf({ length: 2 * MiB, prefix: '[' }), { method: 'HEAD' })
      expect(head.headers['content-length']).toBe(String(2 * MiB + 1))
      expect(head.body.length).toBe(0)
      const old = new RawClient(port, `GET ${pathOf({ length: 2 * MiB, prefix: '[' })} HTTP/1.0\r\n\r\n`)
      old.socket.resume()
      await old.closed
      expect(old.received.subarray(-2 * MiB - 1).equals(serving.expected({ length: 2 * MiB, prefix: '[' }))).toBe(true)
      await serving.ended(2)
      expect(serving.outcomes[0]).toEqual({ way: 'none', complete: true, bytes: 0 })
      expect(serving.outcomes[1]).toEqual(complete(2 * MiB))
    })
  })

  it('answers pipelined requests in their order, a client that reads late included', async () => {
    const serving = new Serving(backend, file)
    const asked = [
      { position: 0, length: LARGE, prefix: '' },
      { position: 5, length: 100, prefix: '[' },
      { position: 9, length: 2 * MiB, prefix: '[' },
      { position: 3, length: 300_000, prefix: '' },
    ]
    await withServer(serving.answer, async (port) => {
      const client = new RawClient(port, asked.map((each) => getText(pathOf(each))).join(''))
      // All of them wait behind the first, which the client does not read yet.
      await eventually(() => serving.started === asked.length)
      const bodies = asked.map((each) => serving.expected(each))
      const total = bodies.reduce((sum, body) => sum + body.length, 0)
      let rest = await client.read(total + 4 * 100)
      for (const body of bodies) {
        const end = rest.indexOf('\r\n\r\n') + 4
        expect(rest.toString('latin1', 0, end)).toContain(`content-length: ${body.length}\r\n`)
        expect(rest.subarray(end, end + body.length).equals(body)).toBe(true)
        rest = rest.subarray(end + body.length)
      }
      expect(rest.length).toBe(0)
      await serving.ended(asked.length)
      expect(serving.counters.broken).toBe(0)
    })
  })

  it('lets go of everything when a client goes away in mid-body, those that wait behind in the pipeline included', async () => {
    const serving = new Serving(backend, file)
    const before = openDescriptors()
    await withServer(serving.answer, async (port, server) => {
      const closed = new Promise<void>((resolve) => server.once('connection', (socket) => socket.once('close', () => resolve())))
      const client = new RawClient(port, getText(pathOf({ length: LARGE })) + getText(pathOf({ length: LARGE })) + getText(pathOf({ length: 10 })))
      await client.read(MiB)
      await eventually(() => serving.started === 3)
      client.socket.destroy()
      await serving.ended(3)
      await closed
      expect(serving.outcomes.map(({ complete }) => complete)).toEqual([false, false, false])
      expect(serving.outcomes.find(({ bytes }) => bytes > 0)?.bytes).toBeLessThan(LARGE)
      expect(serving.counters.broken).toBe(3)
    })
    await eventually(() => openDescriptors() <= before)
  })

  it('ends when this side destroys the connection', async () => {
    const serving = new Serving(backend, file)
    await withServer(serving.answer, async (port, server) => {
      const client = new RawClient(port, getText(pathOf({ length: LARGE })))
      await eventually(() => serving.started === 1)
      server.closeAllConnections()
      await serving.ended(1)
      expect(serving.outcomes[0]).toMatchObject({ way: large, complete: false })
      // The peer is told, too.
      client.socket.resume()
      await client.closed
      expect(client.received.length).toBeLessThan(LARGE)
    })
  })

  it('goes on during server.close() and beyond server.setTimeout()', async () => {
    const serving = new Serving(backend, file)
    const server = createServer(serving.answer)
    server.setTimeout(20)
    const port = await listening(server)
    const client = new RawClient(port, getText(pathOf({ length: LARGE }), 'Connection: close\r\n'))
    const socket = await new Promise<Socket>((resolve) => server.once('connection', resolve))
    await eventually(() => serving.started === 1)
    const closed = new Promise((resolve) => server.close(resolve))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect((await client.readBody(LARGE)).equals(file.content)).toBe(true)
    await serving.ended(1)
    expect(serving.outcomes[0]).toEqual(complete(LARGE))
    await closed
    expect(socket.destroyed).toBe(true)
  })

  it('restores the timeout of the connection', async () => {
    const serving = new Serving(backend, file)
    await withServer(serving.answer, async (port, server) => {
      server.keepAliveTimeout = 0
      server.setTimeout(40_000)
      const client = new RawClient(port, getText(pathOf({ length: 8 * MiB })))
      const socket = await new Promise<Socket>((resolve) => server.once('connection', resolve))
      await client.readBody(8 * MiB)
      await serving.ended(1)
      expect(socket.timeout).toBe(40_000)
      expect(socket.writableCorked).toBe(0)
    })
  })

  it('cuts a client off that takes nothing for the stall time, and tells', async () => {
    const serving = new Serving(backend, file)
    serving.stallMs = 150
    const errors = await messagesOf('sealog:sendfile:error', async () => {
      await withServer(serving.answer, async (port) => {
        const client = new RawClient(port, getText(pathOf({ length: LARGE })))
        await serving.ended(1)
        expect(serving.outcomes[0]).toMatchObject({ way: large, complete: false })
        expect(serving.outcomes[0].bytes).toBeLessThan(LARGE)
        client.socket.resume()
        await client.closed
        expect(client.received.length).toBeLessThan(LARGE)
      })
    })
    if (backend === 'native') expect(errors).toEqual([{ log: '/log', code: 'ETIMEDOUT', bytes: serving.counters.sendfileBytes, chunk: 7 }])
    else expect(errors).toEqual([])
  })

  it('publishes what it served and why it took another way', async () => {
    const serving = new Serving(backend, file)
    const fallbacks = await messagesOf('sealog:sendfile:fallback', async () => {
      const served = await messagesOf('sealog:sendfile:serve', async () => {
        await withServer(serving.answer, async (port) => {
          await get(port, pathOf({ length: MiB }))
          await get(port, pathOf({ length: 10 }))
          await serving.ended(2)
        })
      })
      if (backend === 'js') expect(served).toEqual([])
      else {
        expect(served).toMatchObject([{ log: '/log', bytes: MiB, chunk: 7 }])
        expect(served[0].duration).toBeGreaterThan(0)
      }
    })
    expect(fallbacks.map(({ reason }) => reason)).toEqual(backend === 'native' ? ['too_small'] : ['platform', 'platform'])
    expect(fallbacks[0]).toMatchObject({ log: '/log', offset: 70 })
  })

  it('serves a file that was unlinked during a slow transfer to its end', async () => {
    const doomed = new ContentFile(LARGE)
    const serving = new Serving(backend, doomed)
    await withServer(serving.answer, async (port) => {
      const client = new RawClient(port, getText(pathOf({ length: LARGE })))
      await eventually(() => serving.started === 1)
      unlinkSync(doomed.path)
      expect((await client.readBody(LARGE)).equals(doomed.content)).toBe(true)
    })
    doomed.close()
  })

  it('breaks off, and never sends a short body as a whole one, when the file ends early', async () => {
    const serving = new Serving(backend, file)
    await withServer(serving.answer, async (port) => {
      for (const asked of [
        { position: LARGE - MiB, length: 2 * MiB },
        { position: LARGE - 10, length: 20 },
      ]) {
        const client = new RawClient(port, getText(pathOf(asked)))
        client.socket.resume()
        await client.closed
        await serving.ended(serving.started)
        expect(serving.outcomes.at(-1)?.complete).toBe(false)
      }
      expect(serving.counters.broken).toBe(2)
    })
  })

  it('serves a unix socket', async () => {
    const serving = new Serving(backend, file)
    const socketPath = path.join(makeDirectory('socket'), 's')
    const server = createServer(serving.answer)
    await listening(server, socketPath)
    const { body } = await get(0, pathOf({ length: 3 * MiB, prefix: '[' }), { socketPath })
    expect(body.equals(serving.expected({ length: 3 * MiB, prefix: '[' }))).toBe(true)
    await serving.ended(1)
    expect(serving.outcomes[0]).toEqual(complete(3 * MiB))
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('keeps what others write to the socket meanwhile behind the body', async () => {
    const serving = new Serving(backend, file)
    await withServer(
      (req, res) => {
        void serving.answer(req, res)
        if (backend === 'native') res.socket?.write('STRAY')
      },
      async (port) => {
        const client = new RawClient(port, getText(pathOf({ length: LARGE })))
        await eventually(() => serving.started === 1)
        expect((await client.readBody(LARGE)).subarray(0, LARGE).equals(file.content)).toBe(true)
      },
    )
  })

  it('does not reject, whatever it is given', async () => {
    const serving = new Serving(backend, file)
    await withServer(
      (req, res) => void serving.answer(req, res, { 'x-bad': 'line\nbreak' }),
      async (port) => {
        await expect(get(port, pathOf({ length: MiB }))).rejects.toThrow(/socket hang up|ECONNRESET/)
        await serving.ended(1)
        expect(serving.outcomes[0]).toMatchObject({ complete: false, code: 'ERR_SEALOG_INTERNAL', error: { code: 'ERR_INVALID_CHAR' } })
      },
    )
  })

  if (backend === 'native') {
    it('survives short sends and a failing disk', async () => {
      const { EIO } = await import('node:os').then(({ constants }) => constants.errno)
      const serving = new Serving(backend, file)
      const testing = testingOf(backend)
      await withServer(serving.answer, async (port) => {
        testing.fault('sendfile', 1, 0, true, 50_001)
        const { body } = await get(port, pathOf({ length: 4 * MiB }))
        expect(body.equals(file.content.subarray(0, 4 * MiB))).toBe(true)
        testing.clearFaults()
        testing.fault('sendfile', 2, EIO, true, 0)
        testing.fault('sendfile', 1, 0, false, 1000)
        await expect(get(port, pathOf({ length: 4 * MiB }))).rejects.toThrow(/aborted|ECONNRESET/)
        await serving.ended(2)
        expect(serving.outcomes[1]).toEqual({ way: 'sendfile', complete: false, bytes: 1000, code: 'EIO' })
      })
    })
  }
})
