import { performance } from 'node:perf_hooks'
import { isLogError } from '../errors.js'
import { operationError, readDone } from '../telemetry/channels.js'

export type ReadOperation = 'get' | 'getSync' | 'getMany' | 'block'

/** What one read tells those who listen: made only when somebody does. */
export class ReadReport {
  readonly #log: string
  readonly #operation: ReadOperation
  readonly #start = performance.now()
  /** The tail cache has answered. */
  cached = false

  constructor(log: string, operation: ReadOperation) {
    this.#log = log
    this.#operation = operation
  }

  static get wanted(): boolean {
    return readDone.hasSubscribers || operationError.hasSubscribers
  }

  done(records: number): void {
    if (!readDone.hasSubscribers) return
    const duration = (performance.now() - this.#start) / 1000
    readDone.publish({ log: this.#log, operation: this.#operation, duration, records, source: this.cached ? 'cache' : 'segment' })
  }

  /** A mistake in the arguments is no failed read. */
  failed(error: unknown): void {
    if (operationError.hasSubscribers && isLogError(error) && error.code !== 'ERR_SEALOG_ARGUMENT')
      operationError.publish({ log: this.#log, operation: 'read', code: error.code })
  }
}
