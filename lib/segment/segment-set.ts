import type { Segment } from './segment.js'

/** The segments of a log in order of their base offsets. */
export class SegmentSet {
  #segments: Segment[] = []

  get all(): readonly Segment[] {
    return this.#segments
  }

  get last(): Segment | undefined {
    return this.#segments[this.#segments.length - 1]
  }

  reset(segments: readonly Segment[]): void {
    this.#segments = [...segments]
  }

  push(segment: Segment): void {
    // An array that grows has room for more at once: most logs of a process have one segment.
    if (this.#segments.length === 0) this.#segments = [segment]
    else this.#segments.push(segment)
  }

  /** The segment that holds `offset` if any does: the last whose base is not above it. */
  find(offset: number): Segment | undefined {
    return this.#segments[this.#place(offset)]
  }

  /** The one behind `segment`. */
  after(segment: Segment): Segment | undefined {
    return this.#segments[this.#place(segment.base) + 1]
  }

  #place(offset: number): number {
    const segments = this.#segments
    let high = segments.length - 1
    if (high < 0 || offset < segments[0].base) return -1
    if (offset >= segments[high].base) return high
    let low = 0
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (segments[middle].base <= offset) low = middle
      else high = middle
    }
    return low
  }

  /** Puts segments in the place of those with the same base. */
  replace(segments: readonly Segment[]): void {
    const byBase = new Map(segments.map((segment) => [segment.base, segment]))
    this.#segments = this.#segments.map((segment) => byBase.get(segment.base) ?? segment)
  }

  /** Takes segments out: those for which `gone` holds. */
  remove(gone: (segment: Segment) => boolean): Segment[] {
    const removed = this.#segments.filter(gone)
    this.#segments = this.#segments.filter((segment) => !gone(segment))
    return removed
  }
}
