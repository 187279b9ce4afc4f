import { Agent, createServer, type IncomingMessage, type RequestListener, request, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createHandler, formatOffsetToken, type Handler, type HandlerOptions } from '../../lib/http/index.js'
import { Log, type LogOptions, type LogView } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  readonly text: string
}

/** A server on a free port of this machine, and the connections it has. */
export interface Served {
  readonly url: string
  readonly port: number
  readonly server: Server
}

export async function withServer<R>(listener: RequestListener, use: (served: Served) => Promise<R>): Promise<R> {
  const server = createServer(listener)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    return await use({ url: `http://127.0.0.1:${port}`, port, server })
  } finally {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
}

/** One request, unless an agent is given with a connection of its own; the target goes out as it is given. */
export function send(url: string, headers: Record<string, string> = {}, method = 'GET', agent: Agent | false = false): Promise<Answer> {
  const { port, host } = new URL(url)
  const path = url.slice(url.indexOf(host) + host.length) || '/'
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent }, (res) => {
      const parts: Buffer[] = []
      res.on('data', (part: Buffer) => parts.push(part))
      res.on('error', reject)
      res.on('end', () => {
        const body = Buffer.concat(parts)
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body, text: body.toString() })
      })
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

export type ViewKind = 'writer' | 'reader'

/** Every backend with the two kinds of views that can be served. */
export const servedViews = backends.flatMap((backend) => (['writer', 'reader'] as const).map((kind) => ({ backend, kind })))

export interface ServedLog extends Served {
  readonly log: Log<unknown>
  readonly view: LogView<unknown>
  readonly handler: Handler
  /** The token of an offset in the present epoch. */
  token(offset: number): string
}

/** A fresh log, served by its writer or by a reader beside it. `fill` comes first. */
export async function withServedLog<R>(
  { backend, kind }: { backend: Backend; kind: ViewKind },
  options: LogOptions,
  handlerOptions: HandlerOptions,
  fill: (log: Log<unknown>) => Promise<unknown>,
  use: (served: ServedLog) => Promise<R>,
): Promise<R> {
  const directory = freshPath()
  const log: Log<unknown> = await Log.open<unknown>(directory, { backend, ...options })
  try {
    await fill(log)
    const reader = kind === 'reader' ? await Log.openReader<unknown>(directory, { backend, pollIntervalMs: 10 }) : undefined
    try {
      const view = reader ?? log
      const handler = createHandler(view, { onError: (error) => unexpected.push(error), ...handlerOptions })
      return await withServer(handler, (served) => use({ ...served, log, view, handler, token: (offset) => formatOffsetToken({ epoch: log.epoch, offset }) }))
    } finally {
      await reader?.close()
    }
  } finally {
    await log.close()
  }
}

/** What handlers reported as their own failure; suites check that it stays empty. */
export const unexpected: unknown[] = []

/** Reads from an offset to the end, answer by answer, following the tokens. */
export async function readToEnd(url: string, offset: string): Promise<Answer[]> {
  const answers: Answer[] = []
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    for (let next = offset; ; ) {
      const answer = await send(`${url}/?offset=${next}`, {}, 'GET', agent)
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
      answers.push(answer)
      if (answer.headers['stream-up-to-date'] === 'true') return answers
      next = String(answer.headers['stream-next-offset'])
    }
  } finally {
    agent.destroy()
  }
}

/** The values that answers of a form carry, one behind the other. */
export function concatenated(form: 'json' | 'ndjson' | 'raw', answers: readonly Answer[]): string {
  if (form !== 'json') return answers.map(({ text }) => text).join('')
  return answers
    .map(({ text }) => text.slice(1, -1))
    .filter((text) => text !== '')
    .join(',')
}
