import type { TailCache } from '../cache/tail-cache.js'
import type { LogError } from '../errors.js'
import * as k from '../kernels/kernels.js'
import { archiveDirectory, type CodecName, type LogSettings } from '../options.js'
import type { SegmentSet } from '../segment/segment-set.js'
import type { ChangeSignal } from './change-signal.js'
import type { CommitDriver } from './commit-driver.js'
import type { Environment } from './environment.js'
import { LogView } from './log-view.js'
import type { OffsetRange } from './manifest.js'

/** How a log that is open for writing reads: by the watermarks of its commit path. */
export abstract class WriterView<T> extends LogView<T> {
  /** @internal Replaced when the log is opened again under its lock. */
  protected driver: CommitDriver
  /** @internal */
  protected readOnly: LogError | undefined
  /** @internal No more appends are accepted. */
  protected closing = false
  /** @internal Files and lock are gone. */
  protected ended = false
  /** @internal Being truncated or reopened. */
  protected restarting = false
  /** @internal */
  protected readonly changes: ChangeSignal

  constructor(environment: Environment, driver: CommitDriver, readOnly: LogError | undefined, changes: ChangeSignal) {
    super(environment)
    this.driver = driver
    this.readOnly = readOnly
    this.changes = changes
  }

  /** @internal */
  get segments(): SegmentSet {
    return this.driver.parts.segments
  }

  get startOffset(): number {
    return this.driver.parts.manifest.state.startOffset
  }

  /** Records below may be read: they are as durable as the mode promises. */
  get committedOffset(): number {
    return this.driver.queue.committedOffset
  }

  /** Records below survive a power loss. */
  get durableOffset(): number {
    return this.driver.queue.durableOffset
  }

  /** The offset the next record gets. Falls back to `committedOffset` when the log fails. */
  get endOffset(): number {
    return this.driver.queue.endOffset
  }

  /** @internal */
  get acceptedOffset(): number {
    return this.endOffset
  }

  get epoch(): number {
    return this.driver.parts.manifest.state.epoch
  }

  get codec(): CodecName {
    return this.driver.parts.settings.codec
  }

  get closed(): boolean {
    return this.ended
  }

  /** Why the log accepts nothing any more; undefined while it does. */
  get failure(): LogError | undefined {
    return this.driver.queue.failure
  }

  /** Why the log was opened read-only: ERR_SEALOG_NO_SPACE_TO_REPAIR; undefined normally. */
  get readOnlyReason(): LogError | undefined {
    return this.readOnly
  }

  /** @internal */
  get form(): LogSettings['form'] {
    return this.driver.parts.settings.form
  }

  /** @internal */
  get tail(): TailCache | undefined {
    return this.driver.tail
  }

  /** @internal */
  get lost(): readonly OffsetRange[] {
    return this.driver.parts.manifest.state.lost
  }

  /** @internal Compaction may have removed older versions of keys below; what the records up to this one or a later one make of every key is as it was. 0: nothing was compacted. */
  get compactedThrough(): number {
    return this.driver.parts.manifest.state.compactedThrough ?? 0
  }

  /** @internal */
  get logId(): Uint8Array {
    return this.driver.parts.manifest.logId
  }

  /** @internal */
  get archiveDirectory(): string {
    const { directory, session } = this.driver.parts
    return archiveDirectory(directory, session.archive)
  }

  /** @internal */
  get indexIntervalBytes(): number {
    return this.driver.parts.session.indexIntervalBytes
  }

  /** @internal */
  get writable(): boolean {
    return this.readOnly === undefined
  }

  /** @internal In mode `fsync` a read never waits for the disk: what is not durable is not there yet. */
  override async catchUp(offset: number): Promise<void> {
    if (this.#catchesUp(offset)) await this.driver.commit(k.COMMIT_MODE)
  }

  protected override catchUpSync(offset: number): void {
    if (this.#catchesUp(offset)) this.driver.commitSync(k.COMMIT_MODE)
  }

  #catchesUp(offset: number): boolean {
    return offset < this.endOffset && this.driver.parts.session.durability !== 'fsync' && this.failure === undefined && !this.closing
  }

  /** @internal */
  override async recheck(): Promise<boolean> {
    if (!this.restarting) return false
    await this.changes.next().promise
    return true
  }

  /** Nobody else removes files of this log. */
  protected override recheckSync(): boolean {
    return false
  }

  /** @internal */
  override changed(keepAlive: boolean): { readonly promise: Promise<void>; cancel(): void } {
    const change = this.changes.next()
    if (keepAlive) this.environment.wait()
    return {
      promise: change.promise,
      cancel: () => {
        change.cancel()
        if (keepAlive) this.environment.unwait()
      },
    }
  }
}
