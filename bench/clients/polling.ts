/** Clients that long-poll: each has one connection, on which the next request goes out when it is told to. */
import { connect, type Socket } from 'node:net'
import { HOST } from '../servers/server.js'
import { answerOrders, monotonicMs, ownTarget } from './client.js'

/** `ask`: all send a request, and wait for nothing; `collect`: waits until every client has its answer. */
export type PollingOrder = { readonly do: 'ask'; readonly path: string } | { readonly do: 'collect' }

export interface PollingAnswer {
  /** When each client had the end of its answer, in ms of the clock that all processes share. */
  readonly times: readonly number[]
  /** Bodies of the answers, without repetitions. */
  readonly bodies: readonly string[]
}

const NOTHING: PollingAnswer = { times: [], bodies: [] }
const { port, clients } = ownTarget()

class PollingClient {
  readonly #socket: Socket
  #answer = ''
  #received: Promise<{ readonly time: number; readonly body: string }> | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').setNoDelay(true)
  }

  ask(path: string): Promise<void> {
    this.#answer = ''
    this.#received = new Promise((resolve, reject) => {
      const take = (piece: string) => {
        this.#answer += piece
        const body = bodyOf(this.#answer)
        if (body === undefined) return
        this.#socket.off('data', take)
        if (this.#answer.startsWith('HTTP/1.1 200 ')) resolve({ time: monotonicMs(), body })
        else reject(new Error(this.#answer))
      }
      this.#socket.on('data', take)
    })
    return new Promise((resolve) => this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, () => resolve()))
  }

  received() {
    if (this.#received === undefined) throw new Error('nothing was asked')
    return this.#received
  }
}

/** The body of a complete answer; undefined as long as it is not complete. */
function bodyOf(answer: string): string | undefined {
  const head = answer.indexOf('\r\n\r\n')
  if (head < 0) return undefined
  const body = answer.slice(head + 4)
  const length = /^content-length: (\d+)\r$/im.exec(answer.slice(0, head + 2))
  if (length !== null) return body.length < Number(length[1]) ? undefined : body
  if (!body.endsWith('\r\n0\r\n\r\n')) return undefined
  // One chunk: answers are small.
  return body.slice(body.indexOf('\r\n') + 2, -'\r\n0\r\n\r\n'.length)
}

const all: PollingClient[] = []

answerOrders<PollingOrder, PollingAnswer>(async (order) => {
  if (order.do === 'collect') {
    const answers = await Promise.all(all.map((client) => client.received()))
    return { times: answers.map(({ time }) => time), bodies: [...new Set(answers.map(({ body }) => body))] }
  }
  while (all.length < clients) all.push(new PollingClient(await open()))
  await Promise.all(all.map((client) => client.ask(order.path)))
  return NOTHING
})

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST, () => resolve(socket)).once('error', reject)
  })
}
