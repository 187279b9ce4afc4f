import { mkdirSync, writeFileSync } from 'node:fs'
import { type ClientRequest, get, type IncomingMessage, request } from 'node:http'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Log, type LogOptions } from '../../lib/index.js'
import { type Command, sealog, start, temporary, until } from './command.js'

let place: ReturnType<typeof temporary>
const running: Command[] = []
beforeEach(() => {
  place = temporary()
})
afterEach(async () => {
  for (const { child, result } of running.splice(0)) {
    child.kill('SIGKILL')
    await result
  }
  place.remove()
})

interface Served {
  readonly command: Command
  readonly url: string
  readonly logs: readonly string[]
}

async function serve(directory: string, ...options: string[]): Promise<Served> {
  const command = start(['serve', directory, '--port', '0', '--json', ...options])
  running.push(command)
  let over = false
  void command.result.then(() => {
    over = true
  })
  await until(() => over || command.stdout().includes('\n'), 'the server to listen')
  if (over) throw new Error((await command.result).stderr)
  return { command, ...(JSON.parse(command.stdout()) as { url: string; logs: string[] }) }
}

async function makeLog(name: string, values: readonly unknown[], options: LogOptions = {}): Promise<string> {
  const directory = join(place.path, name)
  const log = await Log.open<unknown>(directory, { codec: 'json', ...options })
  if (values.length > 0) await log.appendBatch(values)
  await log.chunks.seal()
  await log.close()
  return directory
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** The path goes out as it stands, which `fetch` would not do. */
function ask(url: string, path: string, method = 'GET'): Promise<Answer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const asked = request({ hostname, port, path, method }, (res) => {
      res.setEncoding('utf8')
      let body = ''
      res.on('data', (text: string) => {
        body += text
      })
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body }))
      res.on('error', reject)
    })
    asked.on('error', reject)
    asked.end()
  })
}

const codeIn = ({ body }: Answer) => (JSON.parse(body) as { error: { code: string } }).error.code

const canConnect = (url: string) =>
  new Promise<boolean>((resolve) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })

async function untilRefused(url: string): Promise<void> {
  while (await canConnect(url)) await new Promise((resolve) => setTimeout(resolve, 10))
}

test.each(['native', 'js'])('one log at the root, with what a live writer adds (%s)', async (backend) => {
  const directory = await makeLog('log', [1, 'two', { three: 3 }])
  const { url, logs } = await serve(directory, '--backend', backend)
  expect(logs).toEqual([`${url}/`])
  const first = await ask(url, '/?offset=-1')
  expect(first.status).toBe(200)
  expect(JSON.parse(first.body)).toEqual([1, 'two', { three: 3 }])

  const waiting = ask(url, `/?live=long-poll&offset=${first.headers['stream-next-offset']}`)
  await sealog(['append', directory], '"four"\n')
  const news = await waiting
  expect(JSON.parse(news.body)).toEqual(['four'])
  const all = await ask(url, '/?offset=-1')
  expect(JSON.parse(all.body).concat(all.headers['stream-up-to-date'] ? [] : ['four'])).toEqual([1, 'two', { three: 3 }, 'four'])
  expect((await ask(url, '/', 'PUT')).status).toBe(405)
})

test('a directory of logs: each at its name, new ones too; everything else is 404 with an error in JSON', async () => {
  await makeLog('one', ['first'])
  await makeLog('two words', ['second'])
  mkdirSync(join(place.path, 'no log'))
  writeFileSync(join(place.path, 'file'), '["secret"]')
  await makeLog('.hidden', ['third'])
  const { url, logs } = await serve(place.path)
  expect(logs).toEqual(['.hidden', 'one', 'two%20words'].map((name) => `${url}/${name}`))
  expect((await ask(url, '/one')).body).toBe('["first"]')
  expect((await ask(url, '/two%20words?offset=-1')).body).toBe('["second"]')
  await makeLog('later', ['fourth'])
  expect((await ask(url, '/later')).body).toBe('["fourth"]')

  const tricks = [
    '/',
    '/none',
    '/no%20log',
    '/file',
    '/ONE',
    '/one/',
    '/one/MANIFEST',
    '/one/segments',
    '/one/chunks/000000.json',
    '/.',
    '/..',
    '/../one',
    '/one/../one',
    '/one/../../etc/passwd',
    '/../../../../../../etc/passwd',
    '/%2e%2e/one',
    '/..%2fone',
    '/..%5cone',
    '/one%2f..%2fone',
    '/%2fetc%2fpasswd',
    '//etc/passwd',
    '/one%00',
    '/%00',
    '/metrics',
    `/${encodeURIComponent(join(place.path, 'one'))}`,
    `/${'a'.repeat(5000)}`,
  ]
  for (const path of tricks) {
    const answer = await ask(url, path)
    expect({ path, status: answer.status, type: answer.headers['content-type'] }).toEqual({ path, status: 404, type: 'application/json' })
    expect(codeIn(answer)).toBe('ERR_SEALOG_NOT_FOUND')
  }
  const malformed = await ask(url, '/%zz')
  expect(malformed.status).toBe(400)
  expect(codeIn(malformed)).toBe('ERR_SEALOG_ARGUMENT')
})

describe('a signal', () => {
  const VALUE = 'x'.repeat(1_000_000)
  // more than the buffers of both sockets take, so that most of it is still to be sent
  const COUNT = 48
  let served: Served

  beforeEach(async () => {
    const options = { chunkBytes: 2 ** 27, segmentBytes: 2 ** 27, maxBatchBytes: 2 ** 26, durability: 'flush' as const }
    served = await serve(await makeLog('log', Array(COUNT).fill(VALUE), options))
  })

  /** A client that has got the beginning of an answer and takes no more for now. */
  function slowClient(): Promise<{ asked: ClientRequest; res: IncomingMessage }> {
    return new Promise((resolve, reject) => {
      const asked = get(`${served.url}/?offset=-1`, (res) => {
        res.once('readable', () => resolve({ asked, res }))
      })
      asked.on('error', reject)
    })
  }

  test('lets answers under way come to their end, answers who waits, and accepts nothing more', async () => {
    const { child, result } = served.command
    const tail = (await ask(served.url, '/?offset=now')).headers['stream-next-offset']
    const waiting = ask(served.url, `/?live=long-poll&offset=${tail}`)
    const stream = ask(served.url, `/?live=sse&offset=${tail}`)
    const { res } = await slowClient()
    let over = false
    void result.then(() => {
      over = true
    })
    child.kill('SIGTERM')
    await untilRefused(served.url)
    expect((await waiting).status).toBe(204)
    expect((await stream).status).toBe(200)
    expect(over).toBe(false)
    let length = 0
    for await (const piece of res) length += (piece as Buffer).length
    expect(length).toBe(1 + COUNT * (VALUE.length + 3))
    const { status, signal, stderr } = await result
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  })

  test('the second one ends at once', async () => {
    const { child, result } = served.command
    const { asked } = await slowClient()
    asked.on('error', () => {})
    child.kill('SIGINT')
    await untilRefused(served.url)
    child.kill('SIGINT')
    const { signal } = await result
    expect(signal).toBe('SIGINT')
  })
})

describe('where it listens', () => {
  test.each(['0.0.0.0', '::', '192.0.2.1'])('%s can be reached by others: refused without --public', async (host) => {
    const directory = await makeLog('log', [1])
    const { status, stdout, stderr } = await sealog(['serve', directory, '--port', '0', '--host', host])
    expect(status).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain('--public')
  })

  test('--public allows it, localhost needs none', async () => {
    const directory = await makeLog('log', [1])
    const { url } = await serve(directory, '--host', '0.0.0.0', '--public', '--cors', 'https://pages.example')
    const asking = { headers: { origin: 'https://pages.example' } }
    expect((await fetch(url.replace('0.0.0.0', '127.0.0.1'), asking)).headers.get('access-control-allow-origin')).toBe('https://pages.example')
    expect((await ask(url, '/')).body).toBe('[1]')
    const local = await serve(directory, '--host', 'localhost')
    expect((await fetch(local.url, asking)).headers.get('access-control-allow-origin')).toBeNull()
    expect((await ask(local.url, '/')).body).toBe('[1]')
  })

  test('a port that is taken, one that is none, a directory without a log', async () => {
    const directory = await makeLog('log', [1])
    const other = createServer()
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => {
        const bound = other.address()
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0)
      })
    })
    try {
      const taken = await sealog(['serve', directory, '--port', String(port), '--json'])
      expect(taken.status).toBe(1)
      expect(JSON.parse(taken.stderr)).toMatchObject({ error: { code: 'ERR_SEALOG_IO', message: expect.stringContaining(`port ${port}`) } })
    } finally {
      other.close()
    }
    for (const wrong of ['65536', '-1', 'x']) expect((await sealog(['serve', directory, '--port', wrong])).status).toBe(2)
    mkdirSync(join(place.path, 'empty'))
    expect((await sealog(['serve', join(place.path, 'empty')])).status).toBe(4)
  })
})

describe('--metrics', () => {
  test('exposes them for every log that has been asked for', async () => {
    await makeLog('one', [1])
    const { url } = await serve(place.path, '--metrics')
    await ask(url, '/one')
    const { status, headers, body } = await ask(url, '/metrics')
    expect(status).toBe(200)
    expect(headers['content-type']).toContain('text/plain')
    expect(body).toMatch(/^sealog_\w+\{.*log=".*one".*\} \d/m)
  })

  test('says what is missing when prom-client is not installed', async () => {
    const hooks = `export const resolve = (name, context, next) => {
      if (name === 'prom-client') throw Object.assign(new Error('no such package'), { code: 'ERR_MODULE_NOT_FOUND' })
      return next(name, context)
    }`
    const dataUrl = (program: string) => `data:text/javascript,${encodeURIComponent(program)}`
    const without = dataUrl(`import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))})`)
    const directory = await makeLog('log', [1])
    const { status, stderr } = await sealog(['serve', directory, '--port', '0', '--metrics'], '', { nodeArgs: ['--import', without] })
    expect(status).toBe(1)
    expect(stderr).toContain('npm install prom-client')
    expect(stderr).toContain('ERR_SEALOG_UNSUPPORTED')
  })
})
