/** Clients that ask for a body and then read nothing, until some of them are told to read it all. */
import { createHash } from 'node:crypto'
import { Socket } from 'node:net'
import { fetchBody } from '../harness/fetch.js'
import { HOST } from '../servers/server.js'
import { answerOrders, ownTarget } from './client.js'

/** `fetch`: bodies are read at once, so many; `drain`: so many of those that were asked for are read now. */
export type StalledOrder = { readonly do: 'ask' } | { readonly do: 'fetch' | 'drain'; readonly count: number }
/** SHA-1 of the bodies that were read, without repetitions. */
export type StalledAnswer = { readonly bodies: readonly string[] }

const { port, path, clients } = ownTarget()
const sockets: Socket[] = []

answerOrders<StalledOrder, StalledAnswer>(async (order) => {
  if (order.do === 'ask') {
    for (let i = 0; i < clients; i++) sockets.push(await ask())
    return { bodies: [] }
  }
  const sums = order.do === 'drain' ? await Promise.all(sockets.slice(0, order.count).map(drain)) : await fetchBodies(order.count)
  return { bodies: [...new Set(sums)] }
})

async function fetchBodies(count: number): Promise<string[]> {
  const sums: string[] = []
  for (let i = 0; i < count; i++) sums.push((await fetchBody(port, path)).sha1)
  return sums
}

function ask(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = new Socket()
    socket.once('error', reject)
    // Before the connection is there: a socket that has begun to read does not stop before its buffer is full.
    socket.pause()
    socket.connect(port, HOST, () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`, () => resolve(socket))
    })
  })
}

function drain(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = []
    socket.once('error', reject)
    socket.on('data', (piece: Buffer) => pieces.push(piece))
    socket.once('close', () => {
      const answer = Buffer.concat(pieces)
      const body = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
      resolve(createHash('sha1').update(body).digest('hex'))
    })
    socket.resume()
  })
}
