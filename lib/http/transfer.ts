import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { performance } from 'node:perf_hooks'
import { isLogError } from '../errors.js'
import type { Environment } from '../log/environment.js'
import { type FallbackReason, operationError, sendfileError, sendfileFallback, sendfileServe } from '../telemetry/channels.js'
import { readBody, streamBody } from './copied-body.js'
import { endResponse } from './respond.js'
import { isHttp1, ResponseLife } from './response-life.js'
import { announcesPlainBytes, isPlainResponse, isUntouchedResponse, SENDFILE_MIN_BYTES, type Sent, sendByKernel, whyNotSendfile } from './sendfile.js'
import { readSmallBody, smallBodyInMemory } from './small-bodies.js'

/** A body that lies in a file. */
export interface FileBody {
  /** Must stay open until the transfer has ended. */
  readonly fd: number
  /** Where the body begins in the file, and its bytes there. */
  readonly position: number
  readonly length: number
  /** ASCII, sent in front of the bytes of the file. */
  readonly prefix: string
  /** Names the file's content for ever, as a path does together with a checksum: small bodies of it are kept in memory for the next who asks. */
  readonly key?: string
}

export interface TransferContext {
  readonly environment: Environment
  /** Directory of the log, sequence number of the chunk and offset of the first record: what telemetry calls the transfer. */
  readonly log: string
  readonly chunk: number
  readonly offset: number
  /** A client that takes nothing for so long is cut off, in ms. */
  readonly stallMs: number
  readonly counters: TransferCounters
}

/** Counts since they were made. */
export interface TransferCounters {
  /** Bodies sent completely, by the way they went: inside the kernel, as one buffer, or piece by piece. */
  sendfile: number
  buffer: number
  stream: number
  /** Bodies that were broken off, whatever their way: the client went away or stalled, or the file could not be read. */
  broken: number
  /** Bytes of files that went by sendfile, those of bodies broken off included. */
  sendfileBytes: number
  /** Bytes of bodies that went through memory of this process. */
  copiedBytes: number
  /** Bodies that did not go by sendfile, by reason. */
  readonly fallbacks: Record<FallbackReason, number>
}

export function newTransferCounters(): TransferCounters {
  return {
    sendfile: 0,
    buffer: 0,
    stream: 0,
    broken: 0,
    sendfileBytes: 0,
    copiedBytes: 0,
    fallbacks: { tls: 0, http2: 0, wrapped: 0, too_small: 0, not_sealed: 0, platform: 0 },
  }
}

/** How an answer ended. */
export interface TransferOutcome {
  /** `none`: an answer to HEAD, or the connection was gone before anything was sent. */
  readonly way: 'sendfile' | 'buffer' | 'stream' | 'none'
  /** The client's system can have all of it; false: the connection is closed. */
  readonly complete: boolean
  /** Bytes of the file given to the connection. */
  readonly bytes: number
  /** Why the body did not go by sendfile. */
  readonly reason?: FallbackReason
  /** What broke it off: a system error (`ECONNRESET`, `ETIMEDOUT` for a client that stalled, `ECANCELED` when this side closed the connection) or one of ours. */
  readonly code?: string
  /** The file could not be read, or the headers are not valid. */
  readonly error?: unknown
}

/**
 * Answers with bytes of a file: with sendfile(2) where that is possible, else with the same bytes another way, the reason counted and published. Headers, their
 * names in lower case, are taken over and get the content-length. Of HEAD, the headers alone. Writes the whole answer and ends it; nobody else may write to `res`. Never rejects; resolves when the response is
 * finished or its connection gone. During a sendfile transfer Node's timer of the socket is off, and `socket.bytesWritten` does not count the body.
 */
export async function sendFileBody(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  body: FileBody,
  context: TransferContext,
): Promise<TransferOutcome> {
  let life: ResponseLife | undefined
  try {
    const reason = whyNotSendfile(req, res, body.length, context.environment)
    const complete = sendAtOnce(req, res, status, headers, body, context)
    if (complete !== undefined && reason !== undefined) return copiedOutcome('buffer', reason, { complete: await complete, bytes: body.length })
    life = new ResponseLife(req, res)
    if (life.gone) return { way: 'none', complete: false, bytes: 0, code: 'ECONNRESET' }
    headers['content-length'] = body.prefix.length + body.length
    return await new Transfer(req, res, life, status, headers, body, context).run()
  } catch (error) {
    life ??= new ResponseLife(req, res)
    life.cut()
    context.counters.broken++
    const code = isLogError(error) ? error.code : 'ERR_SEALOG_INTERNAL'
    if (operationError.hasSubscribers) operationError.publish({ log: context.log, operation: 'serve', code })
    return { way: 'none', complete: false, bytes: 0, code, error }
  } finally {
    life?.dispose()
  }
}

/**
 * Answers a GET at once when its body is small and in memory and nothing stands between response and connection: what `sendFileBody` would do, without a listener
 * unless the connection is slow, which is half the work of such an answer. Whether it was complete, see `countWhenSent`; undefined: nothing was done.
 */
export function sendAtOnce(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  body: FileBody,
  context: TransferContext,
): boolean | Promise<boolean> | undefined {
  const reason = whyNotSendfile(req, res, body.length, context.environment)
  if (reason === undefined || body.length >= SENDFILE_MIN_BYTES) return undefined
  if (req.method !== 'GET' || !isHttp1(req) || !isUntouchedResponse(res)) return undefined
  const { socket } = res
  if (socket === null || socket.destroyed || res.headersSent || res.writableEnded) return undefined
  const bytes = smallBodyInMemory(body, context.environment)
  if (bytes === undefined) return undefined
  headers['content-length'] = bytes.length
  res.writeHead(status, headers)
  endResponse(req, res, context.stallMs, bytes)
  countFallback(reason, context)
  context.counters.copiedBytes += body.length
  return countWhenSent(req, res, context.counters)
}

/** Counts an answer whose bytes were given to `res` all at once. Whether it was complete; a promise, which never rejects, while the system does not have all of it. */
export function countWhenSent(req: IncomingMessage, res: ServerResponse, counters: TransferCounters): boolean | Promise<boolean> {
  if (isHttp1(req) && !req.socket.destroyed && req.socket.writableLength === 0 && res.writableEnded) {
    counters.buffer++
    return true
  }
  // A connection that is destroyed lets its responses finish too.
  let complete = false
  res.once('finish', () => {
    complete = !isHttp1(req) || !req.socket.destroyed
  })
  return new Promise((resolve) => {
    res.once('close', () => {
      counters[complete ? 'buffer' : 'broken']++
      resolve(complete)
    })
  })
}

function copiedOutcome(way: 'buffer' | 'stream', reason: FallbackReason, sent: Sent): TransferOutcome {
  return { way, reason, ...sent, ...(!sent.complete && { code: sent.code ?? 'ECONNRESET' }) }
}

function countFallback(reason: FallbackReason, { counters, log, offset }: TransferContext): void {
  counters.fallbacks[reason]++
  if (sendfileFallback.hasSubscribers) sendfileFallback.publish({ log, reason, offset })
}

class Transfer {
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #life: ResponseLife
  readonly #status: number
  readonly #headers: OutgoingHttpHeaders
  readonly #body: FileBody
  readonly #context: TransferContext

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    life: ResponseLife,
    status: number,
    headers: OutgoingHttpHeaders,
    body: FileBody,
    context: TransferContext,
  ) {
    this.#req = req
    this.#res = res
    this.#life = life
    this.#status = status
    this.#headers = headers
    this.#body = body
    this.#context = context
  }

  async run(): Promise<TransferOutcome> {
    if (this.#req.method === 'HEAD') {
      this.#writeHead()
      return { way: 'none', complete: await this.#end(), bytes: 0 }
    }
    const { length, prefix } = this.#body
    const reason = whyNotSendfile(this.#req, this.#res, length, this.#context.environment)
    if (reason === undefined) return this.#sendfile()
    countFallback(reason, this.#context)
    if (length < SENDFILE_MIN_BYTES) return this.#buffer(reason)
    if (!(await this.#life.attached())) return this.#copied('stream', reason, { complete: false, bytes: 0, code: 'ECONNRESET' })
    this.#writeHead()
    if (prefix !== '') this.#res.write(prefix, 'latin1')
    return this.#stream(reason)
  }

  async #sendfile(): Promise<TransferOutcome> {
    const { environment, stallMs, counters, log, chunk } = this.#context
    const begin = performance.now()
    const attached = await this.#life.attached()
    const { socket } = this.#res
    let sent: Sent | FallbackReason = { complete: false, bytes: 0, code: 'ECONNRESET' }
    if (attached && socket !== null) {
      this.#writeHead()
      if (announcesPlainBytes(this.#res, this.#body.prefix.length + this.#body.length, this.#headers['content-encoding'])) {
        sent = await sendByKernel(this.#res, socket, this.#life, this.#body, stallMs, environment)
      } else {
        if (this.#body.prefix !== '') this.#res.write(this.#body.prefix, 'latin1')
        sent = 'wrapped'
      }
    }
    if (typeof sent === 'string') {
      countFallback(sent, this.#context)
      return this.#stream(sent)
    }
    counters.sendfileBytes += sent.bytes
    if (sent.complete) {
      await this.#end()
      counters.sendfile++
      if (sendfileServe.hasSubscribers) sendfileServe.publish({ log, duration: (performance.now() - begin) / 1000, bytes: sent.bytes, chunk })
      return { way: 'sendfile', ...sent }
    }
    counters.broken++
    const code = sent.code ?? 'ECONNRESET'
    if (sendfileError.hasSubscribers) sendfileError.publish({ log, code, bytes: sent.bytes, chunk })
    return { way: 'sendfile', complete: false, bytes: sent.bytes, code }
  }

  async #buffer(reason: FallbackReason): Promise<TransferOutcome> {
    // Whoever wraps a response may change the bytes that it is given.
    const read = isPlainResponse(this.#res) ? readSmallBody : readBody
    const bytes = await read(this.#body, this.#context.environment, this.#file)
    if (!(await this.#life.attached())) return this.#copied('buffer', reason, { complete: false, bytes: 0, code: 'ECONNRESET' })
    // All at once spares a tenth of the CPU time of a small answer.
    if (isPlainResponse(this.#res)) this.#res.writeHead(this.#status, this.#headers)
    else this.#writeHead()
    return this.#copied('buffer', reason, { complete: await this.#end(bytes), bytes: this.#body.length })
  }

  /** Headers and prefix are written. */
  async #stream(reason: FallbackReason): Promise<TransferOutcome> {
    this.#life.guard(this.#context.stallMs)
    const sent = await streamBody(this.#res, this.#life, this.#body, this.#context.environment, this.#file)
    this.#life.unguard()
    return this.#copied('stream', reason, { ...sent, complete: sent.complete && (await this.#end()) })
  }

  #copied(way: 'buffer' | 'stream', reason: FallbackReason, sent: Sent): TransferOutcome {
    const { counters } = this.#context
    counters.copiedBytes += sent.bytes
    if (sent.complete) counters[way]++
    else counters.broken++
    return copiedOutcome(way, reason, sent)
  }

  /** Headers go through `setHeader`, where middleware sees and changes them. */
  #writeHead(): void {
    for (const [name, value] of Object.entries(this.#headers)) if (value !== undefined) this.#res.setHeader(name, value)
    this.#res.writeHead(this.#status)
  }

  /** False: the connection is gone. */
  #end(bytes?: Buffer): Promise<boolean> {
    return this.#life.wait((done) => {
      this.#res.once('finish', done)
      endResponse(this.#req, this.#res, this.#context.stallMs, bytes)
    })
  }

  get #file(): string {
    return `chunk ${this.#context.chunk} of ${this.#context.log}`
  }
}
