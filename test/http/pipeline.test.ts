/** Many requests at once on one connection: the work and the memory of one answer at a time, and nothing is left when the client goes. */
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { HttpServer } from '../../lib/cli/http-server.js'
import { createHandler } from '../../lib/http/index.js'
import { readSmallBody } from '../../lib/http/small-bodies.js'
import { Log } from '../../lib/index.js'
import { backends, environmentOf, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { until } from '../support/logs.js'
import { withServedLog } from './serving.js'
import { ContentFile } from './transfer-support.js'

const REQUESTS = 100

describe.each(backends)('a client that sends many requests at once (%s)', (backend) => {
  const fill = async (log: Log<unknown>) => {
    for (let i = 0; i < 20_000; i++) log.enqueue({ i, text: 'x'.repeat(50) })
    await log.flush()
  }

  it('and takes no answer has few of them rendered', async () => {
    await withServedLog({ backend, kind: 'writer' }, { codec: 'json' }, {}, fill, async ({ port, token, handler }) => {
      const warnings: Error[] = []
      const listener = (warning: Error) => void warnings.push(warning)
      process.on('warning', listener)
      const client = connect(port, '127.0.0.1').pause()
      const requests = Array.from({ length: REQUESTS }, (_, i) => `GET /?offset=${token(i)} HTTP/1.1\r\nhost: x\r\n\r\n`)
      // One more on a connection of its own comes after them: when it is answered they have had their turn.
      await new Promise<void>((resolve) => client.write(requests.join(''), () => resolve()))
      const stats = () => handler.stats().transfers
      await until(() => stats().fallbacks.not_sealed > 0, 'the first is answered')
      const other = connect(port, '127.0.0.1', () => other.write(`GET /?offset=${token(19_999)} HTTP/1.1\r\nhost: x\r\n\r\n`))
      await new Promise((resolve) => other.once('data', resolve))
      expect(stats().fallbacks.not_sealed).toBeLessThan(REQUESTS / 10)
      client.destroy()
      other.destroy()
      process.off('warning', listener)
      expect(warnings).toEqual([])
    })
  })

  it('and goes away is forgotten, with all that waited in its pipeline', async () => {
    await withServedLog({ backend, kind: 'writer' }, { codec: 'json' }, {}, fill, async ({ port, token, handler }) => {
      const client = connect(port, '127.0.0.1')
      client.write(`GET /?offset=${token(20_000)}&live=long-poll HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(5))
      await until(() => handler.stats().liveClients === 1, 'the first waits')
      client.destroy()
      await until(() => handler.stats().liveClients === 0, 'nobody waits')
    })
  })

  it('and goes away does not keep a server from stopping', async () => {
    const log = await Log.open<unknown>(freshPath(), { backend, codec: 'json' })
    await log.append(1)
    const handler = createHandler(log)
    let begun = 0
    const server = await HttpServer.listen(
      (req, res) => {
        begun++
        handler(req, res)
      },
      { host: '127.0.0.1', port: 0 },
    )
    const client = connect(Number(new URL(server.url).port), '127.0.0.1')
    client.write('GET /?offset=now&live=long-poll HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(3))
    await until(() => begun === 3, 'the requests are there')
    client.destroy()
    await server.stop(() => handler.close())
    await log.close()
  })

  it('tiny parts of files do not fill the memory of small bodies', async () => {
    const file = new ContentFile(40_000)
    const environment = environmentOf(backend)
    const part = (position: number) => readSmallBody({ fd: file.fd, position, length: 1, prefix: '', key: file.path }, environment, file.path)
    for (let from = 0; from < 40_000; from += 1000) await Promise.all(Array.from({ length: 1000 }, (_, i) => part(from + i)))
    const before = testingOf(backend).counts().read ?? 0
    await part(0)
    expect(testingOf(backend).counts().read).toBe(before + 1)
    file.close()
  })
})
