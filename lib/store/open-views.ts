import type { KeyIndex } from './key-index.js'

const FIRST_PRUNING = 64

/** The versions of the index that iterators go by. One that nobody closes goes when its iterator is collected. */
export class OpenViews {
  #views: WeakRef<KeyIndex>[] = []
  #pruneAt = FIRST_PRUNING

  add(view: KeyIndex): KeyIndex {
    if (this.#views.length >= this.#pruneAt) {
      this.all()
      this.#pruneAt = Math.max(FIRST_PRUNING, 2 * this.#views.length)
    }
    this.#views.push(new WeakRef(view))
    return view
  }

  all(): KeyIndex[] {
    const open: KeyIndex[] = []
    this.#views = this.#views.filter((reference) => {
      const view = reference.deref()
      if (view === undefined || view.closed) return false
      open.push(view)
      return true
    })
    return open
  }
}
