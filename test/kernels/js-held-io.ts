import { type Io, type IoCall, type IoDone, type IoKind, NodeIo } from '../../lib/kernels/js/io.js'

interface Held {
  readonly call: IoCall
  readonly done: IoDone
}

/** Lets a test decide when asynchronous calls of some kinds happen, and with what result they come back. */
export class HeldIo implements Io {
  readonly #io = new NodeIo()
  readonly #kinds = new Set<IoKind>()
  readonly held: Held[] = []
  /** Every call that was made, in order: kind, and how. */
  readonly log: string[] = []

  hold(...kinds: IoKind[]): void {
    for (const kind of kinds) this.#kinds.add(kind)
  }

  release(): void {
    this.#kinds.clear()
    for (const { call, done } of this.held.splice(0)) this.#io.start(call, done)
  }

  /** The first held call comes back with this result, without having happened. */
  answer(result: number): void {
    this.held.shift()?.done(result)
  }

  call(call: IoCall): number {
    this.log.push(`${call.kind} now`)
    return this.#io.call(call)
  }

  start(call: IoCall, done: IoDone): void {
    this.log.push(`${call.kind} later`)
    if (this.#kinds.has(call.kind)) this.held.push({ call, done })
    else this.#io.start(call, done)
  }
}
