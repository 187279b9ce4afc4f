import type { Kernels } from '../kernels/kernels.js'
import type { TailCache } from './tail-cache.js'

/** Drops what is too old in the tail caches of an environment: on its timer, and only while something is cached. */
export class CacheSweeper {
  readonly #kernels: Kernels
  readonly #addTick: (tick: (now: number) => boolean) => void
  readonly #watched = new Set<TailCache>()
  #ticking = false

  constructor(kernels: Kernels, addTick: (tick: (now: number) => boolean) => void) {
    this.#kernels = kernels
    this.#addTick = addTick
  }

  watch(cache: TailCache): void {
    this.#watched.add(cache)
    if (this.#ticking) return
    this.#ticking = true
    this.#addTick(this.#tick)
  }

  forget(cache: TailCache): void {
    this.#watched.delete(cache)
  }

  readonly #tick = (now: number): boolean => {
    const empty = this.#kernels.cacheSweep() === 0
    for (const cache of this.#watched) cache.check(now, empty)
    if (!empty) return true
    this.#watched.clear()
    this.#ticking = false
    return false
  }
}
