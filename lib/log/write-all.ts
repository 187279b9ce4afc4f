import { argumentError } from '../errors.js'
import { checkNames } from '../options.js'
import { closedError, Group, type WriteWindow } from './write-window.js'

export interface WriteAllOptions<I> {
  /** Called for every item that is refused, with its number from 0; the others go on. */
  onRejected?: (reason: unknown, item: I, index: number) => void
}

export interface WriteAllResult {
  /** Items that are written, and acknowledged as the durability mode says. */
  readonly written: number
  /** Items that had nothing to write: deletions of what is not there. */
  readonly unchanged: number
  readonly rejected: number
  /** The first item that was refused: its number from 0, and why. */
  readonly firstRejected: { readonly index: number; readonly reason: unknown } | undefined
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof WriteAllOptions<unknown>>(['onRejected'])
/** Items are acknowledged in groups: a promise for each would cost more than writing it. */
const GROUP_RECORDS = 1000
const GROUP_BYTES = 256 * 1024

/** One call of `writeAll`. */
export class WriteAllRun<I, R extends number | undefined> {
  readonly #window: WriteWindow<I, R>
  readonly #onRejected: WriteAllOptions<I>['onRejected']
  #group = new Group()
  /** Resolves when all groups that were ended are settled, which they are in their order. */
  #settled = Promise.resolve()
  #failure: { readonly reason: unknown } | undefined
  #items = 0
  #written = 0
  #unchanged = 0
  #rejected = 0
  #firstRejected: WriteAllResult['firstRejected']

  constructor(window: WriteWindow<I, R>, options: WriteAllOptions<I>) {
    checkNames(options, OPTION_NAMES, 'writeAll')
    this.#window = window
    this.#onRejected = options.onRejected
  }

  async over(items: Iterable<I> | AsyncIterable<I>): Promise<WriteAllResult> {
    try {
      if (Symbol.asyncIterator in Object(items)) {
        for await (const item of items) {
          const waiting = this.#give(item)
          if (waiting !== undefined) await waiting
        }
      } else if (Symbol.iterator in Object(items)) {
        for (const item of items as Iterable<I>) {
          const waiting = this.#give(item)
          if (waiting !== undefined) await waiting
        }
      } else {
        throw argumentError('items', items, 'an iterable or async iterable')
      }
    } finally {
      this.#endGroup()
      await this.#settled
    }
    this.#check()
    return { written: this.#written, unchanged: this.#unchanged, rejected: this.#rejected, firstRejected: this.#firstRejected }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.reason
  }

  /** A promise when the item has to wait. */
  #give(item: I): Promise<void> | undefined {
    const window = this.#window
    this.#check()
    if (window.closed) throw closedError()
    if (window.free && window.hasRoom()) {
      this.#accept(item)
      return undefined
    }
    this.#endGroup()
    return new Promise((resolve) => {
      window.enter(() => {
        if (!window.hasRoom()) return false
        this.#accept(item)
        resolve()
        return true
      })
    })
  }

  #accept(item: I): void {
    const group = this.#group
    const { records } = group
    try {
      if (this.#window.accept(item, group) === undefined) this.#unchanged++
    } catch (reason) {
      this.#reject(reason, item)
    }
    this.#items++
    if (group.records >= GROUP_RECORDS || group.bytes >= GROUP_BYTES) this.#endGroup()
    else if (records === 0 && group.records > 0) setImmediate(this.#endOf, group)
  }

  /** A source that is slow does not hold room that others wait for. */
  readonly #endOf = (group: Group): void => {
    if (this.#group === group) this.#endGroup()
  }

  #reject(reason: unknown, item: I): void {
    try {
      // Throws when it is not the item's fault.
      this.#window.target.checkWritable()
      this.#rejected++
      this.#firstRejected ??= { index: this.#items, reason }
      this.#onRejected?.(reason, item, this.#items)
    } catch (error) {
      this.#failure ??= { reason: error }
    }
  }

  #endGroup(): void {
    const group = this.#group
    if (group.records === 0) return
    this.#group = new Group()
    this.#settled = this.#window.acknowledge(group).then(
      () => {
        this.#written += group.records
      },
      (reason: unknown) => {
        this.#failure ??= { reason }
      },
    )
  }
}
