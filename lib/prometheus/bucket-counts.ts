/** Upper bounds of durations: 1 µs to 10 s. */
export const SECONDS: readonly number[] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
  .flatMap((decade) => [1, 2.5, 5].map((step) => Number((decade * step).toPrecision(2))))
  .concat(10)

/** Upper bounds of numbers of records. */
export const RECORDS: readonly number[] = [1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 100_000]

/** What a histogram holds: how many values fell into each bucket, and their sum. Observing allocates nothing. */
export class BucketCounts {
  readonly bounds: readonly number[]
  /** One more than bounds, for the values beyond the last one; not cumulative. */
  readonly #counts: Float64Array
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    const { bounds } = this
    let low = 0
    let high = bounds.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (value <= bounds[middle]) high = middle
      else low = middle + 1
    }
    this.#counts[low]++
    this.sum += value
  }

  /** Upper bound and number of values up to it, the last bound being infinite. */
  *cumulative(): IterableIterator<readonly [number, number]> {
    let count = 0
    for (let i = 0; i < this.#counts.length; i++) {
      count += this.#counts[i]
      yield [this.bounds[i] ?? Number.POSITIVE_INFINITY, count]
    }
  }
}
