import type { IndexEntry } from '../format/index-file.js'

const FIRST_CAPACITY = 16
const NO_NUMBERS = new Uint32Array(0)
const NO_TIMES = new Float64Array(0)

/**
 * The sparse offset index of one segment in memory: about 20 bytes per entry, one entry per `indexIntervalBytes` of the file.
 * Look-ups allocate nothing. Entries are in order of offset and position.
 */
export class OffsetIndex {
  readonly base: number
  length = 0
  #offsets = NO_NUMBERS
  /** In units of 8 bytes. */
  #positions = NO_NUMBERS
  #batchFirsts = NO_NUMBERS
  #runningTimes = NO_TIMES

  constructor(base: number) {
    this.base = base
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#offsets.length * 20
  }

  /** Appends an entry; one at or below the last is ignored (it is reported twice when a segment is attached again). */
  add(offset: number, position: number, batchFirst: number, runningTime: number): void {
    const n = this.length
    const relative = offset - this.base
    if (n > 0 && relative <= this.#offsets[n - 1]) return
    if (n === this.#offsets.length) this.#grow()
    this.#offsets[n] = relative
    this.#positions[n] = position / 8
    this.#batchFirsts[n] = batchFirst - this.base
    this.#runningTimes[n] = runningTime
    this.length = n + 1
  }

  /**
   * The entry to start from for `offset`: the last at or below it; −1 when there is none.
   * Interpolation search (offsets grow evenly with position in most logs), falling back to bisection after a few steps.
   */
  find(offset: number): number {
    const offsets = this.#offsets
    const target = offset - this.base
    let low = 0
    let high = this.length - 1
    if (high < 0 || target < offsets[0]) return -1
    if (target >= offsets[high]) return high
    for (let guesses = 0; guesses < 4 && high - low > 8; guesses++) {
      const lowest = offsets[low]
      const guess = low + Math.floor(((target - lowest) / (offsets[high] - lowest)) * (high - low))
      if (offsets[guess] <= target) {
        low = guess
        const near = guess + 8
        if (near < high && offsets[near] > target) high = near
      } else {
        high = guess
        const near = guess - 8
        if (near > low && offsets[near] <= target) low = near
      }
    }
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (offsets[middle] <= target) low = middle
      else high = middle
    }
    return low
  }

  /** The last entry before whose offset every timestamp is below `time`; 0 when there is none. */
  findTime(time: number): number {
    let low = 0
    let high = this.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (this.#runningTimes[middle] < time) low = middle
      else high = middle
    }
    return low
  }

  offset(entry: number): number {
    return this.base + this.#offsets[entry]
  }

  position(entry: number): number {
    return this.#positions[entry] * 8
  }

  batchFirst(entry: number): number {
    return this.base + this.#batchFirsts[entry]
  }

  runningTime(entry: number): number {
    return this.#runningTimes[entry]
  }

  entry(entry: number): IndexEntry {
    return { offset: this.offset(entry), position: this.position(entry), batchFirst: this.batchFirst(entry), runningTime: this.runningTime(entry) }
  }

  /** Forgets entries at or above `offset`. */
  truncate(offset: number): void {
    while (this.length > 0 && this.offset(this.length - 1) >= offset) this.length--
  }

  #grow(): void {
    const capacity = Math.max(FIRST_CAPACITY, this.#offsets.length * 2)
    const copy = (from: Uint32Array) => {
      const to = new Uint32Array(capacity)
      to.set(from)
      return to
    }
    this.#offsets = copy(this.#offsets)
    this.#positions = copy(this.#positions)
    this.#batchFirsts = copy(this.#batchFirsts)
    const times = new Float64Array(capacity)
    times.set(this.#runningTimes)
    this.#runningTimes = times
  }
}
