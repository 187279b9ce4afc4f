/** Wakes everybody who waits for something to have changed. */
export class ChangeSignal {
  readonly #waiting = new Set<() => void>()
  /** Called first, with every change; they do not throw. */
  readonly listeners: Array<() => void> = []

  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves with the next `notify`, or when it is cancelled. */
  next(): { readonly promise: Promise<void>; cancel(): void } {
    let wake = () => {}
    const promise = new Promise<void>((resolve) => {
      wake = resolve
    })
    this.#waiting.add(wake)
    return {
      promise,
      cancel: () => {
        if (this.#waiting.delete(wake)) wake()
      },
    }
  }

  readonly notify = (): void => {
    for (const listener of this.listeners) listener()
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }
}
