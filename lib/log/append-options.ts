export interface AppendOptions {
  /** Stored with the record: a string (as UTF-8) or bytes, at most 65,535. */
  key?: string | Uint8Array
  /** ms since the epoch, an integer; default: now, never below the last one given by sealog. */
  timestamp?: number
  /** Append only if this is the offset the record will get, else ERR_SEALOG_CONFLICT. */
  expectedOffset?: number
  /** Before acceptance: nothing is appended. After it: gives up the wait, not the record. */
  signal?: AbortSignal
}

export const APPEND_OPTIONS: ReadonlySet<string> = new Set<keyof AppendOptions>(['key', 'timestamp', 'expectedOffset', 'signal'])

/** The same, but it rejects with the reason of `signal` as soon as that is aborted. */
export function abortable<R>(promise: Promise<R>, signal: AbortSignal): Promise<R> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
