import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import type { Environment } from '../log/environment.js'
import type { FallbackReason } from '../telemetry/channels.js'
import { isHttp1, type ResponseLife } from './response-life.js'
import type { FileBody } from './transfer.js'

/** From this size on sendfile costs less CPU time than writing a buffer, even one that is in memory already (measured on Linux, loopback: the bench cases http-sealed-*). */
export const SENDFILE_MIN_BYTES = 128 * 1024

/** Of a transfer that could not be begun: the system lacks the means, the connection is good. */
const { EAGAIN, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP } = constants.errno
const UNAVAILABLE: ReadonlySet<number> = new Set([EAGAIN, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP])

/** How a body went: whether all of it, its bytes, and the system's code of what broke it off. */
export interface Sent {
  readonly complete: boolean
  readonly bytes: number
  readonly code?: string
}

/** Node's own handle of a plain TCP or unix socket. It is not documented; a socket that has none like this is served another way. */
interface SocketHandle {
  readonly fd: number
  readonly writeQueueSize: number
}

function handleOf(socket: Socket): SocketHandle | undefined {
  const handle = (socket as unknown as { readonly _handle?: Partial<SocketHandle> | null })._handle
  return typeof handle?.fd === 'number' && handle.fd >= 0 && typeof handle.writeQueueSize === 'number' ? (handle as SocketHandle) : undefined
}

/** What speaks against sendfile before anything is sent. */
export function whyNotSendfile(req: IncomingMessage, res: ServerResponse, length: number, environment: Environment): FallbackReason | undefined {
  if (!isHttp1(req)) return 'http2'
  if ('encrypted' in req.socket && req.socket.encrypted === true) return 'tls'
  if (!environment.kernels.can.sendfile) return 'platform'
  if (length < SENDFILE_MIN_BYTES) return 'too_small'
  // Who counts the bytes that are written would find the body missing.
  return isPlainResponse(res) && !res.strictContentLength ? undefined : 'wrapped'
}

/** No middleware stands between what is written and the connection. */
export function isPlainResponse(res: ServerResponse): boolean {
  return res.write === ServerResponse.prototype.write && res.end === ServerResponse.prototype.end
}

/** And none that wants to see the headers. */
export function isUntouchedResponse(res: ServerResponse): boolean {
  return isPlainResponse(res) && res.writeHead === ServerResponse.prototype.writeHead && res.setHeader === ServerResponse.prototype.setHeader
}

/** After `writeHead`, where middleware may have changed them: whether the headers announce the plain bytes. */
export function announcesPlainBytes(res: ServerResponse, total: number, encoding: unknown): boolean {
  return Number(res.getHeader('content-length')) === total && res.getHeader('content-encoding') === encoding && !res.hasHeader('transfer-encoding')
}

/**
 * Sends what precedes the body (headers and prefix) and then the body itself with sendfile, beside Node's own writing, which is held back meanwhile.
 * The socket must be the response's. Anything but a complete body has closed the connection. A reason: the prefix is sent, the body is to go another way.
 */
export async function sendByKernel(
  res: ServerResponse,
  socket: Socket,
  life: ResponseLife,
  body: FileBody,
  stallMs: number,
  environment: Environment,
): Promise<Sent | FallbackReason> {
  if (!(await flushed(res, socket, life, body.prefix))) return { complete: false, bytes: 0, code: 'ECONNRESET' }
  const handle = handleOf(socket)
  // Somebody else's bytes are on their way.
  if (handle === undefined || !isDrained(socket, handle) || socket.writableCorked > 0) return 'wrapped'

  // From here to the start of the transfer nothing may be awaited: the descriptor is Node's until it is duplicated.
  socket.cork()
  const timeout = socket.timeout ?? 0
  socket.setTimeout(0)
  const send = environment.runner.send(handle.fd, body.fd, body.position, body.length, stallMs)
  let result: { readonly status: number; readonly sent: number }
  if ('done' in send) {
    socket.once('close', send.cancel)
    result = await send.done
    socket.off('close', send.cancel)
  } else result = send

  if (result.status < 0 && ('done' in send || !UNAVAILABLE.has(-result.status))) {
    socket.destroy()
    return { complete: false, bytes: result.sent, code: getSystemErrorName(result.status) }
  }
  // A client that has all of it may have closed the connection by now.
  if (!socket.destroyed) {
    socket.setTimeout(timeout)
    socket.uncork()
  }
  return result.status < 0 ? 'platform' : { complete: true, bytes: result.sent }
}

/** Writes headers and prefix and waits until the system has them. False: the connection is gone. */
async function flushed(res: ServerResponse, socket: Socket, life: ResponseLife, prefix: string): Promise<boolean> {
  // Node corks a response's first write until the next tick, unless the socket is corked already.
  socket.cork()
  const written = life.wait((done) => res.write(prefix, 'latin1', done))
  socket.uncork()
  const handle = handleOf(socket)
  if (handle !== undefined && isDrained(socket, handle)) return true
  return (await written) && !socket.destroyed
}

function isDrained(socket: Socket, handle: SocketHandle): boolean {
  return socket.writableLength === 0 && handle.writeQueueSize === 0
}
