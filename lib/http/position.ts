import { LogError, OffsetTruncatedError } from '../errors.js'
import type { LogView } from '../index.js'
import type { LogPosition } from './offset-token.js'
import type { ReadRequest } from './request.js'

/** Where the records end that may be served: those that survive a power loss. */
export function tailOf(view: LogView<unknown>): number {
  return Math.max(view.startOffset, view.durableOffset)
}

/** A view of another process's log learns what its writer did only when it looks. */
export async function refresh(view: LogView<unknown>, offset: number): Promise<void> {
  if (!view.writable && !view.closed) await view.catchUp(offset)
}

/**
 * The position at which a reading begins. Throws ERR_SEALOG_EPOCH and ERR_SEALOG_OFFSET_TRUNCATED for a token whose records are gone,
 * ERR_SEALOG_OFFSET_RANGE for one past the end.
 */
export async function startPosition(view: LogView<unknown>, from: ReadRequest['from']): Promise<LogPosition> {
  if (from === 'start') return { epoch: view.epoch, offset: view.startOffset }
  if (from === 'now') {
    await refresh(view, tailOf(view))
    return { epoch: view.epoch, offset: tailOf(view) }
  }
  if (from.epoch !== view.epoch || from.offset > tailOf(view)) await refresh(view, from.offset)
  checkPosition(view, from)
  if (from.offset > tailOf(view)) {
    throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${from.offset} lies past the end ${tailOf(view)}`, { offset: from.offset, endOffset: tailOf(view) })
  }
  return from
}

/** Throws when the records at a position are gone or the log is closed. */
export function checkPosition(view: LogView<unknown>, position: LogPosition): void {
  view.checkOpen()
  if (position.epoch !== view.epoch) {
    throw new LogError('ERR_SEALOG_EPOCH', `records were cut since epoch ${position.epoch}, it is ${view.epoch} now; begin again`, { epoch: view.epoch })
  }
  if (position.offset < view.startOffset) throw new OffsetTruncatedError(position.offset, view.startOffset)
}
