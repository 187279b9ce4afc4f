import type { LogView } from '../index.js'
import { badRequest, singleParameter } from './request.js'

/** A request for a part of a shape. */
export interface ShapeRequest {
  readonly handle: string | undefined
  /** First record wanted: an offset of the log, from the beginning, or only what comes. */
  readonly from: number | 'beginning' | 'now'
  readonly live: boolean
  readonly cursor: number | undefined
}

/** Numbers as they are written in offsets, handles and cursors. */
const NUMBER = /^(0|[1-9]\d{0,15})$/

/** Throws HttpError 400 for a parameter that is malformed, doubled, missing or of a feature that is not served; lets all others be. */
export function parseShapeRequest(query: URLSearchParams): ShapeRequest {
  for (const name of query.keys()) if (name.startsWith('subset__')) throw badRequest('subsets of a shape are not served')
  for (const name of ['live_sse', 'experimental_live_sse']) {
    if (singleParameter(query, name) === 'true') throw badRequest('server-sent events of a shape are not served; use long-polling')
  }
  const live = singleParameter(query, 'live') ?? 'false'
  if (live !== 'true' && live !== 'false') throw badRequest('live must be true or false')
  const from = parseOffset(singleParameter(query, 'offset') ?? '')
  const handle = singleParameter(query, 'handle')
  if (typeof from === 'number' && handle === undefined) throw badRequest('this offset needs the handle it was given with')
  if (live === 'true' && from === 'beginning') throw badRequest('a live read needs an offset other than -1')
  return { handle, from, live: live === 'true', cursor: parseNumber(singleParameter(query, 'cursor') ?? '') }
}

function parseOffset(text: string): ShapeRequest['from'] {
  if (text === '-1') return 'beginning'
  if (text === 'now') return 'now'
  const offset = text.endsWith('_0') ? parseNumber(text.slice(0, -2)) : undefined
  if (offset === undefined) throw badRequest('offset must be -1, now or one that was given in electric-offset')
  return offset
}

function parseNumber(text: string): number | undefined {
  const number = NUMBER.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}

/**
 * Names one history of a log: its id, its epoch, and where it began when the handle was given out. Clients count on it that a handle they were told
 * to give up never comes back: the epoch rises with every cut at the end, and the start with every one at the beginning.
 */
export function shapeHandle(view: LogView<unknown>): string {
  return `${handlePrefix(view)}${view.startOffset}`
}

/** True while a client that has everything of this handle below `from` misses nothing. */
export function isHandleValid(view: LogView<unknown>, handle: string, from: ShapeRequest['from']): boolean {
  if (typeof from !== 'number') return handle === shapeHandle(view)
  const prefix = handlePrefix(view)
  if (!handle.startsWith(prefix) || from < view.startOffset) return false
  const start = parseNumber(handle.slice(prefix.length))
  return start !== undefined && start <= view.startOffset
}

function handlePrefix(view: LogView<unknown>): string {
  return `${Buffer.from(view.logId).toString('hex', 0, 8)}-${view.epoch}-`
}
