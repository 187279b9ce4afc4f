import type { IncomingMessage } from 'node:http'
import { optionError } from '../errors.js'
import { checkNames, integer, oneOf } from '../options.js'

const KiB = 1024
const MiB = 1024 * KiB
const HOUR_MS = 3_600_000

/** Options of `createHandler`. */
export interface HandlerOptions {
  /** Bytes after which an answer that is rendered from records ends, at the end of a batch; one batch at least. Default 1 MiB, 1 byte … 64 MiB. */
  maxAnswerBytes?: number
  /** How long a long-poll waits before it is answered with 204, in ms. Default 20,000. */
  longPollTimeoutMs?: number
  /** How long an event stream lasts before the client has to come again, in ms. Default 60,000. */
  sseLifetimeMs?: number
  /** A client that takes nothing for so long while bytes wait for it is cut off, in ms. Default 60,000. */
  stallTimeoutMs?: number
  /** Content-Type of logs of form `raw`. Default `application/octet-stream`. With a `text/…` type event streams carry text, else base64. */
  contentType?: string
  /** Origins whose pages may read: `*` (default), one origin, a list of them, or `false` for none. */
  cors?: string | readonly string[] | false
  /** `public` (default): shared caches may keep answers. `private`: only the client's own; for what not everybody may see. */
  cache?: 'public' | 'private'
  /** Told of every error that is not the client's: a damaged record, a resolver that throws. Default: one process warning (`SEALOG_HTTP`) per code. */
  onError?: (error: unknown, req: IncomingMessage) => void
}

export interface ResolvedHandlerOptions {
  readonly maxAnswerBytes: number
  readonly longPollTimeoutMs: number
  readonly sseLifetimeMs: number
  readonly stallTimeoutMs: number
  readonly contentType: string
  readonly origins: '*' | readonly string[]
  readonly cache: 'public' | 'private'
  readonly onError: HandlerOptions['onError']
}

const NAMES: ReadonlySet<string> = new Set<keyof HandlerOptions>([
  'maxAnswerBytes',
  'longPollTimeoutMs',
  'sseLifetimeMs',
  'stallTimeoutMs',
  'contentType',
  'cors',
  'cache',
  'onError',
])

export function resolveHandler(options: HandlerOptions): ResolvedHandlerOptions {
  checkNames(options, NAMES, 'createHandler')
  const { contentType = 'application/octet-stream', onError } = options
  if (typeof contentType !== 'string' || !/^[\w.+-]+\/[\w.+-]+(\s*;[\x20-\x7e]*)?$/.test(contentType))
    throw optionError('contentType', contentType, 'a media type')
  if (onError !== undefined && typeof onError !== 'function') throw optionError('onError', onError, 'a function')
  return {
    maxAnswerBytes: integer(options.maxAnswerBytes, 'maxAnswerBytes', 1, 64 * MiB, MiB),
    longPollTimeoutMs: integer(options.longPollTimeoutMs, 'longPollTimeoutMs', 1, HOUR_MS, 20_000),
    sseLifetimeMs: integer(options.sseLifetimeMs, 'sseLifetimeMs', 1, HOUR_MS, 60_000),
    stallTimeoutMs: integer(options.stallTimeoutMs, 'stallTimeoutMs', 1, HOUR_MS, 60_000),
    contentType,
    origins: resolveOrigins(options.cors),
    cache: oneOf(options.cache, 'cache', ['public', 'private'], 'public'),
    onError,
  }
}

export function resolveOrigins(cors: HandlerOptions['cors']): '*' | readonly string[] {
  if (cors === undefined || cors === '*') return '*'
  if (cors === false) return []
  const origins = typeof cors === 'string' ? [cors] : cors
  if (!Array.isArray(origins) || !origins.every((origin) => typeof origin === 'string' && /^[\x21-\x7e]+$/.test(origin))) {
    throw optionError('cors', cors, `'*', an origin, a list of origins, or false`)
  }
  return origins
}
