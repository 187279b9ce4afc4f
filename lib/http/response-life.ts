import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'

/** RFC 9113, section 7. */
const HTTP2_INTERNAL_ERROR = 2

type ResponseEvent = 'socket' | 'drain'

/** One listener per connection, however many responses wait in its pipeline. */
const closeListeners = new WeakMap<Socket, Set<() => void>>()

function addCloseListener(socket: Socket, listener: () => void): void {
  let listeners = closeListeners.get(socket)
  if (listeners === undefined) {
    const all = new Set<() => void>()
    listeners = all
    closeListeners.set(socket, all)
    socket.once('close', () => {
      for (const each of all) each()
    })
  }
  listeners.add(listener)
}

/** Whether a response can still go on, and waiting for its events without hanging when it cannot. `dispose` it. */
export class ResponseLife {
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  #gone: boolean
  #wake: (() => void) | undefined
  readonly #events = new Map<ResponseEvent, () => void>()
  #awaited: ResponseEvent | undefined
  #arrived: (() => void) | undefined
  #unguard: (() => void) | undefined

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.#req = req
    this.#res = res
    this.#gone = res.destroyed === true || res.writableEnded || (isHttp1(req) && req.socket.destroyed)
    res.once('close', this.#onClose)
    // A response that waits behind others hears nothing of the connection's end.
    if (isHttp1(req)) addCloseListener(req.socket, this.#onClose)
  }

  /** The connection is gone, or the response has ended. */
  get gone(): boolean {
    return this.#gone
  }

  /** Waits for what `begin` sets going to call back. False: the response is gone first. One wait at a time. */
  wait(begin: (done: () => void) => void): Promise<boolean> {
    if (this.#gone) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#wake = () => resolve(false)
      begin(() => resolve(true))
    })
  }

  until(event: ResponseEvent): Promise<boolean> {
    // One listener for all times: middleware that hands listeners on to a stream of its own loses those of `once`.
    if (!this.#events.has(event)) {
      const listener = () => {
        if (this.#awaited === event) this.#arrived?.()
      }
      this.#events.set(event, listener)
      this.#res.on(event, listener)
    }
    return this.wait((done) => {
      this.#awaited = event
      this.#arrived = done
    })
  }

  /** Waits for the responses before this one on its connection. False: it is gone. */
  attached(): Promise<boolean> {
    if (this.#gone) return Promise.resolve(false)
    return this.#res.socket === null ? this.until('socket') : Promise.resolve(true)
  }

  /** From now on a client that takes nothing for `stallMs` while bytes wait for it is cut off. */
  guard(stallMs: number): void {
    const req = this.#req
    if (!isHttp1(req)) {
      this.#res.setTimeout(stallMs, () => this.cut())
      return
    }
    const { socket } = req
    const before = socket.timeout ?? 0
    // The timer of a connection starts anew whenever bytes leave it, so it measures the pause and not the transfer.
    const stalled = () => this.cut()
    socket.setTimeout(stallMs).on('timeout', stalled)
    this.#unguard = () => {
      socket.off('timeout', stalled)
      if (!socket.destroyed) socket.setTimeout(before)
    }
  }

  unguard(): void {
    this.#unguard?.()
    this.#unguard = undefined
  }

  /** Ends a response that cannot be completed, so that the client does not take it for a whole one. */
  cut(): void {
    if (isHttp1(this.#req)) this.#req.socket.destroy()
    else (this.#res as unknown as Http2ServerResponse).stream.close(HTTP2_INTERNAL_ERROR)
  }

  dispose(): void {
    this.unguard()
    this.#res.off('close', this.#onClose)
    if (isHttp1(this.#req)) closeListeners.get(this.#req.socket)?.delete(this.#onClose)
    for (const [event, listener] of this.#events) this.#res.off(event, listener)
  }

  readonly #onClose = (): void => {
    this.#gone = true
    this.#wake?.()
  }
}

/**
 * Waits for the responses before this one on its connection: whoever sends many requests at once gets the work and the memory of one answer at a time, and what
 * waits in a pipeline is not told of its connection's end. False: the connection is gone.
 */
export async function isNext(req: IncomingMessage, res: ServerResponse): Promise<boolean> {
  if (!isHttp1(req) || res.socket !== null) return true
  const life = new ResponseLife(req, res)
  try {
    return await life.attached()
  } finally {
    life.dispose()
  }
}

export function isHttp1(req: IncomingMessage): boolean {
  return req.httpVersionMajor === 1
}
