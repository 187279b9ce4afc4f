import { isLogError, type LogErrorCode } from '../errors.js'
import { HttpError } from './request.js'

/** Errors of reading that clients can act on; all others are 500. */
const STATUSES: Partial<Record<LogErrorCode, number>> = {
  ERR_SEALOG_OFFSET_RANGE: 400,
  ERR_SEALOG_NOT_FOUND: 404,
  ERR_SEALOG_EPOCH: 410,
  ERR_SEALOG_OFFSET_TRUNCATED: 410,
  ERR_SEALOG_LOST: 410,
  ERR_SEALOG_CLOSED: 503,
}

const MESSAGES: Partial<Record<LogErrorCode, string>> = {
  ERR_SEALOG_OFFSET_RANGE: 'the offset lies past the end',
  ERR_SEALOG_NOT_FOUND: 'there is no log of this name',
  ERR_SEALOG_EPOCH: 'records were cut since this offset was given; begin again',
  ERR_SEALOG_OFFSET_TRUNCATED: 'the offset lies before the first record that is kept; begin again',
  ERR_SEALOG_LOST: 'the records were lost to damage',
  ERR_SEALOG_CLOSED: 'the log is closed',
}

/** What the client is told of an error. Messages of errors name files, so no such message leaves the process. */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  const code = isLogError(error) ? error.code : 'ERR_SEALOG_INTERNAL'
  const status = STATUSES[code] ?? 500
  return new HttpError(status, code, MESSAGES[code] ?? 'the request could not be answered', status === 503 ? { 'retry-after': '1' } : {})
}
