import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Contender, PeerPackage, Program } from '../harness/case.js'

export interface RunningServer {
  readonly port: number
  /** Path and query of what it serves. */
  readonly path: string
  /** The processes whose CPU time and memory are the server's. */
  processes(): readonly number[]
  close(): Promise<void>
}

/** A sealed chunk that all servers of a case serve. */
export interface ServedChunk {
  /** Directory of its log. */
  readonly log: string
  readonly file: string
  readonly bytes: number
  readonly sha1: string
}

/** A way to serve a file. One of them per process: the measuring process itself is the server, unless it is a program of its own. */
export interface ServerKind {
  readonly name: string
  readonly kind: Contender['kind']
  readonly package?: PeerPackage
  readonly programs?: readonly Program[]
  /** `directory` is an empty folder for what the server needs. */
  start(chunk: ServedChunk, directory: string): Promise<RunningServer>
}

export const HOST = '127.0.0.1'

/** `released`: what else the server holds is let go when it has closed. */
export async function listen(listener: RequestListener, path: string, released: () => Promise<void> = async () => {}): Promise<RunningServer> {
  const server = createServer(listener)
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, HOST, resolve))
  return {
    port: (server.address() as AddressInfo).port,
    path,
    processes: () => [process.pid],
    close: async () => {
      await closed(server)
      await released()
    },
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)))
    server.closeAllConnections()
  })
}
