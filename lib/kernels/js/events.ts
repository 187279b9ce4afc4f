import { EVENT_DONE, EVENT_ROWS, EVENT_WIDTH, type Ticket, type Wake } from '../kernels.js'

/**
 * Completion rows on their way to `wake`. Rows are queued while something happens and delivered in one burst: by `flush` at the end of a callback
 * of libuv, or by a microtask for what was complete at once, so that no row arrives inside the call that asked for it.
 */
export class EventQueue {
  readonly #out: Float64Array
  readonly #wake: Wake
  #rows = new Float64Array(64 * EVENT_WIDTH)
  #count = 0
  #scheduled = false
  #waking = 0
  #stopped = false

  constructor(out: Float64Array, wake: Wake) {
    this.#out = out
    this.#wake = wake
  }

  push(kind: number, b: number, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0): void {
    let at = this.#count++ * EVENT_WIDTH
    if (at === this.#rows.length) {
      const larger = new Float64Array(this.#rows.length * 2)
      larger.set(this.#rows)
      this.#rows = larger
    }
    const rows = this.#rows
    rows[at++] = kind
    rows[at++] = b
    rows[at++] = c
    rows[at++] = d
    rows[at++] = e
    rows[at++] = f
    rows[at++] = g
    rows[at] = h
  }

  /** Delivers what is queued after the present call has returned. */
  schedule(): void {
    if (this.#scheduled || this.#waking > 0 || this.#count === 0) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  /** Rows queued by what `wake` calls follow in the same burst. */
  flush(): void {
    if (this.#waking > 0) return
    this.#deliver()
  }

  /** For synchronous calls, which may be made within `wake`: the rows that the outer `wake` has not read yet are put back behind it. */
  flushNow(): void {
    if (this.#waking === 0) return this.#deliver()
    const held = this.#out.slice()
    this.#deliver()
    this.#out.set(held)
  }

  /** Takes the row of a finished request back; undefined when there is none. */
  takeDone(ticket: Ticket): number | undefined {
    for (let at = 0; at < this.#count * EVENT_WIDTH; at += EVENT_WIDTH) {
      if (this.#rows[at] !== EVENT_DONE || this.#rows[at + 1] !== ticket) continue
      const status = this.#rows[at + 2]
      this.#rows.copyWithin(at, at + EVENT_WIDTH, this.#count * EVENT_WIDTH)
      this.#count--
      return status
    }
    return undefined
  }

  stop(): void {
    this.#stopped = true
    this.#count = 0
  }

  #deliver(): void {
    this.#waking++
    try {
      while (this.#count > 0 && !this.#stopped) {
        const rows = Math.min(this.#count, EVENT_ROWS)
        this.#out.set(this.#rows.subarray(0, rows * EVENT_WIDTH))
        this.#rows.copyWithin(0, rows * EVENT_WIDTH, this.#count * EVENT_WIDTH)
        this.#count -= rows
        this.#wake(rows)
      }
    } finally {
      this.#waking--
    }
    if (this.#stopped) this.#count = 0
  }
}
