import { argumentError, LogError, OffsetTruncatedError } from '../errors.js'
import type { Procedure } from '../kernels/procedure.js'
import type { TaskRunner } from '../kernels/task.js'
import { type ConsumerPlace, consumerGone, type GoodConsumerFile, readConsumer, removeConsumer, settleConsumer, updateConsumer } from './consumer-files.js'

/** What a consumer needs of its log. */
export interface ConsumerLog extends ConsumerPlace {
  readonly environment: ConsumerPlace['environment'] & { readonly runner: TaskRunner }
  readonly startOffset: number
  readonly committedOffset: number
  readonly epoch: number
  /** Throws ERR_SEALOG_CLOSED. */
  checkOpen(): void
  catchUp(offset: number): Promise<void>
}

interface Position {
  readonly offset: number
  readonly epoch: number
}

/**
 * A named position in a log, kept in a file of its own: everything below `offset` is done with, and retention keeps what is not. It belongs to one
 * owner at a time, in any process, with the log open for writing or for reading.
 */
export class Consumer {
  readonly name: string
  readonly #log: ConsumerLog
  #file: GoodConsumerFile
  /** What the position will be when all that was asked for is written. */
  #wanted: Position
  #maxLagBytes: number | undefined
  /** A write failed: the slot beside that of `#file` may hold it or not. */
  #inDoubt = false
  #closed = false
  #writing: Promise<void> | undefined
  #next: Promise<void> | undefined

  /** @internal Use `log.consumer`. */
  constructor(log: ConsumerLog, file: GoodConsumerFile) {
    this.name = file.name
    this.#log = log
    this.#file = file
    this.#wanted = file.slot
    this.#maxLagBytes = file.slot.maxLagBytes
  }

  /** @internal Makes durable what was found, and stores another limit. */
  async settle(maxLagBytes: number | undefined): Promise<void> {
    await this.#log.environment.runner.run(settleConsumer(this.#log, this.#file))
    if (maxLagBytes === this.#maxLagBytes) return
    this.#maxLagBytes = maxLagBytes
    await this.#write()
  }

  /**
   * The offset to read from: everything below is acknowledged, durably. Throws ERR_SEALOG_EPOCH when records were cut since it was acknowledged (the
   * position may lie behind other records now; `offset` of the error is the old one, `endOffset` the committed end): call `reset`.
   */
  get offset(): number {
    this.#checkEpoch(this.#file.slot)
    return this.#file.slot.offset
  }

  /** Time of the last acknowledgement, ms since the epoch. */
  get acknowledgedAt(): number {
    return this.#file.slot.time
  }

  /** Bytes of lag beyond which retention drops the consumer; undefined: never. */
  get maxLagBytes(): number | undefined {
    return this.#maxLagBytes
  }

  /**
   * Everything below `offset` is done with: of a record that was processed that is its offset + 1. Resolves when that is durable; calls meanwhile share the next write.
   * ERR_SEALOG_ARGUMENT below the position, ERR_SEALOG_OFFSET_RANGE past the committed end, ERR_SEALOG_EPOCH as for `offset`, ERR_SEALOG_CONFLICT when the
   * position was changed by somebody else, ERR_SEALOG_CONSUMER when the consumer was deleted or dropped.
   */
  async acknowledge(offset: number): Promise<void> {
    await this.#checkPosition(offset)
    this.#checkEpoch(this.#wanted)
    if (offset < this.#wanted.offset) throw argumentError('offset', offset, `at least the position of the consumer, ${this.#wanted.offset}`)
    if (offset === this.#file.slot.offset && this.#writing === undefined) return
    this.#wanted = { offset, epoch: this.#wanted.epoch }
    await this.#write()
  }

  /** Sets the position, back or forth, in the present epoch. ERR_SEALOG_OFFSET_TRUNCATED below startOffset, ERR_SEALOG_OFFSET_RANGE past the committed end. */
  async reset(offset: number): Promise<void> {
    await this.#checkPosition(offset)
    if (offset < this.#log.startOffset) throw new OffsetTruncatedError(offset, this.#log.startOffset)
    this.#wanted = { offset, epoch: this.#log.epoch }
    await this.#write()
  }

  async #checkPosition(offset: number): Promise<void> {
    if (!Number.isSafeInteger(offset) || offset < 0) throw argumentError('offset', offset, 'an integer from 0 to 2^53 − 1')
    this.#checkOpen()
    if (offset > this.#log.committedOffset) await this.#log.catchUp(offset - 1)
    this.#checkOpen()
    const { committedOffset } = this.#log
    if (offset > committedOffset)
      throw new LogError('ERR_SEALOG_OFFSET_RANGE', `offset ${offset} lies past the committed end ${committedOffset}`, { offset, endOffset: committedOffset })
  }

  #checkOpen(): void {
    if (this.#closed) throw new LogError('ERR_SEALOG_CLOSED', `the consumer ${JSON.stringify(this.name)} is closed`)
    this.#log.checkOpen()
  }

  #checkEpoch(position: Position): void {
    const { epoch, committedOffset } = this.#log
    if (position.epoch === epoch) return
    throw new LogError(
      'ERR_SEALOG_EPOCH',
      `records were cut since the consumer ${JSON.stringify(this.name)} acknowledged offset ${position.offset} (epoch ${position.epoch}, now ${epoch}); reset it`,
      { offset: position.offset, epoch, endOffset: committedOffset },
    )
  }

  /** One write after the other, and no more than one that waits: it takes the latest position. */
  #write(): Promise<void> {
    if (this.#writing === undefined) {
      this.#writing = this.#store().finally(() => {
        this.#writing = undefined
      })
      return this.#writing
    }
    this.#next ??= this.#writing
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return this.#write()
      })
    return this.#next
  }

  async #store(): Promise<void> {
    const wanted = this.#wanted
    try {
      await this.#log.environment.runner.run(this.#advance(wanted))
    } catch (error) {
      if (this.#wanted === wanted) this.#wanted = this.#file.slot
      throw error
    }
  }

  *#advance({ offset, epoch }: Position): Procedure<void> {
    const before = this.#file
    const there = yield* readConsumer(this.#log, this.name)
    if (there === undefined) throw consumerGone(this.#log, this.name)
    if (there.error !== undefined) throw there.error
    const ahead = there.slot.sequence - before.slot.sequence
    if (ahead !== 0 && !(this.#inDoubt && ahead === 1))
      throw new LogError('ERR_SEALOG_CONFLICT', `the position of the consumer ${JSON.stringify(this.name)} was changed by somebody else; open it anew`, {
        offset: there.slot.offset,
      })
    // After a failure the same slot is written again, never the good one.
    this.#inDoubt = true
    const slot = { sequence: before.slot.sequence + 1, offset, epoch, time: Date.now(), maxLagBytes: this.#maxLagBytes }
    this.#file = yield* updateConsumer(this.#log, before, slot)
    this.#inDoubt = false
  }

  /** Waits for what is being written. The position stays. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#settled()
  }

  /** Removes the consumer: it holds nothing any more. */
  async delete(): Promise<void> {
    this.#closed = true
    await this.#settled()
    await this.#log.environment.runner.run(removeConsumer(this.#log, this.name))
  }

  async #settled(): Promise<void> {
    // Whoever asked for a write is told how it ended.
    while (this.#writing !== undefined) await (this.#next ?? this.#writing).catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
