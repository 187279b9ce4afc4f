/** What programs do without sealog. */
import { createReadStream, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, dirname } from 'node:path'
import { loadPeer } from '../harness/contenders.js'
import { listen, type ServedChunk, type ServerKind } from './server.js'

export const PIPE: ServerKind = {
  name: 'createReadStream.pipe',
  kind: 'peer',
  start: (chunk) =>
    listen((_req, res) => {
      res.writeHead(200, headers(chunk))
      createReadStream(chunk.file).pipe(res)
    }, '/'),
}

/** No file is read at all: what copying out of memory costs. */
export const BUFFER: ServerKind = {
  name: 'res.end(buffer)',
  kind: 'peer',
  start: (chunk) => {
    const bytes = readFileSync(chunk.file)
    return listen((_req, res) => {
      res.writeHead(200, headers(chunk))
      res.end(bytes)
    }, '/')
  },
}

type Send = (req: IncomingMessage, path: string, options: { readonly root: string }) => { pipe(res: ServerResponse): void }

export const SEND: ServerKind = {
  name: 'send',
  kind: 'peer',
  package: 'send',
  start: (chunk) => {
    const send = loadPeer('send') as Send
    const root = dirname(chunk.file)
    return listen((req, res) => send(req, req.url!, { root }).pipe(res), `/${basename(chunk.file)}`)
  },
}

function headers(chunk: ServedChunk): Record<string, string | number> {
  return { 'content-type': 'application/json', 'content-length': chunk.bytes }
}
