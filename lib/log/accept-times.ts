import { performance } from 'node:perf_hooks'

/** Marks kept at most; records beyond them take the time of the last one. */
const LIMIT = 4096

/** When waiting records were accepted: one time per submit, that of its first record, because only a submit hands records to the committer. */
export class AcceptTimes {
  readonly #offsets: number[] = []
  readonly #times: number[] = []
  #submit = -1

  get size(): number {
    return this.#offsets.length
  }

  /** `submit` numbers the submits of the environment. */
  add(offset: number, submit: number): void {
    if (submit === this.#submit || this.#offsets.length >= LIMIT) return
    this.#submit = submit
    this.#offsets.push(offset)
    this.#times.push(performance.now())
  }

  /** When, by `performance.now()`, the oldest record from `first` to `end` (exclusive) was accepted, as far as is known; forgets what lies below `end`. */
  take(first: number, end: number): number | undefined {
    if (first >= end) return undefined
    const offsets = this.#offsets
    let oldest = 0
    while (oldest + 1 < offsets.length && offsets[oldest + 1] <= first) oldest++
    const time = oldest < offsets.length && offsets[oldest] < end ? this.#times[oldest] : undefined
    // The mark that `end` itself belongs to stays.
    let keep = oldest
    while (keep + 1 < offsets.length && offsets[keep + 1] <= end) keep++
    offsets.splice(0, keep)
    this.#times.splice(0, keep)
    return time
  }
}
