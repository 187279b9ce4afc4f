/** The reference server of the protocol. */
import { loadPeer } from '../harness/contenders.js'
import { HOST } from './server.js'

interface ReferenceServer {
  start(): Promise<string>
  stop(): Promise<void>
}

const PATH = '/log'
const JSON_TYPE = { 'content-type': 'application/json' }

/** In memory, the faster of its modes. */
export async function serveReference() {
  const { DurableStreamTestServer } = loadPeer('@durable-streams/server') as {
    DurableStreamTestServer: new (options: {
      readonly port: number
      readonly host: string
      readonly dataDir?: string
      readonly compression: boolean
    }) => ReferenceServer
  }
  const server = new DurableStreamTestServer({ port: 0, host: HOST, compression: false })
  const url = `${await server.start()}${PATH}`
  await request('PUT', url)
  return {
    port: Number(new URL(url).port),
    /** Appends the elements of a JSON array; the offset behind them. */
    append: async (body: string) => (await request('POST', url, body)).headers.get('stream-next-offset')!,
    pathFrom: (offset: string) => `${PATH}?offset=${offset}`,
    close: () => server.stop(),
  }
}

async function request(method: string, url: string, body?: string): Promise<Response> {
  const response = await fetch(url, { method, headers: JSON_TYPE, body })
  if (!response.ok) throw new Error(`${method} ${url}: status ${response.status}`)
  await response.arrayBuffer()
  return response
}
