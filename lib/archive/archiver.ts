import { LogError, warn } from '../errors.js'
import { setAside } from '../log/archive-moves.js'
import type { Log } from '../log/log.js'
import type { ArchiveFacts, ClosedSegment } from '../log/manifest.js'
import { archiveDone, archiveError, archiveQuarantine, archiveStart, operationError } from '../telemetry/channels.js'
import { archiveSegment, isDamage, whileOpen } from './archive-segment.js'
import type { Dictionaries } from './dictionaries.js'
import type { ArchiveSettings } from './options.js'
import { Pace } from './pace.js'

const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 60_000

/** Figures since the archive was opened; bytes are those of segments and of their archives. */
export interface ArchiverStats {
  /** Closed segments that are to be archived, and how many of them are being archived now. */
  readonly pending: number
  readonly running: number
  readonly archived: number
  readonly segmentBytes: number
  readonly archiveBytes: number
  /** Attempts that failed, and what the last one failed with; undefined when the last pass ended well. */
  readonly failures: number
  readonly lastError: Error | undefined
  /** Segments that are set aside because they are damaged. */
  readonly quarantined: number
}

class Cancelled extends Error {}

/**
 * Archives what MANIFEST calls closed and not archived: that set is the queue, so a restart loses and repeats nothing. A segment that fails keeps none of the others
 * back; what failed is tried again with growing delays, what is damaged is set aside.
 */
export class Archiver {
  readonly #log: Log<unknown>
  readonly #settings: ArchiveSettings
  readonly #dictionaries: Dictionaries
  readonly #pace: Pace
  #paused = false
  #running: Promise<void> | undefined
  readonly #active = new Set<number>()
  #again = false
  #retry: NodeJS.Timeout | undefined
  #failedPasses = 0
  #failure: unknown
  #lastWarning = ''
  #warnedOfQueue = false
  #seen: readonly ClosedSegment[] | undefined
  #endBacklog: (() => void) | undefined
  #archived = 0
  #segmentBytes = 0
  #archiveBytes = 0
  #failures = 0

  constructor(log: Log<unknown>, settings: ArchiveSettings, dictionaries: Dictionaries) {
    this.#log = log
    this.#settings = settings
    this.#dictionaries = dictionaries
    this.#pace = new Pace(settings.bytesPerSecond)
  }

  get stats(): ArchiverStats {
    const { closed } = this.#parts.manifest.state
    return {
      pending: closed.filter(isPending).length,
      running: this.#active.size,
      archived: this.#archived,
      segmentBytes: this.#segmentBytes,
      archiveBytes: this.#archiveBytes,
      failures: this.#failures,
      lastError: this.#failure === undefined ? undefined : errorOf(this.#failure),
      quarantined: closed.filter(({ quarantined }) => quarantined !== undefined).length,
    }
  }

  /** Something about the log has changed: cheap unless it was its closed segments. */
  noticed(): void {
    const { closed } = this.#parts.manifest.state
    if (closed === this.#seen || this.#paused) return
    this.#seen = closed
    this.#watchQueue()
    if (this.#settings.automatic) this.kick()
  }

  /** Archives in the background what is pending. */
  kick(): void {
    if (this.#paused || this.#log.closed) return
    this.#again = true
    if (this.#running !== undefined || this.#retry !== undefined) return
    this.#begin()
  }

  /** Archives what is pending now; then throws the first failure, if any. Damaged segments are set aside and no failure. */
  async drain(): Promise<void> {
    this.#checkOpen()
    while (this.#running !== undefined) await this.#running
    this.#checkOpen()
    this.#begin()
    await this.#running
    this.#checkOpen()
    if (this.#failure !== undefined) throw this.#failure
  }

  async pause(): Promise<void> {
    this.pauseSync()
    await this.#running
  }

  pauseSync(): void {
    this.#paused = true
    this.#again = false
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.#pace.wake()
    this.#setBacklog(false)
  }

  resume(): void {
    this.#paused = false
    this.#seen = undefined
    this.noticed()
  }

  get #parts() {
    return this.#log.commitDriver().parts
  }

  #checkOpen(): void {
    if (this.#paused) throw new LogError('ERR_SEALOG_CLOSED', `the archive of ${this.#log.directory} is closed, or its log is being closed or cut`)
  }

  #begin(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.#running = this.#pass().finally(() => {
      this.#running = undefined
      if (this.#again && this.#retry === undefined && this.#settings.automatic && !this.#paused) this.#begin()
    })
  }

  /** One attempt for everything that is pending, the oldest first. */
  async #pass(): Promise<void> {
    this.#again = false
    let failure: unknown
    const tried = new Set<number>()
    const next = (): ClosedSegment | undefined => this.#parts.manifest.state.closed.find((facts) => isPending(facts) && !tried.has(facts.base))
    const work = async (): Promise<void> => {
      for (let facts = next(); facts !== undefined && !this.#paused; facts = next()) {
        tried.add(facts.base)
        try {
          await this.#archive(facts)
        } catch (error) {
          if (!(error instanceof Cancelled) && !this.#paused) failure ??= error
        }
      }
    }
    await Promise.all(Array.from({ length: this.#settings.parallelism }, work))
    if (this.#paused) return
    this.#failure = failure
    this.#watchQueue()
    if (failure === undefined) {
      this.#failedPasses = 0
      this.#lastWarning = ''
    } else this.#retryLater(failure)
  }

  async #archive(facts: ClosedSegment): Promise<void> {
    const { directory: log } = this.#log
    const { base } = facts
    const parts = this.#parts
    const started = performance.now()
    this.#active.add(base)
    if (archiveStart.hasSubscribers) archiveStart.publish({ log, base })
    try {
      const { level, blockBytes } = this.#settings
      const archive = await this.#dictionaries.use((dictionary) =>
        archiveSegment(this.#log, parts, facts, { level, blockBytes, dictionary }, { pace: this.#pace, check: this.#check }),
      )
      if (archive === undefined) return
      this.#count(facts, archive)
      if (archiveDone.hasSubscribers)
        archiveDone.publish({ log, base, duration: (performance.now() - started) / 1000, segmentBytes: facts.bytes, bytes: archive.bytes })
    } catch (error) {
      if (error instanceof Cancelled || this.#log.closed) throw error
      // It was removed or replaced meanwhile, and with it the file that was read.
      if (this.#parts !== parts || !parts.manifest.state.closed.includes(facts)) return
      if (isDamage(error)) await this.#quarantine(facts, error)
      else {
        this.#report(base, errorOf(error))
        throw error
      }
    } finally {
      this.#active.delete(base)
    }
  }

  readonly #check = (): void => {
    if (this.#paused) throw new Cancelled()
  }

  #count(facts: ClosedSegment, archive: ArchiveFacts): void {
    this.#archived++
    this.#segmentBytes += facts.bytes
    this.#archiveBytes += archive.bytes
    this.#dictionaries.archived()
    this.#watchQueue()
  }

  async #quarantine(facts: ClosedSegment, error: LogError): Promise<void> {
    const { directory: log } = this.#log
    const parts = this.#parts
    await whileOpen(this.#log, parts, () => setAside(parts, facts, error.message))
    if (archiveQuarantine.hasSubscribers) archiveQuarantine.publish({ log, base: facts.base, error })
    warn(
      'SEALOG_SEGMENT_QUARANTINED',
      `${log}: the segment of offsets ${facts.base} to ${facts.end - 1} is damaged; it is kept and not archived: ${error.message}`,
    )
  }

  #report(base: number, error: Error): void {
    const { directory: log } = this.#log
    this.#failures++
    if (archiveError.hasSubscribers) archiveError.publish({ log, base, error, retryInMs: this.#delay })
    if (operationError.hasSubscribers) operationError.publish({ log, operation: 'archive', code: error instanceof LogError ? error.code : 'ERR_SEALOG_IO' })
  }

  get #delay(): number {
    return Math.min(FIRST_RETRY_MS * 2 ** this.#failedPasses, LAST_RETRY_MS)
  }

  #retryLater(failure: unknown): void {
    const { message } = errorOf(failure)
    if (message !== this.#lastWarning) warn('SEALOG_ARCHIVE_FAILED', `${this.#log.directory}: a segment could not be archived, it is tried again: ${message}`)
    this.#lastWarning = message
    const delay = this.#delay
    this.#failedPasses++
    if (!this.#settings.automatic) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.kick()
    }, delay)
    // Whoever waits in drain() waits for this.
    if (this.#endBacklog === undefined) this.#retry.unref()
  }

  #watchQueue(): void {
    const { queueSize, queuePolicy } = this.#settings
    const waiting = this.#parts.manifest.state.closed.filter(isPending).length
    if (queuePolicy === 'block') {
      this.#setBacklog(waiting > queueSize)
    } else if (waiting > queueSize && !this.#warnedOfQueue) {
      warn('SEALOG_ARCHIVE_QUEUE', `${this.#log.directory}: ${waiting} closed segments wait to be archived, more than queueSize (${queueSize})`)
    }
    this.#warnedOfQueue = waiting > queueSize
  }

  #setBacklog(wanted: boolean): void {
    const { workers } = this.#log
    if (wanted === (this.#endBacklog !== undefined)) return
    if (wanted) {
      workers.backlog = new Promise((resolve) => {
        this.#endBacklog = resolve
      })
      this.#retry?.ref()
    } else {
      workers.backlog = undefined
      this.#endBacklog?.()
      this.#endBacklog = undefined
    }
  }
}

function isPending(facts: ClosedSegment): boolean {
  return facts.archive === undefined && facts.quarantined === undefined
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
