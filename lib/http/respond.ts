import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { LogErrorCode } from '../errors.js'

/** Answers with a whole body, whatever its size is; takes `headers` over. A client that takes nothing of it for `stallMs` is cut off. */
export function sendBody(req: IncomingMessage, res: ServerResponse, status: number, headers: OutgoingHttpHeaders, body: Buffer, stallMs: number): void {
  if (res.headersSent || res.destroyed) return
  headers['content-length'] = body.length
  res.writeHead(status, headers)
  endResponse(req, res, stallMs, req.method === 'HEAD' ? undefined : body)
}

/** Answers without a body. */
export function sendHead(res: ServerResponse, status: number, headers: OutgoingHttpHeaders): void {
  if (res.headersSent || res.destroyed) return
  res.writeHead(status, headers)
  res.end()
}

/** The one form that errors have. */
export function sendError(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  code: LogErrorCode,
  message: string,
  stallMs: number,
): void {
  const body = Buffer.from(`${JSON.stringify({ error: { code, message } })}\n`)
  sendBody(req, res, status, { ...headers, 'content-type': 'application/json', 'cache-control': 'no-store' }, body, stallMs)
}

/** Ends a response; what the connection does not take at once it must take without a pause of `stallMs`, or it is cut off. */
export function endResponse(req: IncomingMessage, res: ServerResponse, stallMs: number, body?: Buffer): void {
  res.end(body)
  if (req.httpVersionMajor !== 1) {
    res.setTimeout(stallMs, () => res.destroy())
    return
  }
  const { socket } = req
  if (socket.destroyed || socket.writableLength === 0) return
  const timeout = socket.timeout ?? 0
  // The timer of a connection starts anew whenever bytes leave it, so it measures the pause and not the transfer.
  const stalled = () => socket.destroy()
  socket.setTimeout(stallMs, stalled)
  res.once('close', () => {
    socket.off('timeout', stalled)
    // The server has set its own timeout for the next request if it has one.
    if (socket.timeout === stallMs && !socket.destroyed) socket.setTimeout(timeout)
  })
}
