import { LogError, warn } from '../errors.js'
import type { RetentionSettings } from '../options.js'
import { retentionError } from '../telemetry/channels.js'
import { type RetentionLog, type RetentionResult, retain } from './retention.js'

/** What the background needs to know of its log beside what retention does. */
export interface RetentionJobLog extends RetentionLog {
  readonly directory: string
}

/** Passes of retention at intervals, one at a time, for as long as the log is open. A failure is told, and the next pass comes after the usual time. */
export class RetentionJob {
  readonly #log: RetentionJobLog
  readonly #settings: RetentionSettings
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  /** The same trouble is told once, until it is over. */
  #told = ''

  constructor(log: RetentionJobLog, settings: RetentionSettings) {
    this.#log = log
    this.#settings = settings
    this.#wait()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #wait(): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      void this.#pass().finally(() => this.#wait())
    }, this.#settings.intervalMs)
    this.#timer.unref()
  }

  async #pass(): Promise<void> {
    const log = this.#log
    try {
      log.checkWritable()
    } catch {
      // Closing, failed or being truncated: whoever uses the log is told so.
      return
    }
    try {
      this.#tell(await retain(log, this.#settings.policy))
    } catch (error) {
      if (this.#stopped) return
      const problem = error instanceof Error ? error : new LogError('ERR_SEALOG_IO', String(error))
      if (retentionError.hasSubscribers) retentionError.publish({ log: log.directory, error: problem })
      this.#warnOnce('SEALOG_RETENTION_FAILED', `${log.directory}: retention failed, it is tried again: ${problem.message}`)
    }
  }

  #tell({ heldBy }: RetentionResult): void {
    if (heldBy?.reason === 'damaged-consumer') {
      this.#warnOnce('SEALOG_CONSUMER_DAMAGED', `${this.#log.directory}: the consumer ${heldBy.consumer} is damaged and holds everything; reset or delete it`)
    } else this.#told = ''
  }

  #warnOnce(code: `SEALOG_${string}`, message: string): void {
    if (message !== this.#told) warn(code, message)
    this.#told = message
  }
}
