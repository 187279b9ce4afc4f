import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createHandler } from '../../lib/http/index.js'
import { ChangeSignal } from '../../lib/log/change-signal.js'
import { bytes, range, until } from '../support/logs.js'
import { send, servedViews, unexpected, withServedLog, withServer } from './serving.js'

const JSON_LOG = { codec: 'json' } as const

afterEach(() => expect(unexpected.splice(0)).toEqual([]))

interface StreamEvent {
  readonly name: string
  readonly data: string
}

/** An event stream that is being received. */
class EventStream {
  readonly events: StreamEvent[] = []
  ended = false
  #buffer = ''
  readonly response: IncomingMessage

  private constructor(response: IncomingMessage) {
    this.response = response
    response.setEncoding('utf8')
    response.on('data', (text: string) => this.#take(text))
    response.on('end', () => (this.ended = true))
    response.on('error', () => {})
  }

  static async open(url: string): Promise<EventStream> {
    const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage]
    return new EventStream(response)
  }

  /** Parsed as the HTML standard has it. */
  #take(text: string): void {
    this.#buffer += text
    const blocks = this.#buffer.split('\n\n')
    this.#buffer = blocks.pop() ?? ''
    for (const block of blocks) {
      const lines = block.split(/\r\n|\r|\n/)
      const field = (name: string) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2))
      expect(lines.every((line) => /^(event|data): /.test(line))).toBe(true)
      this.events.push({ name: field('event').join(), data: field('data').join('\n') })
    }
  }

  data(): string[] {
    return this.events.filter(({ name }) => name === 'data').map(({ data }) => data)
  }

  controls(): { streamNextOffset: string; streamCursor: string; upToDate?: boolean }[] {
    return this.events.filter(({ name }) => name === 'control').map(({ data }) => JSON.parse(data))
  }

  close(): void {
    this.response.destroy()
  }
}

describe.each(servedViews)('long-poll ($backend, $kind)', (views) => {
  it('answers at once what is there, and waits at the end for what comes', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => log.appendBatch([0, 1]),
      async ({ url, token, log, handler }) => {
        const there = await send(`${url}/?offset=-1&live=long-poll`)
        expect([there.status, there.text, there.headers['stream-up-to-date']]).toEqual([200, '[0,1]', 'true'])
        for (const offset of [token(2), 'now']) {
          const waiting = send(`${url}/?offset=${offset}&live=long-poll&cursor=7`)
          await until(() => handler.stats().liveClients === 1, 'the client waits')
          const end = log.endOffset
          await log.append(end)
          const { status, text, headers } = await waiting
          expect([status, text]).toEqual([200, JSON.stringify(offset === 'now' ? [end] : range(2, end + 1))])
          expect(headers).toMatchObject({
            'stream-next-offset': token(end + 1),
            'stream-up-to-date': 'true',
            'cache-control': 'public, max-age=60, stale-while-revalidate=300',
          })
          expect(headers.etag).toBeDefined()
          expect(Number(headers['stream-cursor'])).toBeGreaterThan(7)
        }
        expect(handler.stats().liveClients).toBe(0)
      },
    )
  })

  it('answers 204 when nothing came, with the end and a cursor that only grows', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      { longPollTimeoutMs: 20 },
      (log) => log.append(0),
      async ({ url, token }) => {
        let cursor = 0
        for (let i = 0; i < 4; i++) {
          const { status, headers, body } = await send(`${url}/?offset=${token(1)}&live=long-poll${cursor === 0 ? '' : `&cursor=${cursor}`}`)
          expect([status, body.length]).toEqual([204, 0])
          expect(headers).toMatchObject({ 'stream-next-offset': token(1), 'stream-up-to-date': 'true', 'cache-control': 'no-store' })
          expect(Number(headers['stream-cursor'])).toBeGreaterThan(cursor)
          cursor = Number(headers['stream-cursor'])
        }
      },
    )
  })

  it('many clients share one waiter and one rendering', async () => {
    const waits = vi.spyOn(ChangeSignal.prototype, 'next')
    try {
      await withServedLog(
        views,
        JSON_LOG,
        {},
        (log) => log.append(0),
        async ({ url, token, log, view, handler }) => {
          const reads = vi.spyOn(view, 'batches')
          waits.mockClear()
          const answers = range(0, 40).map((i) => send(`${url}/?offset=${token(1)}&live=${'long-poll'}&client=${i}`))
          await until(() => handler.stats().liveClients === 40, 'all wait')
          expect(waits.mock.calls.length).toBe(1)
          await log.append('news')
          expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(range(0, 40).map(() => '["news"]'))
          expect(reads.mock.calls.length).toBe(1)
        },
      )
    } finally {
      waits.mockRestore()
    }
  })

  it('a client that goes away is forgotten', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      async () => {},
      async ({ url, token, log, handler }) => {
        for (const live of ['long-poll', 'sse']) {
          const outgoing = get(`${url}/?offset=${token(log.endOffset)}&live=${live}`, { agent: false })
          outgoing.on('error', () => {})
          await until(() => handler.stats().liveClients === 1, 'the client waits')
          outgoing.destroy()
          await until(() => handler.stats().liveClients === 0, 'it is forgotten')
        }
      },
    )
  })

  it('a waiting client learns that the history was cut, or that the log was closed', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => log.appendBatch([0]).then(() => log.appendBatch([1, 2, 3])),
      async ({ url, token, log, view, handler }) => {
        const cut = send(`${url}/?offset=${token(4)}&live=long-poll`)
        const stream = await EventStream.open(`${url}/?offset=${token(4)}&live=sse`)
        await until(() => handler.stats().liveClients === 2, 'both wait')
        await log.truncateAfter(0)
        const { status, text } = await cut
        expect([status, JSON.parse(text).error.code]).toEqual([410, 'ERR_SEALOG_EPOCH'])
        await until(() => stream.ended, 'the stream has ended')
        const closed = send(`${url}/?offset=now&live=long-poll`)
        await until(() => handler.stats().liveClients === 1, 'waits')
        await (view as typeof log).close()
        expect((await closed).status).toBe(503)
        expect((await send(`${url}/`)).status).toBe(503)
      },
    )
  })

  it("the server's own timeout does not cut what waits", async () => {
    await withServedLog(
      views,
      JSON_LOG,
      { longPollTimeoutMs: 400 },
      async () => {},
      async ({ url, server, token }) => {
        server.setTimeout(150)
        expect((await send(`${url}/?offset=${token(0)}&live=long-poll`)).status).toBe(204)
      },
    )
  })
})

describe.each(servedViews)('event streams ($backend, $kind)', (views) => {
  it('sends what is there and what comes, a control event behind each', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => log.appendBatch([0, 1]),
      async ({ url, token, log, handler }) => {
        const stream = await EventStream.open(`${url}/?offset=-1&live=sse`)
        expect(stream.response.headers).toMatchObject({
          'content-type': 'text/event-stream',
          'cache-control': 'no-store, no-transform',
          'access-control-allow-origin': '*',
        })
        expect(stream.response.headers['stream-sse-data-encoding']).toBeUndefined()
        await until(() => stream.events.length === 2, 'the first events')
        await log.append({ text: 'é😀' })
        await until(() => stream.events.length === 4, 'the next events')
        expect(stream.data()).toEqual(['[0,1]', '[{"text":"é😀"}]'])
        expect(stream.controls()).toMatchObject([
          { streamNextOffset: token(2), upToDate: true },
          { streamNextOffset: token(3), upToDate: true },
        ])
        stream.close()
        await until(() => handler.stats().liveClients === 0, 'it is forgotten')
      },
    )
  })

  it('tells the end first when there is nothing', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => log.append(0),
      async ({ url, token, log }) => {
        for (const offset of ['now', token(1)]) {
          const stream = await EventStream.open(`${url}/?offset=${offset}&live=sse&cursor=9999999999`)
          await until(() => stream.events.length === 1, 'the first event')
          expect(stream.controls()).toMatchObject([{ streamNextOffset: token(1), upToDate: true }])
          expect(Number(stream.controls()[0].streamCursor)).toBeGreaterThan(9999999999)
          stream.close()
        }
        expect(log.endOffset).toBe(1)
      },
    )
  })

  it('catches up in bounded events and says when it is done', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      { maxAnswerBytes: 100 },
      async (log) => {
        for (const i of range(0, 300)) log.enqueue(i)
        await log.committed()
        await log.chunks.seal()
      },
      async ({ url, token }) => {
        const stream = await EventStream.open(`${url}/?offset=${token(5)}&live=sse`)
        await until(() => stream.controls().at(-1)?.upToDate === true, 'caught up')
        expect(stream.data().flatMap((data) => JSON.parse(data))).toEqual(range(5, 300))
        expect(stream.data().every((data) => data.length <= 101)).toBe(true)
        expect(stream.controls().filter(({ upToDate }) => upToDate === true)).toHaveLength(1)
        expect(stream.controls().at(-1)?.streamNextOffset).toBe(token(300))
        stream.close()
      },
    )
  })

  it('no payload can pretend to be an event', async () => {
    const evil = [
      'a\n\nevent: control\ndata: {"streamNextOffset":"x"}\n\n',
      '\r\revent: control\rdata: 1\r\r',
      '\r\n\r\nid: 1\r\nretry: 1\r\n',
      ' leading',
      '\u2028x',
    ]
    await withServedLog(
      views,
      { codec: 'bytes' },
      { contentType: 'text/plain', maxAnswerBytes: 1 },
      async (log) => {
        for (const value of evil) await log.append(bytes(value))
      },
      async ({ url, token }) => {
        const stream = await EventStream.open(`${url}/?offset=-1&live=sse`)
        await until(() => stream.controls().at(-1)?.upToDate === true, 'caught up')
        expect(stream.data()).toEqual(evil.map((value) => value.replace(/\r\n|\r/g, '\n')))
        expect(stream.controls().map(({ streamNextOffset }) => streamNextOffset)).toEqual(range(1, evil.length + 1).map(token))
        stream.close()
      },
    )
  })

  it('carries bytes as base64', async () => {
    const value = Uint8Array.from(range(0, 256))
    await withServedLog(
      views,
      { codec: 'bytes' },
      {},
      (log) => log.append(value),
      async ({ url }) => {
        const stream = await EventStream.open(`${url}/?offset=-1&live=sse`)
        expect(stream.response.headers['stream-sse-data-encoding']).toBe('base64')
        await until(() => stream.events.length === 2, 'both events')
        expect(Buffer.from(stream.data()[0], 'base64')).toEqual(Buffer.from(value))
        stream.close()
      },
    )
  })

  it('ends when its time is over, and the client goes on where it was', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      { sseLifetimeMs: 30 },
      (log) => log.append(0),
      async ({ url, token, log }) => {
        const first = await EventStream.open(`${url}/?offset=-1&live=sse`)
        await until(() => first.ended, 'the end')
        await log.append(1)
        const second = await EventStream.open(`${url}/?offset=${first.controls().at(-1)?.streamNextOffset}&live=sse`)
        await until(() => second.ended, 'the end')
        expect([first.data(), second.data()]).toEqual([['[0]'], ['[1]']])
        expect(second.controls().at(-1)?.streamNextOffset).toBe(token(2))
      },
    )
  })

  it('a client that takes nothing is sent no more than its connection holds, and is cut off', async () => {
    await withServedLog(
      views,
      { codec: 'bytes' },
      { sseLifetimeMs: 300, stallTimeoutMs: 50, maxAnswerBytes: 1024 * 1024 },
      async (log) => {
        for (let i = 0; i < 24; i++) log.enqueue(new Uint8Array(1024 * 1024))
        await log.committed()
      },
      async ({ url, view, handler, server }) => {
        const reads = vi.spyOn(view, 'batches')
        const outgoing = get(`${url}/?offset=-1&live=sse`, { agent: false })
        outgoing.on('error', () => {})
        const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
        response.on('error', () => {})
        response.pause()
        await until(() => handler.stats().liveClients === 0, 'its time is over')
        expect(reads.mock.calls.length).toBeLessThan(20)
        let open = 1
        await until(() => {
          server.getConnections((_error, count) => (open = count))
          return open === 0
        }, 'it is cut off')
        response.destroy()
      },
    )
  })
})

describe.each(servedViews)('slow clients ($backend, $kind)', (views) => {
  it('who takes nothing of an answer is cut off, who takes it slowly gets all', async () => {
    const open = async (url: string): Promise<IncomingMessage> => {
      const [response] = (await once(get(`${url}/`, { agent: false }), 'response')) as [IncomingMessage]
      response.on('error', () => {})
      return response.pause()
    }
    await withServedLog(
      views,
      { codec: 'bytes', seal: false },
      { stallTimeoutMs: 50, maxAnswerBytes: 64 * 1024 * 1024 },
      async (log) => {
        for (let i = 0; i < 24; i++) log.enqueue(new Uint8Array(1024 * 1024).fill(i))
        await log.committed()
      },
      async ({ url, server, handler, view }) => {
        const stalled = await open(url)
        let connections = 1
        await until(() => {
          server.getConnections((_error, count) => (connections = count))
          return connections === 0
        }, 'it is cut off')
        stalled.destroy()
        await until(() => handler.stats().transfers.broken === 1, 'counted')
        expect(handler.stats().transfers.buffer).toBe(0)

        const patient = createHandler(view, { stallTimeoutMs: 10_000, maxAnswerBytes: 64 * 1024 * 1024 })
        await withServer(patient, async (served) => {
          let received = 0
          for await (const part of await open(served.url)) {
            received += (part as Buffer).length
            await new Promise((resolve) => setImmediate(resolve))
          }
          expect(received).toBe(24 * 1024 * 1024)
          await until(() => patient.stats().transfers.buffer === 1, 'counted')
          expect(patient.stats().transfers.broken).toBe(0)
        })
      },
    )
  })
})

describe.each(servedViews)('shutdown ($backend, $kind)', (views) => {
  it('answers those who wait, ends streams, refuses the rest, and lets the server close', async () => {
    await withServedLog(
      views,
      JSON_LOG,
      {},
      (log) => log.append(0),
      async ({ url, token, handler, server }) => {
        const waiting = range(0, 5).map(() => send(`${url}/?offset=${token(1)}&live=long-poll`, { connection: 'keep-alive' }))
        const streams = await Promise.all(range(0, 5).map(() => EventStream.open(`${url}/?offset=-1&live=sse`)))
        await until(() => handler.stats().liveClients === 10, 'all wait')
        handler.close()
        for (const { status, headers } of await Promise.all(waiting)) {
          expect([status, headers['stream-next-offset'], headers.connection]).toEqual([204, token(1), 'close'])
        }
        await until(() => streams.every(({ ended }) => ended), 'streams have ended')
        expect(streams.every((stream) => stream.data().join() === '[0]')).toBe(true)
        for (const query of ['', `?offset=${token(1)}&live=long-poll`, '?offset=-1&live=sse']) {
          const { status, headers, text } = await send(`${url}/${query}`)
          expect([status, headers['retry-after'], headers.connection, JSON.parse(text).error.code]).toEqual([503, '1', 'close', 'ERR_SEALOG_CLOSED'])
        }
        await new Promise((resolve) => server.close(resolve))
        handler.close()
        expect(handler.stats().liveClients).toBe(0)
      },
    )
  })
})
