import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import path from 'node:path'
import { argumentError } from '../errors.js'
import { type Environment, environmentFor } from '../log/environment.js'
import type { ChunkForm } from '../options.js'
import type { OpenChunk } from '../sealing/chunk.js'
import { chooseEncoding, IMMUTABLE, matchesEntityTag, vary } from './headers.js'
import { type ByteRange, parseRange } from './range.js'
import { sendError, sendHead } from './respond.js'
import { type FileBody, newTransferCounters, sendFileBody, type TransferCounters, type TransferOutcome } from './transfer.js'

export interface SendChunkOptions {
  /** The log that the chunk is of: names it in telemetry. */
  log?: { readonly directory: string; readonly environment: Environment }
  /** Begin at the element of the first record at or above this offset (first … last of the chunk). Default: the whole chunk. */
  from?: number
  /** Whether Range is honoured. Default true. */
  range?: boolean
  /** More headers; they go before those of sendChunk's own that have the same name, whatever its case. */
  headers?: OutgoingHttpHeaders
  /** A client that takes nothing for so long is cut off, in ms. Default 60,000. */
  stallTimeoutMs?: number
  /** Where the transfer is counted. */
  counters?: TransferCounters
}

const CONTENT_TYPES: Readonly<Record<ChunkForm, string>> = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  raw: 'application/octet-stream',
}
const STALL_MS = 60_000

/** The bytes that a request is about, before ranges. */
interface Representation {
  readonly fd: number
  readonly position: number
  readonly end: number
  readonly prefix: string
  readonly key: string
  readonly etag: string
  readonly encoding?: string
}

/**
 * Answers GET and HEAD with a sealed chunk, or with its part from an element on (of a `json` chunk still a whole array), for servers with a protocol of their own:
 * byte ranges, a strong ETag made of the checksum, 304, pre-compressed siblings of whole chunks by Accept-Encoding, `cache-control: immutable`. By sendfile where
 * possible, see `sendFileBody`. Writes the whole answer, errors (405, 416) included. The chunk is taken over: it is closed when the answer has ended, or when this
 * rejects, which it does for wrong arguments (ERR_SEALOG_ARGUMENT) and when the element's position cannot be read; nothing is answered then.
 */
export async function sendChunk(req: IncomingMessage, res: ServerResponse, chunk: OpenChunk, options: SendChunkOptions = {}): Promise<TransferOutcome> {
  const { from, range = true, stallTimeoutMs = STALL_MS } = options
  let sibling: Awaited<ReturnType<OpenChunk['openSibling']>>
  try {
    if (from !== undefined && !(Number.isSafeInteger(from) && from >= chunk.first && from <= chunk.last)) {
      throw argumentError('from', from, `an offset from ${chunk.first} to ${chunk.last}`)
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      sendError(req, res, 405, { allow: 'GET, HEAD' }, 'ERR_SEALOG_UNSUPPORTED', 'only GET and HEAD', stallTimeoutMs)
      return NO_BODY
    }
    const whole = from === undefined || from === chunk.first
    const encoding = whole
      ? chooseEncoding(
          req.headers['accept-encoding'],
          chunk.siblings.map((each) => each.encoding),
        )
      : undefined
    if (encoding !== undefined) sibling = await chunk.openSibling(encoding)
    const representation: Representation =
      sibling !== undefined
        ? {
            fd: sibling.fd,
            position: 0,
            end: sibling.bytes,
            prefix: '',
            key: `${encoding}:${sibling.crc}:${chunk.path}`,
            etag: `"${sibling.crc}-${sibling.bytes}-${encoding}"`,
            encoding,
          }
        : await plain(chunk, whole ? undefined : from)
    const context = {
      environment: options.log?.environment ?? environmentFor('auto'),
      log: options.log?.directory ?? path.dirname(chunk.path),
      chunk: chunk.sequence,
      offset: from ?? chunk.first,
      stallMs: stallTimeoutMs,
      counters: options.counters ?? newTransferCounters(),
    }
    const headers = headersOf(chunk, representation, range, whole, options.headers)
    const { etag, position, end, prefix, fd, key } = representation
    if (matchesEntityTag(req.headers['if-none-match'], etag)) {
      const { 'content-type': _type, 'content-encoding': _encoding, ...kept } = headers
      sendHead(res, 304, kept)
      return NO_BODY
    }
    const length = prefix.length + end - position
    const asked = range && req.method === 'GET' && isRangeCurrent(req, etag) ? parseRange(req.headers.range, length) : undefined
    if (asked === 'unsatisfiable') {
      const message = `there are ${length} bytes`
      sendError(req, res, 416, { 'content-range': `bytes */${length}` }, 'ERR_SEALOG_ARGUMENT', message, stallTimeoutMs)
      return NO_BODY
    }
    const body: FileBody = { fd, position, length: end - position, prefix, key }
    if (asked === undefined) return await sendFileBody(req, res, 200, headers, body, context)
    headers['content-range'] = `bytes ${asked.start}-${asked.end - 1}/${length}`
    return await sendFileBody(req, res, 206, headers, partOf(body, asked), context)
  } finally {
    sibling?.close()
    chunk.close()
  }
}

const NO_BODY: TransferOutcome = { way: 'none', complete: true, bytes: 0 }

async function plain(chunk: OpenChunk, from: number | undefined): Promise<Representation> {
  const tag = `${chunk.crc}-${chunk.bytes}`
  const key = `${chunk.crc}:${chunk.path}`
  const position = from === undefined ? 0 : await chunk.position(from)
  if (position === 0) return { fd: chunk.fd, position, end: chunk.bytes, prefix: '', key, etag: `"${tag}"` }
  return { fd: chunk.fd, position, end: chunk.bytes, prefix: chunk.form === 'json' ? '[' : '', key, etag: `"${tag}-${position}"` }
}

function headersOf(
  chunk: OpenChunk,
  { etag, encoding }: Representation,
  range: boolean,
  whole: boolean,
  more: OutgoingHttpHeaders | undefined,
): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {
    'content-type': CONTENT_TYPES[chunk.form],
    'cache-control': `public, ${IMMUTABLE}`,
    'x-content-type-options': 'nosniff',
    ...inLowerCase(more),
  }
  headers.etag = etag
  if (range) headers['accept-ranges'] = 'bytes'
  if (encoding !== undefined) headers['content-encoding'] = encoding
  return whole && chunk.siblings.length > 0 ? vary(headers, 'Accept-Encoding') : headers
}

function inLowerCase(headers: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  const entries = Object.entries(headers).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), value]))
}

/** If-Range, by strong comparison; no answer has a date to compare with. */
function isRangeCurrent(req: IncomingMessage, etag: string): boolean {
  const header = req.headers['if-range']
  return header === undefined || header === etag
}

function partOf({ fd, position, length, prefix, key }: FileBody, { start, end }: ByteRange): FileBody {
  const skipped = prefix.length
  const from = Math.max(start - skipped, 0)
  return { fd, position: position + from, length: Math.min(Math.max(end - skipped, 0), length) - from, prefix: prefix.slice(start, end), key }
}
