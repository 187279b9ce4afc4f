import { createHash } from 'node:crypto'
import { get, type IncomingHttpHeaders } from 'node:http'
import { HOST } from '../servers/server.js'

export interface Fetched {
  readonly bytes: number
  readonly sha1: string
  readonly headers: IncomingHttpHeaders
}

/** One answer with its body, over a connection of its own; throws for any status but 200. */
export function fetchBody(port: number, path: string): Promise<Fetched> {
  return new Promise((resolve, reject) => {
    const request = get({ host: HOST, port, path, agent: false }, (res) => {
      const hash = createHash('sha1')
      let bytes = 0
      res.on('data', (piece: Buffer) => {
        hash.update(piece)
        bytes += piece.length
      })
      res.once('error', reject)
      res.once('end', () => {
        if (res.statusCode === 200 && res.complete) resolve({ bytes, sha1: hash.digest('hex'), headers: res.headers })
        else reject(new Error(`${path}: status ${res.statusCode}, ${bytes} bytes, ${res.complete ? 'complete' : 'broken off'}`))
      })
    })
    request.once('error', reject)
  })
}
