import { LogError } from '../errors.js'
import type { Log } from './log.js'

/** What a batch writer writes to. */
export interface BatchTarget<I, R> {
  readonly log: Pick<Log<unknown>, 'acknowledge' | 'committedOffset' | 'drain' | 'writableNeedDrain' | 'commitDriver'>
  /** Accepts one item, or throws with nothing accepted. undefined: there was nothing to write. */
  accept(item: I): R
  /** Throws when no item can be accepted. */
  checkWritable(): void
  flush(): Promise<void>
}

/** Items whose acknowledgement is waited for together. */
export class Group {
  last = -1
  records = 0
  bytes = 0
}

/** Accepts as much of a call as there is room for; true: that was all of it. */
type Turn = () => boolean

/**
 * What lets items into a log: one call after the other, as long as there is room. Bounds the frame bytes that are accepted and not acknowledged; one item may go beyond.
 */
export class WriteWindow<I, R extends number | undefined> {
  readonly target: BatchTarget<I, R>
  readonly maxBytes: number
  bytes = 0
  accepted = 0
  rejected = 0
  /** Takes nothing more. */
  closed = false
  readonly #turns: Turn[] = []
  #head = 0
  #taking = false
  #draining = false

  constructor(target: BatchTarget<I, R>, maxBytes: number) {
    this.target = target
    this.maxBytes = maxBytes
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#turns.length - this.#head
  }

  /** Nobody waits, so that whoever asks may accept at once where there is room. */
  get free(): boolean {
    return this.waiting === 0 && !this.#taking
  }

  /** Accepts an item into a group, or throws with nothing accepted. */
  accept(item: I, group: Group): R {
    const { log } = this.target
    const before = log.commitDriver().queue.queuedBytes
    let offset: R
    try {
      offset = this.target.accept(item)
    } catch (error) {
      this.rejected++
      throw error
    }
    this.accepted++
    if (offset === undefined) return offset
    // Encoding runs code of users, which may have committed what waited.
    const bytes = Math.max(0, log.commitDriver().queue.queuedBytes - before)
    group.last = offset
    group.records++
    group.bytes += bytes
    this.bytes += bytes
    return offset
  }

  /** Resolves when the group, which gets nothing more, is acknowledged; gives back its room in any case. */
  async acknowledge({ last, bytes }: Group): Promise<void> {
    try {
      if (last >= 0) await this.target.log.acknowledge(last)
    } finally {
      this.bytes -= bytes
      this.proceed()
    }
  }

  /** The turn comes when those before it are done; it is asked again whenever there is more room. It does not throw. */
  enter(turn: Turn): void {
    this.#turns.push(turn)
    this.proceed()
  }

  proceed(): void {
    // Encoding an item runs code of users, which may write again: that takes its turn.
    if (this.#taking) return
    this.#taking = true
    const turns = this.#turns
    while (this.#head < turns.length && turns[this.#head]()) {
      this.#head++
      if (this.#head > 1024 && this.#head * 2 > turns.length) {
        turns.splice(0, this.#head)
        this.#head = 0
      }
    }
    if (this.#head === turns.length) {
      turns.length = 0
      this.#head = 0
    }
    this.#taking = false
  }

  hasRoom(): boolean {
    if (this.bytes >= this.maxBytes) return false
    const { log } = this.target
    if (!log.writableNeedDrain) return true
    if (!this.#draining) {
      this.#draining = true
      const drained = () => {
        this.#draining = false
        this.proceed()
      }
      log.drain().then(drained, drained)
    }
    return false
  }
}

export function closedError(): LogError {
  return new LogError('ERR_SEALOG_CLOSED', 'the batch writer is closed')
}
