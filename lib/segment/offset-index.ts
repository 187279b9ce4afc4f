import type { IndexEntry } from '../format/index-file.js'

/** Of `#uneven`: afterwards nothing is tried any more. */
const UNEVEN_LIMIT = 48
/** So few that V8 keeps them with the array itself: most segments that are open in a process of many logs have hardly more. */
const FIRST_CAPACITY = 3
const NO_ROWS = new Uint32Array(0)

/** Columns of a row: offset − base, position in units of 8 bytes, first offset of the batch − base, and the two halves of running time + 1. */
const COLUMNS = 5
const POSITION = 1
const BATCH_FIRST = 2
const TIME_LOW = 3
const TIME_HIGH = 4
const HIGH = 2 ** 32

/**
 * The sparse offset index of one segment in memory: 20 bytes per entry, one entry per `indexIntervalBytes` of the file.
 * Look-ups allocate nothing and mostly touch one cache line: what belongs to an entry lies together. Entries are in order of offset and position.
 */
export class OffsetIndex {
  readonly base: number
  length = 0
  /** How much speaks against records that lie at even distances. */
  #uneven = 0
  #rows = NO_ROWS

  constructor(base: number) {
    this.base = base
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#rows.byteLength
  }

  /** Whether it is worth a try to find records by distance alone: so far most lay where even distances between two entries would have them. */
  get evenlySpaced(): boolean {
    return this.#uneven < UNEVEN_LIMIT
  }

  /** What such a try has shown. One in four may fail. */
  noteSpacing(even: boolean): void {
    if (!even) this.#uneven += 3
    else if (this.#uneven > 0) this.#uneven--
  }

  /** Appends an entry; one at or below the last is ignored (it is reported twice when a segment is attached again). */
  add(offset: number, position: number, batchFirst: number, runningTime: number): void {
    const n = this.length
    const relative = offset - this.base
    if (n > 0 && relative <= this.#rows[(n - 1) * COLUMNS]) return
    const row = n * COLUMNS
    if (row === this.#rows.length) this.#grow()
    this.#rows[row] = relative
    this.#rows[row + POSITION] = position / 8
    this.#rows[row + BATCH_FIRST] = batchFirst - this.base
    this.#rows[row + TIME_LOW] = (runningTime + 1) % HIGH
    this.#rows[row + TIME_HIGH] = Math.floor((runningTime + 1) / HIGH)
    this.length = n + 1
  }

  /**
   * The entry to start from for `offset`: the last at or below it; −1 when there is none.
   * Interpolation search (offsets grow evenly with position in most logs), falling back to bisection after a few steps.
   */
  find(offset: number): number {
    const rows = this.#rows
    const target = offset - this.base
    let low = 0
    let high = this.length - 1
    if (high < 0 || target < rows[0]) return -1
    if (target >= rows[high * COLUMNS]) return high
    for (let guesses = 0; guesses < 4 && high - low > 8; guesses++) {
      const lowest = rows[low * COLUMNS]
      const guess = low + Math.floor(((target - lowest) / (rows[high * COLUMNS] - lowest)) * (high - low))
      if (rows[guess * COLUMNS] <= target) {
        low = guess
        const near = guess + 4
        if (near < high && rows[near * COLUMNS] > target) high = near
      } else {
        high = guess
        const near = guess - 4
        if (near > low && rows[near * COLUMNS] <= target) low = near
      }
    }
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (rows[middle * COLUMNS] <= target) low = middle
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
      if (this.runningTime(middle) < time) low = middle
      else high = middle
    }
    return low
  }

  offset(entry: number): number {
    return this.base + this.#rows[entry * COLUMNS]
  }

  position(entry: number): number {
    return this.#rows[entry * COLUMNS + POSITION] * 8
  }

  batchFirst(entry: number): number {
    return this.base + this.#rows[entry * COLUMNS + BATCH_FIRST]
  }

  runningTime(entry: number): number {
    const row = entry * COLUMNS
    return this.#rows[row + TIME_HIGH] * HIGH + this.#rows[row + TIME_LOW] - 1
  }

  entry(entry: number): IndexEntry {
    return { offset: this.offset(entry), position: this.position(entry), batchFirst: this.batchFirst(entry), runningTime: this.runningTime(entry) }
  }

  #grow(): void {
    const rows = new Uint32Array(Math.max(FIRST_CAPACITY * COLUMNS, this.#rows.length * 2))
    rows.set(this.#rows)
    this.#rows = rows
  }
}
