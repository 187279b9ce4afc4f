const EPOCH_DIGITS = 10
const OFFSET_DIGITS = 16
const TOKEN = /^(\d{10})_(\d{16})$/

/** A place in a log: the offset of a record (or the end), and the epoch in which it holds. */
export interface LogPosition {
  readonly epoch: number
  readonly offset: number
}

/**
 * The offset token of a position: epoch and offset in decimal digits of fixed width, so that tokens sort as text as positions do.
 * Never `-1` or `now`, which the protocol keeps for itself.
 */
export function formatOffsetToken(position: LogPosition): string {
  return `${String(position.epoch).padStart(EPOCH_DIGITS, '0')}_${String(position.offset).padStart(OFFSET_DIGITS, '0')}`
}

/** The position that a token stands for; undefined for anything that `formatOffsetToken` does not write. */
export function parseOffsetToken(token: string): LogPosition | undefined {
  const match = TOKEN.exec(token)
  if (match === null) return undefined
  const offset = Number(match[2])
  return Number.isSafeInteger(offset) ? { epoch: Number(match[1]), offset } : undefined
}
