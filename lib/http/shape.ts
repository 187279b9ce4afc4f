import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { argumentError, isLogError, LogError, OffsetTruncatedError, optionError } from '../errors.js'
import type { LogView } from '../index.js'
import { checkNames, integer } from '../options.js'
import { nextCursor } from './cursor.js'
import { toHttpError } from './failure.js'
import { FailureReport } from './failure-report.js'
import { ALLOW, commonHeaders, matchesEntityTag, preflightHeaders, SHORT_LIVED } from './headers.js'
import { ChangeFeed, LiveClient } from './live.js'
import { type HandlerOptions, resolveOrigins } from './options.js'
import { refresh, tailOf } from './position.js'
import { HttpError, notFound, parseTarget } from './request.js'
import { sendBody, sendError, sendHead } from './respond.js'
import { isNext } from './response-life.js'
import { type AnswerBounds, readAnswer, type ShapeAnswer } from './shape-answer.js'
import { recordToMessage, type ToMessage } from './shape-message.js'
import { isHandleValid, parseShapeRequest, type ShapeRequest, shapeHandle } from './shape-request.js'

/** A column as the client's parsers take it, such as `{ type: 'int4' }`; see the schema of Electric's protocol. */
export interface ShapeColumnInfo {
  readonly type: string
  readonly [property: string]: unknown
}

export interface ShapeOptions<T = unknown> extends Pick<HandlerOptions, 'longPollTimeoutMs' | 'stallTimeoutMs' | 'cors' | 'onError'> {
  /** The changes a record means. Default: `recordToMessage`, which needs a log with codec `json`. */
  toMessage?: ToMessage<T>
  /** Types of columns. Default: none, every column stays text. */
  schema?: { readonly [column: string]: ShapeColumnInfo }
  /** Answers end at multiples of it, at the end of a batch. Default 1000, 1 … 1,000,000. */
  maxRecords?: number
  /** Characters of messages after which an answer ends, at the end of a batch. Default 1 Mi, 1 … 256 Mi. */
  maxLength?: number
}

/** The log, or a function that finds it by the path of the URL (without leading slash, decoded); undefined: 404. */
export type ShapeSource<T> = LogView<T> | ((name: string) => LogView<T> | undefined | Promise<LogView<T> | undefined>)

/** For `node:http`, Express, Connect; in Fastify after `reply.hijack()`. */
export interface ShapeHandler {
  (request: IncomingMessage, response: ServerResponse): void
  /** For a graceful shutdown: answers the live requests that wait, and refuses what comes later with 503. */
  close(): void
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ShapeOptions>([
  'toMessage',
  'schema',
  'maxRecords',
  'maxLength',
  'longPollTimeoutMs',
  'stallTimeoutMs',
  'cors',
  'onError',
])
const EXPOSED = ['electric-handle', 'electric-offset', 'electric-schema', 'electric-cursor', 'electric-up-to-date', 'electric-has-data', 'etag'].join(', ')
const MUST_REFETCH = '[{"headers":{"control":"must-refetch"}}]'
const CACHE_BEGINNING = 'public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746'
const CACHE_CATCH_UP = `public, ${SHORT_LIVED}`
const CACHE_LIVE = 'public, max-age=5, stale-while-revalidate=5'

/**
 * Serves a log as a shape by Electric's HTTP protocol, for `ShapeStream` and `Shape` of `@electric-sql/client` with long-polling. Only durable records
 * are served. Answers 400 for bad parameters, 404 for unknown logs, 405 for other methods than GET and HEAD, 409 with the new handle when the client's
 * history is gone (the log was cut, or its beginning given up), 410 for records lost to damage, 503 for a closed log. Throws ERR_SEALOG_OPTION and
 * ERR_SEALOG_ARGUMENT.
 */
export function createShapeHandler<T>(source: ShapeSource<T>, options: ShapeOptions<T> = {}): ShapeHandler {
  if (typeof source !== 'function' && (typeof source !== 'object' || source === null)) throw argumentError('source', source, 'a log or a function')
  const service = new ShapeService<T>(source, options)
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    void service.serve(request, response)
  }
  return Object.assign(handler, { close: () => service.close() })
}

/** One request and its answer. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly common: OutgoingHttpHeaders
}

class ShapeService<T> {
  readonly #source: ShapeSource<T>
  readonly #toMessage: ToMessage<T>
  readonly #anyCodec: boolean
  readonly #bounds: AnswerBounds
  readonly #longPollTimeoutMs: number
  readonly #stallTimeoutMs: number
  readonly #schema: string
  readonly #origins: '*' | readonly string[]
  readonly #failures: FailureReport
  /** Answers being read; whoever asks for the same meanwhile shares them. */
  readonly #reading = new Map<string, Promise<ShapeAnswer>>()
  readonly #feeds = new WeakMap<LogView<T>, ChangeFeed>()
  readonly #waiting = new Set<LiveClient>()
  #closed = false

  constructor(source: ShapeSource<T>, options: ShapeOptions<T>) {
    checkNames(options, OPTION_NAMES, 'createShapeHandler')
    const { toMessage, schema = {}, onError } = options
    if (toMessage !== undefined && typeof toMessage !== 'function') throw optionError('toMessage', toMessage, 'a function')
    if (onError !== undefined && typeof onError !== 'function') throw optionError('onError', onError, 'a function')
    if (typeof schema !== 'object' || schema === null) throw optionError('schema', schema, 'an object')
    this.#source = source
    this.#anyCodec = toMessage !== undefined
    this.#toMessage = toMessage ?? recordToMessage
    this.#bounds = {
      maxRecords: integer(options.maxRecords, 'maxRecords', 1, 1_000_000, 1000),
      maxLength: integer(options.maxLength, 'maxLength', 1, 2 ** 28, 2 ** 20),
    }
    this.#longPollTimeoutMs = integer(options.longPollTimeoutMs, 'longPollTimeoutMs', 1, 3_600_000, 20_000)
    this.#stallTimeoutMs = integer(options.stallTimeoutMs, 'stallTimeoutMs', 1, 3_600_000, 60_000)
    this.#schema = toHeader(JSON.stringify(schema))
    this.#origins = resolveOrigins(options.cors)
    this.#failures = new FailureReport(onError)
  }

  close(): void {
    this.#closed = true
    for (const client of this.#waiting) client.end('closing')
  }

  /** Answers a request whatever happens; never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = { request, response, common: commonHeaders(request, this.#origins, EXPOSED) }
    let view: LogView<T> | undefined
    try {
      if (!(await isNext(request, response))) return
      if (this.#closed) response.shouldKeepAlive = false
      if (request.method === 'OPTIONS') {
        sendHead(response, 204, preflightHeaders(exchange.common))
        return
      }
      if (request.method !== 'GET' && request.method !== 'HEAD') throw new HttpError(405, 'ERR_SEALOG_UNSUPPORTED', 'shapes can only be read here', ALLOW)
      if (this.#closed) throw new HttpError(503, 'ERR_SEALOG_CLOSED', 'the server is shutting down', { 'retry-after': '1' })
      const { name, query } = parseTarget(request)
      const wanted = parseShapeRequest(query)
      view = typeof this.#source === 'function' ? await this.#source(name) : this.#source
      if (view === undefined) throw notFound()
      await this.#answer(view, wanted, exchange)
    } catch (error) {
      // Cut meanwhile, or so far behind that the records were given up while they were read.
      const isHistoryGone = error instanceof OffsetTruncatedError || (isLogError(error) && error.code === 'ERR_SEALOG_EPOCH')
      if (isHistoryGone && view !== undefined) this.#mustRefetch(view, exchange)
      else this.#fail(exchange, view, error)
    }
  }

  async #answer(view: LogView<T>, wanted: ShapeRequest, exchange: Exchange): Promise<void> {
    view.checkOpen()
    if (!this.#anyCodec && view.codec !== 'json') {
      throw new LogError('ERR_SEALOG_CODEC_MISMATCH', `${view.directory} has codec ${view.codec}: option toMessage must say what its records mean`)
    }
    if (wanted.handle !== undefined && !isHandleValid(view, wanted.handle, wanted.from)) return this.#mustRefetch(view, exchange)
    const from = wanted.from === 'beginning' ? view.startOffset : wanted.from === 'now' ? tailOf(view) : wanted.from
    const handle = wanted.handle ?? shapeHandle(view)
    if (tailOf(view) <= from) await refresh(view, from)
    if (wanted.live) {
      await this.#whenDurable(view, from, this.#longPollTimeoutMs, exchange)
    } else if (tailOf(view) < from) {
      // Ahead of what this process has seen of the log yet; an offset that was never given out stays ahead.
      await this.#whenDurable(view, from - 1, this.#longPollTimeoutMs / 2, exchange)
    }
    view.checkOpen()
    if (exchange.response.destroyed) return
    if (!isHandleValid(view, handle, from)) return this.#mustRefetch(view, exchange)
    if (tailOf(view) < from) throw new HttpError(400, 'ERR_SEALOG_OFFSET_RANGE', 'the offset lies past the end')
    const answer = wanted.from === 'now' ? { messages: '', next: from, complete: true } : await this.#read(view, handle, from)
    // What was read may be newer than a cut that the view does not know of yet.
    await refresh(view, answer.next)
    if (!isHandleValid(view, handle, from)) return this.#mustRefetch(view, exchange)
    this.#sendAnswer(exchange, wanted, handle, from, answer)
  }

  /** Resolves when the record at `from` is durable, the log has changed its history or was closed, or the client waits no longer. */
  async #whenDurable(view: LogView<T>, from: number, milliseconds: number, { request, response }: Exchange): Promise<void> {
    const { epoch } = view
    const isWaiting = () => !this.#closed && !view.closed && view.epoch === epoch && tailOf(view) <= from
    if (!isWaiting()) return
    const client = new LiveClient(request, response, this.#feedOf(view), milliseconds, this.#waiting)
    while (client.ended === undefined && isWaiting()) await client.changed()
    client.stop()
  }

  #feedOf(view: LogView<T>): ChangeFeed {
    let feed = this.#feeds.get(view)
    if (feed === undefined) {
      feed = new ChangeFeed(view)
      this.#feeds.set(view, feed)
    }
    return feed
  }

  #read(view: LogView<T>, handle: string, from: number): Promise<ShapeAnswer> {
    const key = `${handle}:${from}:${tailOf(view)}`
    const existing = this.#reading.get(key)
    if (existing !== undefined) return existing
    const answer = readAnswer(view, from, this.#bounds, this.#toMessage).finally(() => this.#reading.delete(key))
    this.#reading.set(key, answer)
    return answer
  }

  #sendAnswer(exchange: Exchange, wanted: ShapeRequest, handle: string, from: number, answer: ShapeAnswer): void {
    const isFirst = wanted.from === 'beginning'
    // Caches keep the first answer for long: it never claims to be the latest.
    const upToDate = answer.complete && !isFirst
    const hasData = answer.messages !== ''
    const offset = `${answer.next}_0`
    // An answer without news must not be found unchanged: the next one for the same offset may bring some.
    const mark = `${upToDate ? ':end' : ''}${wanted.live && !hasData ? `:${Date.now()}` : ''}`
    const etag = `"${handle}:${isFirst ? '-1' : `${from}_0`}:${offset}${mark}"`
    const headers: OutgoingHttpHeaders = {
      'electric-handle': handle,
      'electric-offset': offset,
      'electric-has-data': String(hasData),
      'cache-control': cacheControl(wanted, answer),
      etag,
      // Last, see readHeaders.
      ...exchange.common,
    }
    if (wanted.live) headers['electric-cursor'] = nextCursor(wanted.cursor)
    else headers['electric-schema'] = this.#schema
    if (upToDate) headers['electric-up-to-date'] = ''
    if (matchesEntityTag(exchange.request.headers['if-none-match'], etag)) {
      sendHead(exchange.response, 304, headers)
      return
    }
    const control = upToDate ? `{"headers":{"control":"up-to-date","global_last_seen_lsn":"${answer.next}"}}` : ''
    this.#send(exchange, 200, headers, `[${answer.messages}${hasData && upToDate ? ',' : ''}${control}]`)
  }

  #mustRefetch(view: LogView<T>, exchange: Exchange): void {
    const headers = { ...exchange.common, 'electric-handle': shapeHandle(view), 'cache-control': 'public, max-age=60, must-revalidate' }
    this.#send(exchange, 409, headers, MUST_REFETCH)
  }

  #fail({ request, response, common }: Exchange, view: LogView<T> | undefined, error: unknown): void {
    const { status, code, message, headers } = toHttpError(error)
    if (status === 500) this.#failures.add(request, view, error)
    if (response.headersSent) response.destroy()
    else sendError(request, response, status, { ...common, ...headers, 'surrogate-control': 'no-store' }, code, message, this.#stallTimeoutMs)
  }

  #send({ request, response }: Exchange, status: number, headers: OutgoingHttpHeaders, body: string): void {
    if (this.#closed) response.shouldKeepAlive = false
    sendBody(request, response, status, { 'content-type': 'application/json', ...headers }, Buffer.from(body), this.#stallTimeoutMs)
  }
}

function cacheControl(wanted: ShapeRequest, answer: ShapeAnswer): string {
  if (wanted.live) return CACHE_LIVE
  if (wanted.from === 'now') return 'no-store'
  // Incomplete, it ends where it will end for ever.
  return wanted.from === 'beginning' && !answer.complete ? CACHE_BEGINNING : CACHE_CATCH_UP
}

/** Header values are ASCII; JSON can say the rest with escapes. */
function toHeader(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
