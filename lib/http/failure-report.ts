import type { IncomingMessage } from 'node:http'
import { warn } from '../errors.js'
import type { LogView } from '../index.js'
import { operationError } from '../telemetry/channels.js'
import { toHttpError } from './failure.js'
import type { HandlerOptions } from './options.js'

/** Makes known the errors of a handler that are not the client's. */
export class FailureReport {
  readonly #onError: HandlerOptions['onError']
  readonly #warned = new Set<string>()

  constructor(onError: HandlerOptions['onError']) {
    this.#onError = onError
  }

  /** `view`: the log, if the request got so far. */
  add(request: IncomingMessage, view: LogView<unknown> | undefined, error: unknown): void {
    const { code } = toHttpError(error)
    if (operationError.hasSubscribers) operationError.publish({ log: view?.directory ?? '', operation: 'serve', code })
    if (this.#onError !== undefined) this.#onError(error, request)
    else if (!this.#warned.has(code)) {
      this.#warned.add(code)
      warn('SEALOG_HTTP', `a request could not be answered: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}
