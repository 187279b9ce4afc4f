import { isLogError, type LogError, type LogOptions, LogView, type Record } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { TaskQueue } from '../../lib/kernels/task.js'
import { environmentFor } from '../../lib/log/environment.js'
import type { WriterLock } from '../../lib/log/lock.js'
import type { OffsetRange } from '../../lib/log/manifest.js'
import { type OpenedLog, openUnderLock } from '../../lib/log/open.js'
import { BlockRequest } from '../../lib/log/read-block.js'
import { archiveDirectory, resolveSession } from '../../lib/options.js'
import type { SegmentSet } from '../../lib/segment/segment-set.js'
import { fixedSources } from './logs.js'

/** Torn tails and damaged marks are warned of; here that happens thousands of times. Codes are counted by who asks. */
export function catchWarnings(): Map<string, number> {
  const seen = new Map<string, number>()
  process.emitWarning = ((_message: string, options: { code?: string }) => {
    const code = options?.code ?? 'unknown'
    seen.set(code, (seen.get(code) ?? 0) + 1)
  }) as typeof process.emitWarning
  return seen
}

/** Stands in for the lock file: the writer before ended without closing, in mode `fsync`, on this boot. */
const killed = () =>
  ({
    previous: { state: 'open', durability: 'fsync' },
    raiseEpoch: false,
    opened: false,
    *recovered() {},
  }) as unknown as WriterLock

/**
 * A log opened for writing by the very code of `Log.open`, driven on the calling thread and without the lock: some hundred microseconds, so that
 * every bit of a log can be tried.
 */
export class SyncLog extends LogView<Uint8Array> {
  readonly directory: string
  readonly archiveDirectory: string
  readonly #opened: OpenedLog
  readonly closed = false
  readonly writable = false
  readonly indexIntervalBytes: number
  readonly tail = undefined
  readonly chunks = { list: async () => [], open: async () => undefined, openNow: () => undefined }

  private constructor(directory: string, backend: Backend, opened: OpenedLog) {
    super(environmentFor(backend))
    this.directory = directory
    this.archiveDirectory = archiveDirectory(directory, undefined)
    this.#opened = opened
    this.indexIntervalBytes = opened.parts.session.indexIntervalBytes
  }

  static open(directory: string, backend: Backend, options: LogOptions = {}): SyncLog {
    const environment = environmentFor(backend)
    const session = resolveSession({ ...options, create: false })
    const tasks = new TaskQueue(environment.runner)
    return new SyncLog(
      directory,
      backend,
      environment.runner.runSync(openUnderLock(directory, environment, options, session, killed(), fixedSources(), tasks, undefined)),
    )
  }

  get segments(): SegmentSet {
    return this.#opened.parts.segments
  }

  get startOffset(): number {
    return this.#opened.parts.manifest.state.startOffset
  }

  get committedOffset(): number {
    return this.#opened.end.offset
  }

  get durableOffset(): number {
    return this.committedOffset
  }

  get form(): 'none' {
    return 'none'
  }

  get acceptedOffset(): number {
    return this.committedOffset
  }

  get epoch(): number {
    return this.#opened.parts.manifest.state.epoch
  }

  get codec(): 'bytes' | 'json' {
    return this.#opened.parts.settings.codec
  }

  get lost(): readonly OffsetRange[] {
    return this.#opened.parts.manifest.state.lost
  }

  get logId(): Uint8Array {
    return this.#opened.parts.manifest.logId
  }

  async catchUp(): Promise<void> {}

  protected catchUpSync(): void {}

  async recheck(): Promise<boolean> {
    return false
  }

  protected recheckSync(): boolean {
    return false
  }

  changed(): { readonly promise: Promise<void>; cancel(): void } {
    return { promise: Promise.resolve(), cancel: () => {} }
  }

  /** Everything by blocks, as iterators read it, up to the first damage. */
  scan(maxBytes = 4096): { records: Record<Uint8Array>[]; error: LogError | undefined } {
    const records: Record<Uint8Array>[] = []
    try {
      for (const segment of this.segments.all) {
        const request = new BlockRequest(this.codec, maxBytes, 64)
        request.limit = this.committedOffset
        for (let offset = Math.max(segment.base, this.startOffset); offset < Math.min(segment.end, this.committedOffset); ) {
          this.environment.runner.runSync(this.block(segment, offset, request))
          const batch = request.result
          if (batch === undefined) break
          for (let i = 0; i < batch.length; i++) records.push(batch.record(i) as Record<Uint8Array>)
          offset = batch.nextOffset
        }
      }
    } catch (error) {
      if (!isLogError(error)) throw error
      return { records, error }
    }
    return { records, error: undefined }
  }

  release(): void {
    for (const segment of this.segments.all) {
      this.environment.forget(segment)
      this.environment.runner.runSync(segment.release())
    }
  }
}
