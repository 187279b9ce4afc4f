import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { argumentError, isLogError } from '../errors.js'
import type { LogView } from '../index.js'
import { isGone } from '../log/read-block.js'
import type { OpenChunk } from '../sealing/chunk.js'
import { sendfileFallback } from '../telemetry/channels.js'
import { type Answer, Answers } from './answers.js'
import { bodyOf, openSibling } from './chunk-body.js'
import { nextCursor } from './cursor.js'
import { controlEvent, dataEvent, isTextual } from './event-stream.js'
import { toHttpError } from './failure.js'
import { FailureReport } from './failure-report.js'
import { ALLOW, commonHeaders, matchesEntityTag, preflightHeaders, vary } from './headers.js'
import { ChangeFeed, LiveClient } from './live.js'
import { formatOffsetToken, type LogPosition } from './offset-token.js'
import { type HandlerOptions, type ResolvedHandlerOptions, resolveHandler } from './options.js'
import { checkPosition, refresh, startPosition, tailOf } from './position.js'
import { chunkHeaders, type Reading, readHeaders } from './read-headers.js'
import { answerForm, emptyBody } from './render.js'
import { HttpError, notFound, parseRead, parseTarget, type ReadRequest, type RequestTarget } from './request.js'
import { endResponse, sendBody, sendError, sendHead } from './respond.js'
import { isHttp1, isNext } from './response-life.js'
import { countWhenSent, newTransferCounters, sendAtOnce, sendFileBody, type TransferContext, type TransferCounters } from './transfer.js'

/** Finds the log of a name: the path of the URL without its leading slash, decoded. `undefined`: there is none. */
export type LogResolver = (name: string) => LogView<unknown> | undefined | Promise<LogView<unknown> | undefined>

export interface HandlerStats {
  /** Answers by the way their bytes took, since the handler was made. */
  readonly transfers: TransferCounters
  /** Clients that wait for records now: long-polls and event streams. */
  readonly liveClients: number
}

/** Serves requests; give it to `createServer`, `app.use`, or call it with Fastify's raw objects after `reply.hijack()`. Never calls `next`. */
export interface Handler {
  (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void): void
  /** For a graceful shutdown: answers every waiting long-poll, ends every event stream, and refuses what comes later with 503. */
  close(): void
  stats(): HandlerStats
}

/** Answers of all logs that a handler keeps for those who ask for the same, as a multiple of the largest answer. */
const HELD_ANSWERS = 16
const EXPOSED = 'Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-SSE-Data-Encoding, ETag, Allow, Retry-After'

/**
 * A handler for the reading half of the Durable Streams protocol. `source` is the one log to serve, whatever the path is, or a function that finds it.
 * Throws ERR_SEALOG_OPTION and ERR_SEALOG_ARGUMENT.
 */
export function createHandler(source: LogView<unknown> | LogResolver, options: HandlerOptions = {}): Handler {
  if (typeof source !== 'function' && (typeof source !== 'object' || source === null)) throw argumentError('source', source, 'a log or a function')
  const service = new ReadService(typeof source === 'function' ? source : () => source, resolveHandler(options))
  const handle = (req: IncomingMessage, res: ServerResponse): void => service.serve(req, res)
  return Object.assign(handle, { close: () => service.close(), stats: () => service.stats() })
}

/** What a HEAD asks for has no part in its answer. */
const HEAD_REQUEST: ReadRequest = { from: 'now', live: undefined, cursor: undefined }

class ReadService {
  readonly #resolve: LogResolver
  readonly #options: ResolvedHandlerOptions
  readonly #answers: Answers
  readonly #feeds = new WeakMap<LogView<unknown>, ChangeFeed>()
  readonly #clients = new Set<LiveClient>()
  readonly #counters = newTransferCounters()
  readonly #failures: FailureReport
  #closing = false

  constructor(resolve: LogResolver, options: ResolvedHandlerOptions) {
    this.#resolve = resolve
    this.#options = options
    this.#failures = new FailureReport(options.onError)
    this.#answers = new Answers(options.maxAnswerBytes, HELD_ANSWERS * options.maxAnswerBytes)
  }

  close(): void {
    this.#closing = true
    for (const client of this.#clients) client.end('closing')
  }

  stats(): HandlerStats {
    return { transfers: structuredClone(this.#counters), liveClients: this.#clients.size }
  }

  /** Answers a request whatever happens. What needs no waiting for anything is answered before this returns. */
  serve(req: IncomingMessage, res: ServerResponse): void {
    const common = commonHeaders(req, this.#options.origins, EXPOSED)
    if (req.method !== 'GET' || this.#closing || !isHttp1(req) || res.socket === null) {
      void this.#serveInTurn(req, res, common)
      return
    }
    let view: LogView<unknown> | undefined
    try {
      const target = parseTarget(req)
      const found = this.#resolve(target.name)
      if (found !== undefined && 'then' in found) {
        void this.#serveTarget(req, res, common, target, found)
        return
      }
      view = found
      const reading = this.#reading(req, res, common, target, found)
      if (!this.#readAtOnce(reading)) void this.#readOrFail(reading)
    } catch (error) {
      this.#fail(req, res, common, view, error)
    }
  }

  async #serveInTurn(req: IncomingMessage, res: ServerResponse, common: OutgoingHttpHeaders): Promise<void> {
    try {
      if (!(await isNext(req, res))) return
      if (this.#closing) res.shouldKeepAlive = false
      if (req.method === 'OPTIONS') {
        sendHead(res, 204, preflightHeaders(common))
        return
      }
      if (req.method !== 'GET' && req.method !== 'HEAD') throw new HttpError(405, 'ERR_SEALOG_UNSUPPORTED', 'logs can only be read here', ALLOW)
      if (this.#closing) throw new HttpError(503, 'ERR_SEALOG_CLOSED', 'the server is shutting down', { 'retry-after': '1' })
      const target = parseTarget(req)
      await this.#serveTarget(req, res, common, target, this.#resolve(target.name))
    } catch (error) {
      this.#fail(req, res, common, undefined, error)
    }
  }

  /** Never rejects. */
  async #serveTarget(
    req: IncomingMessage,
    res: ServerResponse,
    common: OutgoingHttpHeaders,
    target: RequestTarget,
    found: ReturnType<LogResolver>,
  ): Promise<void> {
    let view: LogView<unknown> | undefined
    try {
      view = await found
      const reading = this.#reading(req, res, common, target, view)
      if (req.method === 'HEAD') await this.#head(reading)
      else await this.#read(reading)
    } catch (error) {
      this.#fail(req, res, common, view, error)
    }
  }

  async #readOrFail(reading: Reading): Promise<void> {
    try {
      await this.#read(reading)
    } catch (error) {
      this.#fail(reading.req, reading.res, reading.common, reading.view, error)
    }
  }

  #reading(req: IncomingMessage, res: ServerResponse, common: OutgoingHttpHeaders, target: RequestTarget, view: LogView<unknown> | undefined): Reading {
    if (view === undefined) throw notFound()
    view.checkOpen()
    const form = answerForm(view)
    const contentType = form === 'json' ? 'application/json' : form === 'ndjson' ? 'application/x-ndjson' : this.#options.contentType
    const request = req.method === 'HEAD' ? HEAD_REQUEST : parseRead(target.query)
    return { req, res, common, view, request, form, contentType, cache: this.#options.cache }
  }

  async #head({ res, common, view, contentType }: Reading): Promise<void> {
    const tail = await startPosition(view, 'now')
    sendHead(res, 200, { ...common, 'content-type': contentType, 'stream-next-offset': formatOffsetToken(tail), 'cache-control': 'no-store' })
  }

  async #read(reading: Reading): Promise<void> {
    const { view, request, res } = reading
    for (;;) {
      const start = await startPosition(view, request.from)
      try {
        if (request.live === 'sse') await this.#stream(reading, start)
        else if (request.live === 'long-poll') await this.#longPoll(reading, start)
        else if (request.from === 'now') this.#sendNow(reading, start)
        else if (!(await this.#send(reading, start))) this.#sendEmpty(reading, start)
        return
      } catch (error) {
        // Where a log begins may change until its first record is read; who asked for the beginning gets the new one.
        const moved = isLogError(error) && (error.code === 'ERR_SEALOG_OFFSET_TRUNCATED' || error.code === 'ERR_SEALOG_EPOCH')
        if (!moved || request.from !== 'start' || res.headersSent || (start.offset === view.startOffset && start.epoch === view.epoch)) throw error
      }
    }
  }

  // ── answers ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A small sealed chunk that is asked for from its beginning and is in memory. False: nothing was done, it is to be read. */
  #readAtOnce(reading: Reading): boolean {
    const { req, res, view, form, request } = reading
    if (!view.writable || request.live === 'sse' || request.from === 'now') return false
    const start = request.from === 'start' ? { epoch: view.epoch, offset: view.startOffset } : request.from
    if (start.epoch !== view.epoch || start.offset < view.startOffset) return false
    view.checkLost(start.offset)
    const chunk = view.chunks.openNow(start.offset)
    if (chunk === undefined) return false
    try {
      if (chunk.form !== form || chunk.last >= tailOf(view) || start.offset > chunk.first || chunk.siblings.length > 0) return false
      const end = chunk.last + 1
      const headers = chunkHeaders(reading, start, end, end >= tailOf(view), undefined)
      if (req.headers['if-none-match'] !== undefined) return false
      return sendAtOnce(req, res, 200, headers, bodyOf(chunk, undefined, 0, ''), this.#transferOf(view, chunk, start)) !== undefined
    } finally {
      chunk.close()
    }
  }

  /** Sends what there is from `start` on: to the end of its sealed chunk, else a bounded answer. False: there is nothing. */
  async #send(reading: Reading, start: LogPosition): Promise<boolean> {
    const { view, form } = reading
    view.checkLost(start.offset)
    const chunk = view.chunks.openNow(start.offset) ?? (await this.#openChunk(reading, start))
    try {
      checkPosition(view, start)
      if (chunk !== undefined && chunk.form === form && chunk.last < tailOf(view)) {
        await this.#sendChunk(reading, start, chunk)
        return true
      }
    } finally {
      chunk?.close()
    }
    const answer = await this.#answerAt(reading, start)
    if (answer !== undefined) this.#sendRendered(reading, start, answer)
    return answer !== undefined
  }

  async #openChunk({ req, view }: Reading, start: LogPosition): Promise<OpenChunk | undefined> {
    await refresh(view, start.offset)
    if (start.offset >= tailOf(view)) return undefined
    try {
      const chunk = await view.chunks.open(start.offset)
      // It may have been sealed after a cut that the view does not know of yet.
      await refresh(view, start.offset)
      return chunk
    } catch (error) {
      // The records themselves are asked then, and tell what is wrong if it is more than a chunk whose segment was given up meanwhile.
      if (!isGone(error) && !view.closed) this.#failures.add(req, view, error)
      return undefined
    }
  }

  async #sendChunk(reading: Reading, start: LogPosition, chunk: OpenChunk): Promise<void> {
    const { req, res, view, form } = reading
    const end = chunk.last + 1
    const whole = start.offset <= chunk.first
    const position = whole ? 0 : await chunk.position(start.offset)
    const sibling = whole ? await openSibling(req, chunk) : undefined
    try {
      const upToDate = await isTail(view, end)
      checkPosition(view, start)
      let headers = chunkHeaders(reading, start, end, upToDate, sibling?.encoding)
      if (whole && chunk.siblings.length > 0) headers = vary(headers, 'Accept-Encoding')
      if (sibling !== undefined) headers['content-encoding'] = sibling.encoding
      if (this.#notModified(reading, headers)) return
      const body = bodyOf(chunk, sibling, position, whole || form !== 'json' ? '' : '[')
      await sendFileBody(req, res, 200, headers, body, this.#transferOf(view, chunk, start))
    } finally {
      sibling?.close()
    }
  }

  #transferOf(view: LogView<unknown>, chunk: OpenChunk, start: LogPosition): TransferContext {
    return {
      environment: view.environment,
      log: view.directory,
      chunk: chunk.sequence,
      offset: start.offset,
      stallMs: this.#options.stallTimeoutMs,
      counters: this.#counters,
    }
  }

  #sendRendered(reading: Reading, start: LogPosition, { body, end }: Answer): void {
    const { req, res, view } = reading
    const headers = readHeaders(reading, start, end, end >= tailOf(view))
    if (this.#notModified(reading, headers)) return
    if (sendfileFallback.hasSubscribers) sendfileFallback.publish({ log: view.directory, reason: 'not_sealed', offset: start.offset })
    this.#counters.fallbacks.not_sealed++
    this.#counters.copiedBytes += body.length
    sendBody(req, res, 200, headers, body, this.#options.stallTimeoutMs)
    countWhenSent(req, res, this.#counters)
  }

  #sendEmpty(reading: Reading, start: LogPosition): void {
    const headers = readHeaders(reading, start, start.offset, true)
    if (!this.#notModified(reading, headers)) {
      sendBody(reading.req, reading.res, 200, headers, emptyBody(reading.form), this.#options.stallTimeoutMs)
    }
  }

  #sendNow(reading: Reading, tail: LogPosition): void {
    const { etag: _, ...headers } = readHeaders(reading, tail, tail.offset, true)
    sendBody(reading.req, reading.res, 200, { ...headers, 'cache-control': 'no-store' }, emptyBody(reading.form), this.#options.stallTimeoutMs)
  }

  #notModified({ req, res }: Reading, headers: OutgoingHttpHeaders): boolean {
    if (!matchesEntityTag(req.headers['if-none-match'], String(headers.etag))) return false
    const { 'content-type': _type, 'content-encoding': _encoding, ...kept } = headers
    sendHead(res, 304, kept)
    return true
  }

  // ── live ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #longPoll(reading: Reading, start: LogPosition): Promise<void> {
    const { res, common, view, request } = reading
    if (await this.#send(reading, start)) return
    const client = this.#join(reading, this.#options.longPollTimeoutMs)
    try {
      for (;;) {
        checkPosition(view, start)
        if (start.offset < tailOf(view) || client.ended !== undefined) break
        await client.changed()
      }
    } finally {
      client.stop()
    }
    if (client.ended === 'gone' || (await this.#send(reading, start))) return
    if (this.#closing) res.shouldKeepAlive = false
    sendHead(res, 204, {
      ...common,
      'cache-control': 'no-store',
      'stream-next-offset': formatOffsetToken(start),
      'stream-up-to-date': 'true',
      'stream-cursor': String(nextCursor(request.cursor)),
    })
  }

  async #stream(reading: Reading, start: LogPosition): Promise<void> {
    const { req, res, common, view, contentType } = reading
    await refresh(view, start.offset)
    // Before the headers, so that what cannot be read gets its status.
    const first = await this.#answerAt(reading, start)
    if (res.destroyed) return
    const textual = isTextual(contentType)
    const client = this.#join(reading, this.#options.sseLifetimeMs)
    try {
      res.writeHead(200, {
        ...common,
        'content-type': 'text/event-stream',
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
        ...(textual ? {} : { 'stream-sse-data-encoding': 'base64' }),
      })
      await this.#sendEvents(reading, start, first, client, textual)
    } catch (error) {
      // The client comes again where it was, and is told.
      if (toHttpError(error).status === 500) this.#failures.add(req, view, error)
    } finally {
      client.stop()
    }
    if (res.destroyed) return
    if (this.#closing) res.shouldKeepAlive = false
    endResponse(req, res, this.#options.stallTimeoutMs)
  }

  /** Sends events until the client has ended. */
  async #sendEvents(reading: Reading, start: LogPosition, first: Answer | undefined, client: LiveClient, textual: boolean): Promise<void> {
    const { res, view, request } = reading
    let cursor = nextCursor(request.cursor)
    let position = start
    let answer = first
    do {
      position = { epoch: start.epoch, offset: answer?.end ?? position.offset }
      cursor = Math.max(cursor, nextCursor(undefined))
      res.cork()
      if (answer !== undefined && answer.body.length > 0) res.write(dataEvent(answer, textual))
      const flows = res.write(controlEvent(formatOffsetToken(position), cursor, position.offset >= tailOf(view)))
      res.uncork()
      if (!flows) await client.drained()
      answer = await this.#nextAnswer(reading, position, client)
    } while (answer !== undefined)
  }

  /** Waits for records at a position; undefined: the client has ended. */
  async #nextAnswer(reading: Reading, position: LogPosition, client: LiveClient): Promise<Answer | undefined> {
    while (client.ended === undefined) {
      const answer = await this.#answerAt(reading, position)
      if (answer !== undefined) return answer
      await client.changed()
    }
    return undefined
  }

  /** Rendered records from a position on; undefined: it is the end. */
  async #answerAt({ view, form }: Reading, position: LogPosition): Promise<Answer | undefined> {
    checkPosition(view, position)
    const tail = tailOf(view)
    if (position.offset >= tail) return undefined
    const answer = await this.#answers.get(view, form, position.offset, tail)
    // What was read may be newer than a cut that the view does not know of yet.
    await refresh(view, answer.end)
    checkPosition(view, position)
    return answer
  }

  #join({ req, res, view }: Reading, lifetimeMs: number): LiveClient {
    let feed = this.#feeds.get(view)
    if (feed === undefined) {
      feed = new ChangeFeed(view)
      this.#feeds.set(view, feed)
    }
    const client = new LiveClient(req, res, feed, lifetimeMs, this.#clients)
    if (this.#closing) client.end('closing')
    return client
  }

  // ── errors ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #fail(req: IncomingMessage, res: ServerResponse, common: OutgoingHttpHeaders, view: LogView<unknown> | undefined, error: unknown): void {
    const { status, code, message, headers } = toHttpError(error)
    // A body that cannot be completed must not look complete.
    if (res.headersSent) res.destroy()
    else sendError(req, res, status, { ...common, ...headers }, code, message, this.#options.stallTimeoutMs)
    if (status === 500) this.#failures.add(req, view, error)
  }
}

/** Whether the records end at `end`, as far as can be known now. */
async function isTail(view: LogView<unknown>, end: number): Promise<boolean> {
  if (end >= tailOf(view)) await refresh(view, end)
  return end >= tailOf(view)
}
