import type { IncomingMessage, ServerResponse } from 'node:http'
import type { LogView } from '../index.js'

const IDLE_CHANGE_MS = 100

/** Tells any number of waiting clients of the changes of one log, which itself has one waiter then, and none while nobody waits. */
export class ChangeFeed {
  readonly #view: LogView<unknown>
  readonly #listeners = new Set<() => void>()
  #cancel: (() => void) | undefined
  #seen = ''
  #timer: NodeJS.Timeout | undefined

  constructor(view: LogView<unknown>) {
    this.#view = view
  }

  /** Calls `listener` whenever the log may have changed, until the function that is returned is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) this.#wait()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#cancel?.()
      this.#cancel = undefined
      clearTimeout(this.#timer)
    }
  }

  #wait(): void {
    const waiting = this.#view.changed(false)
    this.#cancel = waiting.cancel
    void waiting.promise.then(() => {
      if (this.#cancel !== waiting.cancel) return
      const { committedOffset, durableOffset, epoch, closed } = this.#view
      const state = `${committedOffset} ${durableOffset} ${epoch} ${closed}`
      // A reader whose files cannot be read says so again and again.
      if (state === this.#seen) this.#timer = setTimeout(this.#resume, IDLE_CHANGE_MS)
      else if (!closed) this.#wait()
      this.#seen = state
      this.#tell()
    })
  }

  /** Nobody was listening to the log meanwhile. */
  readonly #resume = (): void => {
    this.#wait()
    this.#tell()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

/** Why a client waits no longer: it went away, its time is over, or the handler closes. */
export type LiveEnd = 'gone' | 'expired' | 'closing'

/**
 * A client that waits for records. It ends with its response's connection, after `lifetimeMs`, or when `end` is called; the timers of its
 * connection are off while it waits. Call `stop` when nothing is waited for any more.
 */
export class LiveClient {
  readonly #res: ServerResponse
  readonly #clients: Set<LiveClient>
  readonly #unsubscribe: () => void
  readonly #timer: NodeJS.Timeout
  readonly #restoreSocketTimeout: () => void
  #changed = false
  #drained = false
  #ended: LiveEnd | undefined
  #wake: (() => void) | undefined

  constructor(req: IncomingMessage, res: ServerResponse, feed: ChangeFeed, lifetimeMs: number, clients: Set<LiveClient>) {
    this.#res = res
    this.#clients = clients
    clients.add(this)
    this.#restoreSocketTimeout = suspendSocketTimeout(req)
    res.on('close', this.#gone)
    res.on('drain', this.#drain)
    this.#timer = setTimeout(() => this.end('expired'), lifetimeMs)
    this.#unsubscribe = feed.subscribe(() => {
      this.#changed = true
      this.#notify()
    })
    if (res.destroyed) this.end('gone')
  }

  get ended(): LiveEnd | undefined {
    return this.#ended
  }

  end(why: LiveEnd): void {
    this.#ended ??= why
    this.#notify()
  }

  /** Resolves when the log may have changed since the last call, or when the client has ended. */
  async changed(): Promise<void> {
    while (!this.#changed && this.#ended === undefined) await this.#notified()
    this.#changed = false
  }

  /** After a write that returned false: resolves when the connection takes more bytes, or when the client has ended. */
  async drained(): Promise<void> {
    this.#drained = false
    while (!this.#drained && this.#ended === undefined) await this.#notified()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#unsubscribe()
    this.#res.off('close', this.#gone)
    this.#res.off('drain', this.#drain)
    this.#clients.delete(this)
    this.#restoreSocketTimeout()
  }

  #notified(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  readonly #notify = (): void => {
    this.#wake?.()
    this.#wake = undefined
  }

  readonly #drain = (): void => {
    this.#drained = true
    this.#notify()
  }

  readonly #gone = (): void => this.end('gone')
}

/** Turns the idle timer of an HTTP/1 connection off; the function that is returned turns it on again, unless somebody has set it meanwhile. */
function suspendSocketTimeout(req: IncomingMessage): () => void {
  const { socket } = req
  const timeout = socket.timeout ?? 0
  if (req.httpVersionMajor !== 1 || timeout === 0) return () => {}
  socket.setTimeout(0)
  return () => {
    if (socket.timeout === 0 && !socket.destroyed) socket.setTimeout(timeout)
  }
}
