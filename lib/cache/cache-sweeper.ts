import type { Kernels } from '../kernels/kernels.js'
import type { TailCache } from './tail-cache.js'

/** Drops what is too old in the tail caches of an environment: on its timer, and only while something is cached. */
export class CacheSweeper {
  readonly #kernels: Kernels
  readonly #addTicker: (ticker: CacheSweeper) => void
  readonly #watched = new Set<TailCache>()
  #ticking = false

  constructor(kernels: Kernels, addTicker: (ticker: CacheSweeper) => void) {
    this.#kernels = kernels
    this.#addTicker = addTicker
  }

  watch(cache: TailCache): void {
    this.#watched.add(cache)
    if (this.#ticking) return
    this.#ticking = true
    this.#addTicker(this)
  }

  forget(cache: TailCache): void {
    this.#watched.delete(cache)
  }

  /** Called about every 100 ms while something is cached; false: nothing is any more. */
  tick(now: number): boolean {
    const empty = this.#kernels.cacheSweep() === 0
    for (const cache of this.#watched) cache.check(now, empty)
    if (!empty) return true
    this.#watched.clear()
    this.#ticking = false
    return false
  }
}
