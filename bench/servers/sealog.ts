import type { RequestListener } from 'node:http'
import type { Log } from 'sealog'
import type { ServerKind } from './server.js'
import { listen } from './server.js'

/** The handler of the protocol: a catch-up read from the first record of the chunk. */
export const CREATE_HANDLER: ServerKind = {
  name: 'sealog createHandler',
  kind: 'sealog',
  start: (chunk) => serveLog(chunk.log),
}

/** The chunk alone, for protocols of one's own. */
export const SEND_CHUNK: ServerKind = {
  name: 'sealog sendChunk',
  kind: 'baseline',
  start: async (chunk) => {
    const { sendChunk } = await import('sealog/http')
    const log = await openLog(chunk.log)
    const listener: RequestListener = (req, res) => {
      const opened = log.chunks.openNow(0)
      if (opened !== undefined) void sendChunk(req, res, opened)
      else void log.chunks.open(0).then((opened) => sendChunk(req, res, opened!))
    }
    return listen(listener, '/', () => log.close())
  },
}

/** Serves a log from its offset `from` on. */
export async function serveLog(directory: string, from = 0) {
  const { createHandler, formatOffsetToken } = await import('sealog/http')
  const log = await openLog(directory)
  const handler = createHandler(log)
  const running = await listen(handler, `/log?offset=${formatOffsetToken({ epoch: log.epoch, offset: from })}`, () => log.close())
  return { ...running, log, handler }
}

async function openLog(directory: string): Promise<Log<unknown>> {
  const { Log } = await import('sealog')
  return Log.open<unknown>(directory, { codec: 'json' })
}
