/** Spreads work so that it stays below so many bytes per second, over everybody who asks. */
export class Pace {
  readonly #bytesPerSecond: number
  /** When what was granted so far is paid for, in ms of the monotonic clock. */
  #paidAt = 0
  readonly #waiting = new Map<NodeJS.Timeout, () => void>()

  /** `bytesPerSecond` undefined: as fast as it goes. */
  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond ?? Number.POSITIVE_INFINITY
  }

  get limited(): boolean {
    return Number.isFinite(this.#bytesPerSecond)
  }

  /** Resolves when the next piece may begin, after `bytes` were worked on. */
  spent(bytes: number): Promise<void> {
    const now = performance.now()
    this.#paidAt = Math.max(now, this.#paidAt) + (bytes / this.#bytesPerSecond) * 1000
    const wait = this.#paidAt - now
    if (wait < 1) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(timer)
        resolve()
      }, wait)
      this.#waiting.set(timer, resolve)
    })
  }

  /** Whoever waits goes on at once. */
  wake(): void {
    for (const [timer, resolve] of this.#waiting) {
      clearTimeout(timer)
      resolve()
    }
    this.#waiting.clear()
    this.#paidAt = 0
  }
}
