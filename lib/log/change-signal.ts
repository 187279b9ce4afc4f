const NO_LISTENERS: ReadonlyArray<() => void> = []

/** Wakes everybody who waits for something to have changed. */
export class ChangeSignal {
  /** undefined: nobody waits, as in most logs of a process. */
  #waiting: Set<() => void> | undefined
  #listeners: ReadonlyArray<() => void> = NO_LISTENERS

  get waiting(): number {
    return this.#waiting?.size ?? 0
  }

  /** `listener` is called with every change, before anybody who waits goes on; it does not throw. */
  listen(listener: () => void): void {
    this.#listeners = [...this.#listeners, listener]
  }

  /** Resolves with the next `notify`, or when it is cancelled. */
  next(): { readonly promise: Promise<void>; cancel(): void } {
    let wake = () => {}
    const promise = new Promise<void>((resolve) => {
      wake = resolve
    })
    this.#waiting ??= new Set()
    this.#waiting.add(wake)
    return {
      promise,
      cancel: () => {
        if (this.#waiting?.delete(wake)) wake()
      },
    }
  }

  notify(): void {
    for (const listener of this.#listeners) listener()
    const waiting = this.#waiting
    if (waiting === undefined) return
    this.#waiting = undefined
    for (const wake of waiting) wake()
  }
}
