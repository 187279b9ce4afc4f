/** The one table of error codes: code → what it means. docs/api.md prints it. */
export const ERROR_CODES = {
  ERR_SEALOG_ARGUMENT: 'an argument has the wrong type or range',
  ERR_SEALOG_OPTION: 'an option is unknown, misspelt, of the wrong type or out of range',
  ERR_SEALOG_VALUE: 'a value cannot be encoded by the codec of the log',
  ERR_SEALOG_RECORD_TOO_LARGE: 'a record is larger than maxRecordBytes',
  ERR_SEALOG_BATCH_TOO_LARGE: 'a batch is larger than maxBatchBytes or than a segment',
  ERR_SEALOG_QUEUE_FULL: 'more bytes wait to be written than queueBytes allows; await drain()',
  ERR_SEALOG_CONFLICT: 'expectedOffset is not the next offset',
  ERR_SEALOG_CLOSED: 'the log is closed',
  ERR_SEALOG_READ_ONLY: 'the log was opened read-only, see readOnlyReason',
  ERR_SEALOG_FAILED: 'a write or sync failed; the log accepts nothing until reopen()',
  ERR_SEALOG_NO_SPACE: 'no space for the records; nothing of them was written',
  ERR_SEALOG_NO_SPACE_TO_REPAIR: 'no space to save a torn tail before cutting it; the log is open read-only',
  ERR_SEALOG_LOCKED: 'another writer holds the log',
  ERR_SEALOG_NOT_FOUND: 'there is no log in the directory',
  ERR_SEALOG_IO: 'a system call failed, see cause',
  ERR_SEALOG_MANIFEST: 'MANIFEST is damaged or missing; repair with manifest: true rebuilds it',
  ERR_SEALOG_CORRUPT: 'durable records are damaged; open refuses',
  ERR_SEALOG_CHECKSUM: 'the bytes of a record are damaged',
  ERR_SEALOG_FORMAT: 'a file is not of this format',
  ERR_SEALOG_FORMAT_NEWER: 'a file was written by a newer version',
  ERR_SEALOG_OFFSET_RANGE: 'the offset lies past the end',
  ERR_SEALOG_OFFSET_TRUNCATED: 'the offset lies before startOffset',
  ERR_SEALOG_LOST: 'the records were lost to damage and removed by repair',
  ERR_SEALOG_COMPACTED: 'older versions below that offset may have been removed by compaction, see compactedThrough',
  ERR_SEALOG_ARCHIVE: 'an archive or its dictionary is missing, damaged or of another log',
  ERR_SEALOG_CONSUMER: 'the position of a named consumer is damaged, or the consumer was deleted or dropped',
  ERR_SEALOG_EPOCH: 'records that were visible have been cut since; the position belongs to an older epoch',
  ERR_SEALOG_CODEC_MISMATCH: 'the log has another codec',
  ERR_SEALOG_CONFIGURED: 'configure() comes before the first open',
  ERR_SEALOG_BACKEND: 'the requested backend is not available',
  ERR_SEALOG_UNSUPPORTED: 'not possible on this system or for this log',
  ERR_SEALOG_INTERNAL: 'an HTTP request could not be answered for a reason that is no error of sealog, see onError',
} as const

export type LogErrorCode = keyof typeof ERROR_CODES

const brand = Symbol.for('sealog.LogError')

/** What an error carries beside its message: plain facts, named in the documentation of the code. */
export interface LogErrorDetails {
  readonly cause?: unknown
  readonly [name: string]: unknown
}

/**
 * Base of all errors of sealog. `code` is always one of ERROR_CODES; a failed system call is the `cause`, its `errno` copied up.
 * `instanceof` holds across copies of the package.
 */
export class LogError extends Error {
  readonly code: LogErrorCode
  declare readonly errno?: number
  /** File, position and offsets of damage; pid and thread of a lock holder; startOffset or endOffset of a range; field and value of an argument. */
  declare readonly file?: string
  declare readonly position?: number
  declare readonly offset?: number
  declare readonly startOffset?: number
  declare readonly endOffset?: number
  declare readonly pid?: number
  declare readonly thread?: number
  declare readonly field?: string
  declare readonly value?: unknown
  declare readonly epoch?: number

  constructor(code: LogErrorCode, message: string, details: LogErrorDetails = {}) {
    const { cause, ...facts } = details
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'LogError'
    this.code = code
    Object.assign(this, facts)
    if (cause instanceof Error && 'errno' in cause && typeof cause.errno === 'number') Object.assign(this, { errno: cause.errno })
    Object.defineProperty(this, brand, { value: true })
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== LogError) return Function.prototype[Symbol.hasInstance].call(this, value)
    return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true
  }
}

/** Another writer holds the directory; `pid` and `thread` name it when it left a record (−1: unknown). */
export class LockedError extends LogError {
  constructor(directory: string, pid: number, thread: number, details: LogErrorDetails = {}) {
    const holder = pid === process.pid ? `this process, thread ${thread}` : pid > 0 ? `process ${pid}, thread ${thread}` : 'an unknown process'
    super('ERR_SEALOG_LOCKED', `${directory} is open for writing by ${holder}`, { ...details, pid, thread, directory })
    this.name = 'LockedError'
  }
}

/** A read below the first offset that is kept; `startOffset` is that offset. */
export class OffsetTruncatedError extends LogError {
  constructor(offset: number, startOffset: number) {
    super('ERR_SEALOG_OFFSET_TRUNCATED', `offset ${offset} lies before the first kept offset ${startOffset}`, { offset, startOffset })
    this.name = 'OffsetTruncatedError'
  }
}

/** Damage met by a read: `file`, `position`, `offset` (first affected) and `endOffset` (first offset known good again, if any). */
export class ChecksumError extends LogError {
  constructor(file: string, position: number, offset: number, why: string, endOffset?: number) {
    const range = endOffset === undefined ? `from offset ${offset} on` : `offsets ${offset} to ${endOffset - 1}`
    super('ERR_SEALOG_CHECKSUM', `${file}: damage at position ${position} (${why}), ${range}`, { file, position, offset, endOffset })
    this.name = 'ChecksumError'
  }
}

/** What the log was at `offset` cannot be told any more; `compactedThrough` is the first offset at which it can. */
export function compactedError(directory: string, offset: number, compactedThrough: number): LogError {
  return new LogError(
    'ERR_SEALOG_COMPACTED',
    `${directory}: versions below offset ${compactedThrough} may have been removed by compaction; ${offset} lies before it`,
    {
      file: directory,
      offset,
      compactedThrough,
    },
  )
}

export function isLogError(value: unknown): value is LogError {
  return value instanceof LogError
}

export function argumentError(field: string, value: unknown, expected: string): LogError {
  return new LogError('ERR_SEALOG_ARGUMENT', `${field} must be ${expected}, got ${describe(value)}`, { field, value })
}

export function optionError(field: string, value: unknown, expected: string): LogError {
  return new LogError('ERR_SEALOG_OPTION', `option ${field} must be ${expected}, got ${describe(value)}`, { field, value })
}

export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value !== 'object') return String(value)
  const name = value.constructor?.name
  return name === undefined || name === 'Object' ? 'an object' : `an instance of ${name}`
}

/** Emits a process warning with one of sealog's warning codes. */
export function warn(code: `SEALOG_${string}`, message: string): void {
  process.emitWarning(message, { type: 'SealogWarning', code })
}
