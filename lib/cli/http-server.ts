import { lookup } from 'node:dns/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { BlockList, isIP, Server as NetServer } from 'node:net'
import { LogError, optionError } from '../errors.js'
import { ResponseLife } from '../http/response-life.js'

export const DEFAULT_HOST = '127.0.0.1'
export const DEFAULT_PORT = 4437

export type Answer = (req: IncomingMessage, res: ServerResponse) => void

export interface ListenOptions {
  readonly host: string
  readonly port: number
  /** Ports that are tried, from `port` upwards. Default 1. */
  readonly tries?: number
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/** The address of `host`, refused when it can be reached from other machines, unless that is wanted. ERR_SEALOG_OPTION. */
export async function addressOf(host: string, isPublic: boolean): Promise<string> {
  let addresses: ReadonlyArray<{ readonly address: string; readonly family: number }>
  try {
    addresses = await lookup(host, { all: true })
  } catch (error) {
    throw new LogError('ERR_SEALOG_OPTION', `the host ${host} has no address`, { cause: error, field: 'host', value: host })
  }
  const isLocal = addresses.every(({ address, family }) => loopback.check(address, family === 6 ? 'ipv6' : 'ipv4'))
  if (!isLocal && !isPublic) throw optionError('host', host, 'a loopback address; --public lets other machines read the log, without any password')
  return addresses[0].address
}

/** A listening server that can be stopped without breaking what it is sending. */
export class HttpServer {
  readonly #server: Server
  readonly #answer: Answer
  /** Under way. */
  #answers = 0
  #onDrained = () => {}

  private constructor(answer: Answer) {
    this.#answer = answer
    this.#server = createServer((req, res) => this.#take(req, res))
  }

  /** ERR_SEALOG_IO when no port can be had. */
  static async listen(answer: Answer, { host, port, tries = 1 }: ListenOptions): Promise<HttpServer> {
    const server = new HttpServer(answer)
    for (let next = port; ; next++) {
      try {
        await server.#listen(host, next)
        return server
      } catch (error) {
        const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        if (taken && next + 1 < port + tries && next < 65_535) continue
        const what = taken ? `port ${next} of ${host} is taken; --port chooses another` : `cannot listen on port ${next} of ${host}`
        throw new LogError('ERR_SEALOG_IO', what, { cause: error })
      }
    }
  }

  /** Without a slash at its end. */
  get url(): string {
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') throw new LogError('ERR_SEALOG_CLOSED', 'the server is not listening')
    return `http://${isIP(bound.address) === 6 ? `[${bound.address}]` : bound.address}:${bound.port}`
  }

  /** Accepts nothing more; resolves when all answers under way have been sent. `endLive` ends those that would wait for news, and refuses new ones. */
  async stop(endLive: () => void): Promise<void> {
    // The close of an HTTP server would also cut connections whose answer has been ended but not yet taken by the client.
    const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(this.#server, () => resolve()))
    endLive()
    if (this.#answers > 0) await new Promise<void>((resolve) => (this.#onDrained = resolve))
    this.#server.closeAllConnections()
    await closed
  }

  #listen(host: string, port: number): Promise<void> {
    const server = this.#server
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve()
      })
    })
  }

  #take(req: IncomingMessage, res: ServerResponse): void {
    this.#answers++
    const life = new ResponseLife(req, res)
    const ended = () => {
      life.dispose()
      if (--this.#answers === 0) this.#onDrained()
    }
    void life.wait(() => {}).then(ended)
    this.#answer(req, res)
  }
}
