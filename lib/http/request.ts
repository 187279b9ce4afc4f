import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { LogErrorCode } from '../errors.js'
import { type LogPosition, parseOffsetToken } from './offset-token.js'

/** An answer that is an error: status, one of sealog's codes, and a message for the client. */
export class HttpError extends Error {
  readonly status: number
  readonly code: LogErrorCode
  readonly headers: OutgoingHttpHeaders

  constructor(status: number, code: LogErrorCode, message: string, headers: OutgoingHttpHeaders = {}) {
    super(message)
    this.name = 'HttpError'
    this.status = status
    this.code = code
    this.headers = headers
  }
}

export interface RequestTarget {
  /** Path without leading slash, decoded. */
  readonly name: string
  readonly query: URLSearchParams
}

/** What a client asks for: from where on, and whether it waits for more. */
export interface ReadRequest {
  readonly from: 'start' | 'now' | LogPosition
  readonly live: 'long-poll' | 'sse' | undefined
  readonly cursor: number | undefined
}

/** First path segment that the protocol keeps for itself. */
const RESERVED = '__ds'

/**
 * Path and query of a request. 400 for a path that cannot be decoded; 404 for one that no log can have: dot segments, and what only
 * means something to a file system (encoded slashes, backslashes, NUL).
 */
export function parseTarget(req: IncomingMessage): RequestTarget {
  const target = req.url ?? '/'
  const origin = target.startsWith('/') ? '' : (/^https?:\/\/[^/?]*/i.exec(target)?.[0] ?? '')
  const question = target.indexOf('?')
  const path = target.slice(origin.length, question < 0 ? undefined : question)
  const query = new URLSearchParams(question < 0 ? '' : target.slice(question))
  const names = path.replace(/^\//, '').split('/').map(decodeSegment)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (names[0] === RESERVED || names.some((name) => name === '.' || name === '..' || /[/\\\x00-\x1f]/.test(name))) throw notFound()
  return { name: names.join('/'), query }
}

export function notFound(): HttpError {
  return new HttpError(404, 'ERR_SEALOG_NOT_FOUND', 'there is no log of this name')
}

/** The value of a query parameter; undefined when it is not there, 400 when it is there twice. */
export function singleParameter(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name)
  if (values.length > 1) throw badRequest(`${name} must be given once`)
  return values[0]
}

export function badRequest(message: string): HttpError {
  return new HttpError(400, 'ERR_SEALOG_ARGUMENT', message)
}

/** The reading that a query asks for. 400 for values that are malformed, empty or given twice; parameters of others are let be. */
export function parseRead(query: URLSearchParams): ReadRequest {
  const offset = singleParameter(query, 'offset')
  const live = singleParameter(query, 'live')
  if (live !== undefined && live !== 'long-poll' && live !== 'sse') throw badRequest(`live must be 'long-poll' or 'sse'`)
  if (live !== undefined && offset === undefined) throw badRequest('a live read needs an offset')
  return { from: parseFrom(offset), live, cursor: parseCursor(singleParameter(query, 'cursor')) }
}

function parseFrom(offset: string | undefined): ReadRequest['from'] {
  if (offset === undefined || offset === '-1') return 'start'
  if (offset === 'now') return 'now'
  const position = parseOffsetToken(offset)
  if (position === undefined) throw badRequest(`offset must be a token of this server, '-1' or 'now'`)
  return position
}

function parseCursor(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined
  // Fifteen digits leave room to add to it without losing precision.
  if (!/^\d{1,15}$/.test(cursor)) throw badRequest('cursor must be one that this server gave')
  return Number(cursor)
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw badRequest('the path is not validly percent-encoded')
  }
}
