import { isLogError, type LogErrorCode } from '../errors.js'

/** What the command ends with; `sealog --help` prints this table. */
export const EXIT = {
  ok: 0,
  /** Damage was found, input was bad, or an operation failed. */
  failed: 1,
  usage: 2,
  locked: 3,
  notFound: 4,
  newer: 5,
  interrupted: 130,
} as const

export const EXIT_CODES_HELP = `
Exit codes:
  0    done; for verify: no damage
  1    damage was found, input was bad, or an operation failed
  2    the command line is wrong
  3    another writer holds the log
  4    there is no log in the directory
  5    the log was written by a newer version
  130  interrupted`

const BY_CODE: { readonly [code in LogErrorCode]?: number } = {
  ERR_SEALOG_LOCKED: EXIT.locked,
  ERR_SEALOG_NOT_FOUND: EXIT.notFound,
  ERR_SEALOG_FORMAT_NEWER: EXIT.newer,
  ERR_SEALOG_ARGUMENT: EXIT.usage,
  ERR_SEALOG_OPTION: EXIT.usage,
}

export function exitCodeOf(error: unknown): number {
  return (isLogError(error) && BY_CODE[error.code]) || EXIT.failed
}

/** For `--json`: the error as one object, its code first, with the plain facts it carries (file, position, offsets, pid, line …). */
export function errorAsJson(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) }
  const facts = Object.fromEntries(Object.entries(error).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value)))
  const { code, ...others } = facts
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {}
  return { code: code ?? error.name, message: error.message, ...others, ...cause, name: undefined }
}
