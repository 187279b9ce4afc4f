import type { Io, IoCall, IoDone } from './io.js'

/**
 * Keeps descriptors open while an asynchronous call still uses them. The twin cannot wait for libuv's pool, so a synchronous commit leaves calls
 * behind that are still under way; a descriptor closed (or a file cut) beneath them would let them write to whatever gets the number next.
 */
export class Descriptors implements Io {
  readonly #io: Io
  readonly #users = new Map<number, number>()
  readonly #deferred = new Map<number, (() => void)[]>()

  constructor(io: Io) {
    this.#io = io
  }

  /** A `close` that must wait answers 0 at once. */
  call(call: IoCall): number {
    if (call.kind === 'close' && this.#users.has(call.fd)) {
      this.#defer(call.fd, () => this.#io.call(call))
      return 0
    }
    return this.#io.call(call)
  }

  start(call: IoCall, done: IoDone): void {
    const { fd, kind } = call
    if (fd < 0) return this.#io.start(call, done)
    if ((kind === 'close' || kind === 'truncate') && this.#users.has(fd)) return this.#defer(fd, () => this.#start(call, done))
    this.#start(call, done)
  }

  #start(call: IoCall, done: IoDone): void {
    const { fd, kind } = call
    // The number is free as soon as the kernel has closed it, maybe before its callback runs here: a close is no user.
    if (kind === 'close') return this.#io.start(call, done)
    this.#users.set(fd, (this.#users.get(fd) ?? 0) + 1)
    this.#io.start(call, (result) => {
      this.#release(fd)
      done(result)
    })
  }

  #release(fd: number): void {
    const users = (this.#users.get(fd) ?? 1) - 1
    if (users > 0) {
      this.#users.set(fd, users)
      return
    }
    this.#users.delete(fd)
    const deferred = this.#deferred.get(fd)
    if (deferred === undefined) return
    this.#deferred.delete(fd)
    for (const run of deferred) {
      // A truncation that has just started makes a close behind it wait again.
      if (this.#users.has(fd)) this.#defer(fd, run)
      else run()
    }
  }

  #defer(fd: number, run: () => void): void {
    const deferred = this.#deferred.get(fd)
    if (deferred === undefined) this.#deferred.set(fd, [run])
    else deferred.push(run)
  }
}
