import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { type Agent, createServer, type IncomingHttpHeaders, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import path from 'node:path'
import { newTransferCounters, sendFileBody, type TransferContext, type TransferCounters, type TransferOutcome } from '../../lib/http/transfer.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { environmentOf } from '../support/backends.js'
import { makeDirectory } from '../support/directories.js'

export const KiB = 1024
export const MiB = 1024 * KiB

/** A file of bytes that do not repeat themselves, open for reading, in the place of a sealed chunk. */
export class ContentFile {
  readonly path: string
  readonly content: Buffer
  readonly fd: number

  constructor(bytes: number, place = path.join(makeDirectory('content'), 'chunk')) {
    this.path = place
    const numbers = new Uint32Array(Math.ceil(bytes / 4))
    for (let i = 0, x = bytes | 1; i < numbers.length; i++) numbers[i] = x = (Math.imul(x, 1664525) + 1013904223) | 0
    this.content = Buffer.from(numbers.buffer, 0, bytes)
    writeFileSync(this.path, this.content)
    this.fd = openSync(this.path, 'r')
  }

  close(): void {
    closeSync(this.fd)
  }
}

/** What a request of these tests asks for, in its path: /position/length/prefix. */
export interface Asked {
  readonly position: number
  readonly length: number
  readonly prefix: string
}

export function pathOf({ position = 0, length, prefix = '' }: { position?: number; length: number; prefix?: string }): string {
  return `/${position}/${length}/${prefix}`
}

export function askedBy(req: IncomingMessage): Asked {
  const [, position, length, prefix] = (req.url ?? '').split('/')
  return { position: Number(position), length: Number(length), prefix }
}

/** Serves parts of a content file and remembers how each answer ended. */
export class Serving {
  readonly file: ContentFile
  readonly counters: TransferCounters = newTransferCounters()
  readonly outcomes: TransferOutcome[] = []
  readonly #backend: Backend
  readonly #waiting: Array<() => void> = []
  stallMs = 60_000
  /** Of the content. */
  key: string | undefined
  started = 0

  constructor(backend: Backend, file: ContentFile) {
    this.#backend = backend
    this.file = file
  }

  get context(): TransferContext {
    return { environment: environmentOf(this.#backend), log: '/log', chunk: 7, offset: 70, stallMs: this.stallMs, counters: this.counters }
  }

  readonly answer = async (req: IncomingMessage, res: ServerResponse, headers: Record<string, string> = {}): Promise<void> => {
    this.started++
    const body = { fd: this.file.fd, key: this.key, ...askedBy(req) }
    this.outcomes.push(await sendFileBody(req, res, 200, { 'content-type': 'application/json', ...headers }, body, this.context))
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** When so many answers have ended. */
  async ended(count: number): Promise<void> {
    while (this.outcomes.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  expected({ position = 0, length, prefix = '' }: { position?: number; length: number; prefix?: string }): Buffer {
    return Buffer.concat([Buffer.from(prefix), this.file.content.subarray(position, position + length)])
  }
}

export async function listening(server: Server, target: string | 0 = 0): Promise<number> {
  await new Promise<void>((resolve) => (target === 0 ? server.listen(0, '127.0.0.1', resolve) : server.listen(target, resolve)))
  return target === 0 ? (server.address() as AddressInfo).port : 0
}

/** A server of `handler`, closed with all its connections at the end of `use`. */
export async function withServer<T>(
  handler: (req: IncomingMessage, res: ServerResponse) => void,
  use: (port: number, server: Server) => Promise<T>,
): Promise<T> {
  const server = createServer(handler)
  const port = await listening(server)
  try {
    return await use(port, server)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export function get(
  port: number,
  urlPath: string,
  options: { agent?: Agent | false; method?: string; headers?: Record<string, string>; socketPath?: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const target = options.socketPath === undefined ? { port, host: '127.0.0.1' } : {}
    request({ ...target, path: urlPath, agent: false, ...options }, (res) => {
      const pieces: Buffer[] = []
      res
        .on('data', (piece: Buffer) => pieces.push(piece))
        .on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(pieces) }))
        .on('error', reject)
    })
      .on('error', reject)
      .end()
  })
}

/** A connection that sends `text` and reads nothing until it is asked to. */
export class RawClient {
  readonly socket: Socket
  readonly #pieces: Buffer[] = []
  #bytes = 0
  readonly closed: Promise<void>

  constructor(port: number, text: string) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.pause()
    this.socket.on('data', (piece) => {
      this.#pieces.push(piece)
      this.#bytes += piece.length
    })
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()))
    this.socket.write(text)
  }

  get received(): Buffer {
    return Buffer.concat(this.#pieces)
  }

  /** Reads until `bytes` have come altogether or the connection has ended. */
  async read(bytes: number): Promise<Buffer> {
    this.socket.resume()
    await new Promise<void>((resolve) => {
      const check = () => {
        if (this.#bytes < bytes && !this.socket.closed) return
        this.socket.off('data', check).off('close', check)
        resolve()
      }
      this.socket.on('data', check).on('close', check)
      check()
    })
    return this.received
  }

  /** The body of the first answer, of which `length` bytes are expected. */
  async readBody(length: number): Promise<Buffer> {
    let start = -1
    for (let bytes = 1; start < 0 && !this.socket.closed; bytes = this.#bytes + 1) start = (await this.read(bytes)).indexOf('\r\n\r\n')
    return (await this.read(start + 4 + length)).subarray(start + 4)
  }
}

export const getText = (urlPath: string, more = '') => `GET ${urlPath} HTTP/1.1\r\nHost: x\r\n${more}\r\n`

export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** Polls, for states that have no event. */
export async function eventually(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never came true: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
