import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createHandler, formatOffsetToken } from '../../lib/http/index.js'
import { Log, LogError, type LogView } from '../../lib/index.js'
import { operationError } from '../../lib/telemetry/channels.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, range, segmentPath } from '../support/logs.js'
import { type Answer, send, servedViews, unexpected, withServedLog, withServer } from './serving.js'

afterEach(() => expect(unexpected.splice(0)).toEqual([]))

/** The code of an error answer, after a look at all that such an answer must be. */
function errorCode(answer: Answer): string {
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(answer.headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  const { error } = JSON.parse(answer.text) as { error: { code: string; message: string } }
  expect(Object.keys(error)).toEqual(['code', 'message'])
  expect(answer.text).not.toMatch(/ at |\.ts|\.js|\/dev\/shm|\/tmp|node_modules/)
  return error.code
}

describe.each(servedViews)('bad requests ($backend, $kind)', (views) => {
  it('get the status of the protocol and a code', async () => {
    await withServedLog(
      views,
      { codec: 'json' },
      {},
      (log) => log.appendBatch([1, 2, 3]),
      async ({ url, token, handler, log }) => {
        const valid = token(1)
        const cases: [string, number, string][] = [
          ['offset=', 400, 'ERR_SEALOG_ARGUMENT'],
          ['offset', 400, 'ERR_SEALOG_ARGUMENT'],
          ['offset=0', 400, 'ERR_SEALOG_ARGUMENT'],
          ['offset=-2', 400, 'ERR_SEALOG_ARGUMENT'],
          ['offset=NOW', 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}x`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=%00${valid}`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid.replace('_', '/')}`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${'9'.repeat(10)}_${'9'.repeat(16)}`, 400, 'ERR_SEALOG_ARGUMENT'],
          ['offset=../../../etc/passwd', 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${'1'.repeat(8000)}`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&offset=${valid}`, 400, 'ERR_SEALOG_ARGUMENT'],
          ['offset=-1&offset=now', 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${token(4)}`, 400, 'ERR_SEALOG_OFFSET_RANGE'],
          [`offset=${token(Number.MAX_SAFE_INTEGER)}&live=sse`, 400, 'ERR_SEALOG_OFFSET_RANGE'],
          [`offset=${formatOffsetToken({ epoch: log.epoch + 1, offset: 1 })}`, 410, 'ERR_SEALOG_EPOCH'],
          [`offset=${formatOffsetToken({ epoch: 0, offset: 1 })}&live=long-poll`, 410, 'ERR_SEALOG_EPOCH'],
          ['live=long-poll', 400, 'ERR_SEALOG_ARGUMENT'],
          ['live=sse', 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&live=true`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&live=`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&live=sse&live=sse`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&cursor=x`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&cursor=${'9'.repeat(16)}`, 400, 'ERR_SEALOG_ARGUMENT'],
          [`offset=${valid}&cursor=1&cursor=2`, 400, 'ERR_SEALOG_ARGUMENT'],
        ]
        for (const [query, status, code] of cases) {
          const answer = await send(`${url}/?${query}`)
          expect([query, answer.status, errorCode(answer)]).toEqual([query, status, code])
        }
        expect(handler.stats().liveClients).toBe(0)
        expect((await send(`${url}/?offset=${valid}`)).text).toBe('[2,3]')
      },
    )
  })

  it('writes are refused, and say what is allowed', async () => {
    await withServedLog(
      views,
      { codec: 'json' },
      {},
      (log) => log.append(1),
      async ({ url, log }) => {
        for (const method of ['PUT', 'POST', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND']) {
          const answer = await send(`${url}/`, {}, method)
          expect([answer.status, answer.headers.allow, errorCode(answer)]).toEqual([405, 'GET, HEAD, OPTIONS', 'ERR_SEALOG_UNSUPPORTED'])
        }
        expect(log.endOffset).toBe(1)
      },
    )
  })

  it('damaged records are an error without their names, and never wrong data', async () => {
    const failures: unknown[] = []
    const published: unknown[] = []
    const listener = (message: unknown) => void published.push(message)
    const channel = operationError as unknown as {
      subscribe(listener: (message: unknown) => void): void
      unsubscribe(listener: (message: unknown) => void): void
    }
    channel.subscribe(listener)
    try {
      await withServedLog(
        views,
        { codec: 'bytes', cache: false, seal: false, segmentBytes: 64 * 1024 },
        { onError: (error) => failures.push(error), maxAnswerBytes: 1000 },
        async (log) => {
          for (const i of range(0, 1000)) log.enqueue(bytes(`record ${i} ${'x'.repeat(200)}`))
          await log.committed()
        },
        async ({ url, token, view }) => {
          const file = segmentPath(view.directory, 0)
          const content = readFileSync(file)
          content[content.indexOf('record 50 ')] ^= 1
          writeFileSync(file, content)
          const answers: Answer[] = []
          do answers.push(await send(`${url}/?offset=${answers.at(-1)?.headers['stream-next-offset'] ?? token(40)}`))
          while (answers[answers.length - 1].status === 200 && answers[answers.length - 1].headers['stream-up-to-date'] === undefined)
          const last = answers[answers.length - 1]
          expect([last.status, errorCode(last)]).toEqual([500, 'ERR_SEALOG_CHECKSUM'])
          const expected = range(40, 50)
            .map((i) => `record ${i} ${'x'.repeat(200)}`)
            .join('')
          expect(
            expected.startsWith(
              answers
                .slice(0, -1)
                .map(({ text }) => text)
                .join(''),
            ),
          ).toBe(true)
          const damaged = answers[answers.length - 2].headers['stream-next-offset']
          for (const live of ['long-poll', 'sse']) {
            const answer = await send(`${url}/?offset=${damaged}&live=${live}`)
            expect([answer.status, errorCode(answer)]).toEqual([500, 'ERR_SEALOG_CHECKSUM'])
          }
          expect(failures.map((error) => (error as LogError).code)).toEqual(range(0, 3).map(() => 'ERR_SEALOG_CHECKSUM'))
          expect(published).toContainEqual({ log: view.directory, operation: 'serve', code: 'ERR_SEALOG_CHECKSUM' })
          // Others are served.
          expect((await send(`${url}/?offset=${token(900)}`)).status).toBe(200)
        },
      )
    } finally {
      channel.unsubscribe(listener)
    }
  })
})

describe.each(backends)('logs by name (%s)', (backend) => {
  async function withNamed(use: (url: string, asked: string[]) => Promise<void>): Promise<void> {
    const root = freshPath()
    const logs = new Map<string, Log<unknown>>()
    for (const name of ['a', 'b', 'teams/ä b']) {
      const log = await Log.open<unknown>(`${root}-${logs.size}`, { backend, codec: 'json' })
      await log.append(name)
      logs.set(name, log)
    }
    const asked: string[] = []
    const resolver = (name: string): Promise<LogView<unknown> | undefined> => {
      asked.push(name)
      if (name === 'throws') throw new TypeError('a defect at /tmp/secret.js')
      if (name === 'rejects') return Promise.reject(new Error('a defect'))
      if (name === 'missing') return Promise.reject(new LogError('ERR_SEALOG_NOT_FOUND', 'there is no log in /tmp/secret'))
      if (name === 'locked') return Promise.reject(new LogError('ERR_SEALOG_MANIFEST', 'MANIFEST is damaged in /tmp/secret'))
      return Promise.resolve(logs.get(name))
    }
    try {
      await withServer(createHandler(resolver, { onError: (error) => errors.push(error) }), ({ url }) => use(url, asked))
    } finally {
      for (const log of logs.values()) await log.close()
    }
  }
  const errors: unknown[] = []

  it('serves each under its name', async () => {
    await withNamed(async (url) => {
      for (const [path, value] of [
        ['a', 'a'],
        ['b', 'b'],
        ['b?offset=-1&live=long-poll', 'b'],
        ['%61', 'a'],
        ['teams/%C3%A4%20b', 'teams/ä b'],
      ]) {
        expect((await send(`${url}/${path}`)).text).toBe(JSON.stringify([value]))
      }
    })
  })

  it('unknown names and tricks are 404 or 400, and no log is asked for by a trick', async () => {
    await withNamed(async (url, asked) => {
      for (const name of ['c', 'A', '', 'a/', '/a', 'a//b', 'teams']) {
        expect([name, errorCode(await send(`${url}/${name}`))]).toEqual([name, 'ERR_SEALOG_NOT_FOUND'])
      }
      asked.length = 0
      for (const name of ['../a', 'b/../a', '..%2fa', '%2e%2e/a', '%2E%2E%2Fa', './a', 'a%00', 'a%2f..', '..\\a', '%5c..%5ca', '__ds', '__ds/x', 'a%0a']) {
        const answer = await send(`${url}/${name}`)
        expect([name, answer.status, errorCode(answer)]).toEqual([name, 404, 'ERR_SEALOG_NOT_FOUND'])
      }
      for (const name of ['%', '%zz', 'a%ff', '%c0%af']) {
        const answer = await send(`${url}/${name}`)
        expect([name, answer.status, errorCode(answer)]).toEqual([name, 400, 'ERR_SEALOG_ARGUMENT'])
      }
      expect(asked).toEqual([])
    })
  })

  it('a resolver that fails is an error of the server, told to onError and never to the client', async () => {
    await withNamed(async (url) => {
      errors.length = 0
      for (const [name, status, code] of [
        ['throws', 500, 'ERR_SEALOG_INTERNAL'],
        ['rejects', 500, 'ERR_SEALOG_INTERNAL'],
        ['locked', 500, 'ERR_SEALOG_MANIFEST'],
        ['missing', 404, 'ERR_SEALOG_NOT_FOUND'],
      ] as const) {
        const answer = await send(`${url}/${name}`)
        expect([answer.status, errorCode(answer)]).toEqual([status, code])
        expect(answer.text).not.toContain('secret')
      }
      expect(errors.map((error) => (error as Error).message)).toEqual(['a defect at /tmp/secret.js', 'a defect', 'MANIFEST is damaged in /tmp/secret'])
    })
  })

  it('warns once per code when nobody listens', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      const handler = createHandler(() => {
        throw new Error('a defect')
      })
      await withServer(handler, async ({ url }) => {
        for (let i = 0; i < 3; i++) expect((await send(`${url}/`)).status).toBe(500)
      })
      expect(warn.mock.calls).toEqual([['a request could not be answered: a defect', { type: 'SealogWarning', code: 'SEALOG_HTTP' }]])
    } finally {
      warn.mockRestore()
    }
  })
})

describe('what is no request of this protocol', () => {
  const exchange = (port: number, text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let received = ''
      socket.on('data', (data) => (received += data))
      socket.on('end', () => resolve(received))
      socket.on('error', reject)
      socket.write(text)
    })

  it('gets an answer, or its connection closed', async () => {
    const log = await Log.open<unknown>(freshPath(), { codec: 'json' })
    try {
      await log.append(1)
      await withServer(createHandler(log), async ({ port }) => {
        const statusOf = async (text: string) => (await exchange(port, text)).split('\r\n')[0]
        expect(await statusOf('GET http://elsewhere.example/x?offset=-1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toBe('HTTP/1.1 200 OK')
        expect(await statusOf('OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toBe('HTTP/1.1 204 No Content')
        expect(await statusOf('GET / HTTP/1.0\r\n\r\n')).toBe('HTTP/1.1 200 OK')
        expect(await statusOf(`GET / HTTP/1.1\r\nhost: x\r\nbig: ${'x'.repeat(20_000)}\r\n\r\n`)).toBe('HTTP/1.1 431 Request Header Fields Too Large')
        expect(await statusOf('POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello')).toBe('HTTP/1.1 405 Method Not Allowed')
        const pipelined = await exchange(
          port,
          `${'GET /?offset=-1 HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(9)}GET /?offset= HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
        )
        expect(pipelined.match(/HTTP\/1\.1 \d+/g)).toEqual([...range(0, 9).map(() => 'HTTP/1.1 200'), 'HTTP/1.1 400'])
        expect(pipelined.split('[1]')).toHaveLength(10)
      })
    } finally {
      await log.close()
    }
  })

  it('wrong options and sources are errors at once', () => {
    const code = (make: () => unknown) => {
      try {
        make()
      } catch (error) {
        return (error as LogError).code
      }
    }
    const resolver = () => undefined
    expect(code(() => createHandler(undefined as never))).toBe('ERR_SEALOG_ARGUMENT')
    expect(code(() => createHandler(resolver, { maxAnswerByte: 1 } as never))).toBe('ERR_SEALOG_OPTION')
    for (const options of [
      { maxAnswerBytes: 0 },
      { longPollTimeoutMs: 0 },
      { sseLifetimeMs: 1.5 },
      { stallTimeoutMs: -1 },
      { contentType: 'text/plain\r\nx: y' },
      { cors: ['a b'] },
      { cors: 'x\r\n' },
      { cache: 'none' },
      { onError: 1 },
    ]) {
      expect([options, code(() => createHandler(resolver, options as never))]).toEqual([options, 'ERR_SEALOG_OPTION'])
    }
  })
})
