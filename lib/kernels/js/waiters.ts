import { COMMIT_MARKED, COMMIT_SYNCED, EVENT_DONE, type Ticket } from '../kernels.js'
import type { EventQueue } from './events.js'

export interface Waiter {
  /** COMMIT_… */
  readonly level: number
  /** Records submitted when it was asked for. */
  readonly target: number
  readonly ticket: Ticket
}

/** Commits of one log whose DONE row is still to come. */
export class Waiters {
  readonly #events: EventQueue
  #waiters: Waiter[] = []

  constructor(events: EventQueue) {
    this.#events = events
  }

  add(waiter: Waiter): void {
    this.#waiters.push(waiter)
  }

  /** DONE for those who `match`. */
  end(status: number, match: (waiter: Waiter) => boolean): void {
    if (this.#waiters.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!match(waiter)) return true
      this.#events.push(EVENT_DONE, waiter.ticket, status)
      return false
    })
  }

  /** Somebody waits for a sync of records that are written and not durable, or for a mark behind them. */
  wantSync(writtenRecords: number, durableRecords: number, unsynced: boolean): boolean {
    return this.#waiters.some(
      ({ level, target }) => level >= COMMIT_SYNCED && target <= writtenRecords && (durableRecords < target || (level === COMMIT_MARKED && unsynced)),
    )
  }

  /** Somebody waits for a mark that may follow now: groups come behind it. */
  wantMark(writtenRecords: number): boolean {
    return this.#waiters.some(({ level, target }) => level === COMMIT_MARKED && target <= writtenRecords)
  }
}
