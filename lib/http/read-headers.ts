import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { LogView } from '../index.js'
import type { ChunkForm } from '../options.js'
import type { ChunkEncoding } from '../sealing/chunk.js'
import { nextCursor } from './cursor.js'
import { IMMUTABLE, SHORT_LIVED } from './headers.js'
import { formatOffsetToken, type LogPosition } from './offset-token.js'
import type { ReadRequest } from './request.js'

/** One request to read a log. */
export interface Reading {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly common: OutgoingHttpHeaders
  readonly view: LogView<unknown>
  readonly request: ReadRequest
  readonly form: ChunkForm
  readonly contentType: string
  /** Who may keep answers: `public` or `private`. */
  readonly cache: 'public' | 'private'
}

/** Headers of an answer with the records from `start` to `end`; `upToDate`: the log ended there. */
export function readHeaders(reading: Reading, start: LogPosition, end: number, upToDate: boolean, encoding?: ChunkEncoding): OutgoingHttpHeaders {
  const { view, form } = reading
  const next = formatOffsetToken({ epoch: start.epoch, offset: end })
  // An answer that was the newest is not that any more when there is more; a cache must not go on saying it.
  const suffix = `${upToDate ? ':t' : ''}${encoding === undefined ? '' : `:${encoding}`}`
  const headers: OutgoingHttpHeaders = {
    'content-type': reading.contentType,
    'cache-control': `${reading.cache}, ${SHORT_LIVED}`,
    etag: `"${logTag(view)}-${form}:${formatOffsetToken(start)}:${next}${suffix}"`,
    'stream-next-offset': next,
    'stream-cursor': String(nextCursor(reading.request.cursor)),
    // Last: V8 takes 30 times as long for an object that begins as a copy.
    ...reading.common,
  }
  if (upToDate) headers['stream-up-to-date'] = 'true'
  return headers
}

/** The same for what is sent of a sealed chunk. */
export function chunkHeaders(reading: Reading, start: LogPosition, end: number, upToDate: boolean, encoding?: ChunkEncoding): OutgoingHttpHeaders {
  const headers = readHeaders(reading, start, end, upToDate, encoding)
  // What begins at a position and ends in front of more will be the same for ever; the beginning of a log moves.
  if (!upToDate && typeof reading.request.from === 'object') headers['cache-control'] = `${reading.cache}, ${IMMUTABLE}`
  return headers
}

const logTags = new WeakMap<LogView<unknown>, string>()

/** Tells logs apart in entity tags. */
function logTag(view: LogView<unknown>): string {
  let tag = logTags.get(view)
  if (tag === undefined) {
    tag = Buffer.from(view.logId).toString('hex', 0, 8)
    logTags.set(view, tag)
  }
  return tag
}
