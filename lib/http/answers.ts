import type { LogView } from '../index.js'
import type { ChunkForm } from '../options.js'
import { type RenderedRange, renderRange } from './render.js'

/** A rendered range, and what it looks like in an event stream once somebody has asked. */
export interface Answer extends RenderedRange {
  event: Buffer | undefined
}

interface Held {
  readonly answer: Promise<Answer>
  bytes: number
}

/**
 * Rendered ranges, shared among all who ask for the same one: whoever waits at the end of a log gets the same bytes. Those in the making are always shared,
 * finished ones as long as they fit `maxHeldBytes`, over all logs of a handler.
 */
export class Answers {
  readonly #maxAnswerBytes: number
  readonly #maxHeldBytes: number
  readonly #held = new Map<string, Held>()
  #heldBytes = 0
  readonly #numbers = new WeakMap<LogView<unknown>, number>()
  #lastNumber = 0

  constructor(maxAnswerBytes: number, maxHeldBytes: number) {
    this.#maxAnswerBytes = maxAnswerBytes
    this.#maxHeldBytes = maxHeldBytes
  }

  /** The records `from` … `to`, or a beginning of them that ends with a batch. */
  get(view: LogView<unknown>, form: ChunkForm, from: number, to: number): Promise<Answer> {
    const key = `${this.#numberOf(view)} ${view.epoch} ${form} ${from} ${to}`
    const present = this.#held.get(key)
    if (present !== undefined) return present.answer
    const held: Held = { answer: this.#render(view, form, from, to), bytes: 0 }
    this.#held.set(key, held)
    held.answer.then(
      ({ body }) => this.#hold(held, body.length),
      () => this.#held.delete(key),
    )
    return held.answer
  }

  async #render(view: LogView<unknown>, form: ChunkForm, from: number, to: number): Promise<Answer> {
    return { ...(await renderRange(view, form, from, to, this.#maxAnswerBytes)), event: undefined }
  }

  #hold(held: Held, bytes: number): void {
    // The event of an answer is as large again, in base64 a third larger.
    held.bytes = 1024 + 3 * bytes
    this.#heldBytes += held.bytes
    for (const [key, oldest] of this.#held) {
      if (this.#heldBytes <= this.#maxHeldBytes) return
      if (oldest.bytes === 0) continue
      this.#held.delete(key)
      this.#heldBytes -= oldest.bytes
    }
  }

  #numberOf(view: LogView<unknown>): number {
    let number = this.#numbers.get(view)
    if (number === undefined) {
      number = ++this.#lastNumber
      this.#numbers.set(view, number)
    }
    return number
  }
}
