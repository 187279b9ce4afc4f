import type { ServerResponse } from 'node:http'
import { LogError } from '../errors.js'
import type { Procedure } from '../kernels/procedure.js'
import { read } from '../kernels/requests.js'
import type { Environment } from '../log/environment.js'
import type { ResponseLife } from './response-life.js'
import type { Sent } from './sendfile.js'
import type { FileBody } from './transfer.js'

/** Bytes of a file that a streamed response holds at a time, beside what the connection holds. */
const PIECE_BYTES = 128 * 1024

/** The whole body with its prefix in one buffer. Throws a LogError when the file cannot be read or is shorter. */
export async function readBody(body: FileBody, environment: Environment, file: string): Promise<Buffer> {
  // Memory of its own: a kernel thread fills it.
  const bytes = Buffer.allocUnsafeSlow(body.prefix.length + body.length)
  bytes.write(body.prefix, 'latin1')
  await environment.runner.run(fill(body.fd, body.position, bytes.subarray(body.prefix.length), file))
  return bytes
}

/** Writes the body piece by piece, reading on when the connection has room. Throws as `readBody` does. */
export async function streamBody(res: ServerResponse, life: ResponseLife, body: FileBody, environment: Environment, file: string): Promise<Sent> {
  let bytes = 0
  while (bytes < body.length) {
    // A new one every time: whoever wraps the response may keep a piece for longer than its `drain` tells.
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, body.length - bytes))
    await environment.runner.run(fill(body.fd, body.position + bytes, piece, file))
    if (life.gone) return { complete: false, bytes, code: 'ECONNRESET' }
    bytes += piece.length
    if (!res.write(piece) && !(await life.until('drain'))) return { complete: false, bytes, code: 'ECONNRESET' }
  }
  return { complete: true, bytes }
}

function* fill(fd: number, position: number, into: Uint8Array, file: string): Procedure<void> {
  const length = yield* read(fd, position, into, file)
  if (length === into.length) return
  throw new LogError('ERR_SEALOG_CORRUPT', `${file} ends at byte ${position + length}, ${into.length - length} bytes too early`, {
    file,
    position: position + length,
  })
}
