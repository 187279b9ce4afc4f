import { LogError } from '../errors.js'
import { checkNames, integer } from '../options.js'
import { listOf } from './record-encoder.js'
import { type WriteAllOptions, type WriteAllResult, WriteAllRun } from './write-all.js'
import { type BatchTarget, closedError, Group, WriteWindow } from './write-window.js'

export interface BatchWriterOptions {
  /** Calls of `writeOne` and `writeBatch` that are accepted and not yet acknowledged: others wait, in order. Default 10. */
  maxInFlight?: number
  /** Frame bytes that are accepted and not yet acknowledged, over all calls; one item may go beyond. Default 4 MiB. */
  maxBytes?: number
}

/** What became of one item: its offset, or why it was not written. */
export type WriteResult<R = number> = { readonly status: 'fulfilled'; readonly value: R } | { readonly status: 'rejected'; readonly reason: unknown }

export interface BatchWriterStats {
  readonly maxInFlight: number
  readonly maxBytes: number
  /** Calls accepted, at least in part, and not yet acknowledged. */
  readonly inFlight: number
  readonly bytesInFlight: number
  /** Calls that wait for room. */
  readonly waiting: number
  /** Items accepted, and items refused, since the writer was made. */
  readonly accepted: number
  readonly rejected: number
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof BatchWriterOptions>(['maxInFlight', 'maxBytes'])
const DEFAULT_IN_FLIGHT = 10
const DEFAULT_BYTES = 4 * 1024 * 1024

/**
 * Writes items one by one, with bounds on what is under way and a result for each. Calls are accepted in the order in which they are made, and so are the items of one,
 * so that of two writes to one key the later one counts. Every item is a batch of its own: for all or nothing there is `appendRecords`, in a store `putBatch`. Items are
 * encoded when there is room for them, not when they are given: do not change them before the promise resolves.
 */
export class BatchWriter<I, R extends number | undefined = number> implements AsyncDisposable {
  readonly #window: WriteWindow<I, R>
  readonly #maxInFlight: number
  #inFlight = 0
  #closed: Promise<void> | undefined

  /** @internal */
  constructor(target: BatchTarget<I, R>, options: BatchWriterOptions = {}) {
    checkNames(options, OPTION_NAMES, 'batchWriter')
    this.#maxInFlight = integer(options.maxInFlight, 'maxInFlight', 1, 2 ** 31, DEFAULT_IN_FLIGHT)
    this.#window = new WriteWindow(target, integer(options.maxBytes, 'maxBytes', 1, 2 ** 40, DEFAULT_BYTES))
  }

  /**
   * Writes an item when there is room. Resolves to its offset when it is acknowledged as the durability mode says, to undefined when there was nothing to write.
   * Errors: those of `append`; ERR_SEALOG_CLOSED after `close()`.
   */
  writeOne(item: I): Promise<R> {
    const window = this.#window
    if (window.closed) return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      window.enter(() => {
        if (this.#inFlight >= this.#maxInFlight || !window.hasRoom()) return false
        const group = new Group()
        try {
          const result = window.accept(item, group)
          this.#inFlight++
          window.acknowledge(group).then(
            () => this.#end(() => resolve(result)),
            (reason: unknown) => this.#end(() => reject(reason)),
          )
        } catch (error) {
          reject(error)
        }
        return true
      })
    })
  }

  /**
   * Writes items in their order. Resolves, when all are acknowledged, to what became of each, in the same order: an item that is refused does not hold up the others.
   * Errors: ERR_SEALOG_ARGUMENT for what is no iterable; ERR_SEALOG_CLOSED after `close()`.
   */
  writeBatch(items: Iterable<I>): Promise<WriteResult<R>[]> {
    const window = this.#window
    let list: I[]
    try {
      if (window.closed) throw closedError()
      list = listOf(items, 'items')
    } catch (error) {
      return Promise.reject(error)
    }
    return new Promise((resolve) => {
      const results: WriteResult<R>[] = []
      let begun = false
      let groups = 0
      window.enter(() => {
        if ((!begun && this.#inFlight >= this.#maxInFlight) || !window.hasRoom()) return false
        if (!begun) this.#inFlight++
        begun = true
        const first = results.length
        const group = new Group()
        do {
          if (results.length < list.length) results.push(this.#attempt(list[results.length], group))
        } while (results.length < list.length && window.hasRoom())
        const end = results.length
        groups++
        window
          .acknowledge(group)
          .catch((reason: unknown) => this.#refuse(results, first, end, reason))
          .then(() => {
            if (--groups === 0 && results.length === list.length) this.#end(() => resolve(results))
          })
        return end === list.length
      })
    })
  }

  /**
   * Writes what an iterable gives, asking it for the next item only when there is room for it, so that memory does not depend on how many there are. Resolves to
   * totals when all are acknowledged. Items that are refused are counted, and told to `onRejected`. Rejects with what the iterable or `onRejected` throws, and when
   * nothing can be written any more (failed, closed, disk full); what was accepted before stays. `maxInFlight` does not count it.
   */
  writeAll(items: Iterable<I> | AsyncIterable<I>, options: WriteAllOptions<I> = {}): Promise<WriteAllResult> {
    return new WriteAllRun(this.#window, options).over(items)
  }

  /** Resolves when everything given before is accepted and `flush()` of the log or store has made it what that promises. What is given later does not hold it up. */
  flush(): Promise<void> {
    return this.#closed ?? this.#flush()
  }

  /** Takes nothing more; resolves as `flush` does. The log or store stays open. */
  close(): Promise<void> {
    this.#window.closed = true
    this.#closed ??= this.#flush()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  stats(): BatchWriterStats {
    const { maxBytes, bytes, waiting, accepted, rejected } = this.#window
    return { maxInFlight: this.#maxInFlight, maxBytes, inFlight: this.#inFlight, bytesInFlight: bytes, waiting, accepted, rejected }
  }

  #flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#window.enter(() => {
        this.#window.target.flush().then(resolve, reject)
        return true
      })
    })
  }

  /** A call is done. */
  #end(settle: () => void): void {
    this.#inFlight--
    settle()
    this.#window.proceed()
  }

  #attempt(item: I, group: Group): WriteResult<R> {
    try {
      return { status: 'fulfilled', value: this.#window.accept(item, group) }
    } catch (reason) {
      return { status: 'rejected', reason }
    }
  }

  /** Items of a group that was not acknowledged as a whole; those before the first one that was refused are committed. */
  #refuse(results: WriteResult<R>[], from: number, to: number, reason: unknown): void {
    const refused = reason instanceof LogError && reason.code === 'ERR_SEALOG_NO_SPACE' ? (reason.offset ?? 0) : this.#window.target.log.committedOffset
    for (let i = from; i < to; i++) {
      const result = results[i]
      if (result.status === 'fulfilled' && result.value !== undefined && result.value >= refused) results[i] = { status: 'rejected', reason }
    }
  }
}
