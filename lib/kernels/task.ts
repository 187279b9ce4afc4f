import { FILE_LIST, type Kernels, SENT_AT_ONCE, type Ticket } from './kernels.js'
import { type FileRequest, type Procedure, TASK_COMMIT, TASK_DETACH } from './procedure.js'

/** How a `sendFile` ended: status as in its DONE row, and the bytes sent. */
export interface SendResult {
  readonly status: number
  readonly sent: number
}

/** A `sendFile` under way. */
export interface PendingSend {
  readonly done: Promise<SendResult>
  /** Ends it early; `done` still resolves. */
  cancel(): void
}

/** Runs procedures over one `Kernels`; gives out tickets and hands DONE rows to whoever waits. */
export class TaskRunner {
  readonly kernels: Kernels
  readonly #waiting = new Map<Ticket, (status: number, a: number) => void>()
  #lastTicket = 0
  #onIdleChange: (busy: boolean) => void

  constructor(kernels: Kernels, onIdleChange: (busy: boolean) => void) {
    this.kernels = kernels
    this.#onIdleChange = onIdleChange
  }

  /** DONE row. A ticket that nobody waits for was finished synchronously meanwhile. */
  done(ticket: Ticket, status: number, a: number): void {
    const resume = this.#waiting.get(ticket)
    if (resume === undefined) return
    this.#forget(ticket)
    resume(status, a)
  }

  start(request: FileRequest, resume: (status: number) => void): Ticket {
    const ticket = ++this.#lastTicket
    this.#wait(ticket, request.operation === FILE_LIST ? (status) => resume(this.#withText(request, ticket, status)) : resume)
    switch (request.operation) {
      case TASK_DETACH:
        this.kernels.detach(request.fd, ticket)
        break
      case TASK_COMMIT:
        this.kernels.commit(request.fd, request.a, ticket)
        break
      default:
        this.kernels.request(
          ticket,
          request.operation,
          request.fd,
          request.a,
          request.b,
          request.bytes,
          request.numbers,
          request.table,
          request.path,
          request.path2,
        )
    }
    return ticket
  }

  /** `sendFile` of the kernels. A result at once: everything was sent, or (status below 0) nothing was begun. */
  send(socketFd: number, fileFd: number, position: number, length: number, stallMs: number): SendResult | PendingSend {
    const ticket = ++this.#lastTicket
    const status = this.kernels.sendFile(ticket, socketFd, fileFd, position, length, stallMs)
    if (status === SENT_AT_ONCE) return { status: 0, sent: length }
    if (status < 0) return { status, sent: 0 }
    const done = new Promise<SendResult>((resolve) => this.#wait(ticket, (end, sent) => resolve({ status: end, sent })))
    return { done, cancel: () => this.kernels.cancelSend(ticket) }
  }

  /** Finishes what `start` began, on this thread. */
  finish(ticket: Ticket, request: FileRequest): number {
    this.#forget(ticket)
    return request.operation === TASK_DETACH || request.operation === TASK_COMMIT
      ? this.perform(request)
      : this.#withText(request, ticket, this.kernels.finishSync(ticket))
  }

  /** Performs a request on this thread. */
  perform(request: FileRequest): number {
    switch (request.operation) {
      case TASK_DETACH:
        this.kernels.detachSync(request.fd)
        return 0
      case TASK_COMMIT:
        return this.kernels.commitSync(request.fd, request.a)
      default:
        return this.#withText(
          request,
          0,
          this.kernels.requestSync(
            request.operation,
            request.fd,
            request.a,
            request.b,
            request.bytes,
            request.numbers,
            request.table,
            request.path,
            request.path2,
          ),
        )
    }
  }

  run<T>(procedure: Procedure<T>): Promise<T> {
    return new Task(this, procedure).promise
  }

  runSync<T>(procedure: Procedure<T>): T {
    let step = procedure.next(0)
    while (step.done !== true) step = procedure.next(this.perform(step.value))
    return step.value
  }

  #withText(request: FileRequest, ticket: Ticket, status: number): number {
    if (request.operation === FILE_LIST && status >= 0) request.text = this.kernels.takeText(ticket)
    return status
  }

  #wait(ticket: Ticket, resume: (status: number, a: number) => void): void {
    this.#waiting.set(ticket, resume)
    if (this.#waiting.size === 1) this.#onIdleChange(true)
  }

  #forget(ticket: Ticket): void {
    if (this.#waiting.delete(ticket) && this.#waiting.size === 0) this.#onIdleChange(false)
  }
}

/** One procedure under way. `finishSync` takes over: it completes the request in flight and the rest on the calling thread. */
export class Task<T> {
  readonly promise: Promise<T>
  readonly #runner: TaskRunner
  readonly #procedure: Procedure<T>
  #resolve!: (value: T) => void
  #reject!: (error: unknown) => void
  #ticket: Ticket = 0
  #request: FileRequest | undefined
  #outcome: { readonly value: T } | { readonly error: unknown } | undefined

  constructor(runner: TaskRunner, procedure: Procedure<T>) {
    this.#runner = runner
    this.#procedure = procedure
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#advance(0)
  }

  get settled(): boolean {
    return this.#outcome !== undefined
  }

  finishSync(): T {
    while (this.#outcome === undefined) {
      if (this.#request === undefined) throw new Error('a procedure cannot be finished from inside itself')
      const request = this.#request
      this.#request = undefined
      this.#step(this.#runner.finish(this.#ticket, request), (next) => this.#runner.perform(next))
    }
    if ('error' in this.#outcome) throw this.#outcome.error
    return this.#outcome.value
  }

  readonly #advance = (status: number): void => {
    this.#request = undefined
    this.#step(status, undefined)
  }

  /** Goes on with `status`; with `perform` to the end, else to the next request. */
  #step(status: number, perform: ((request: FileRequest) => number) | undefined): void {
    try {
      let step = this.#procedure.next(status)
      while (step.done !== true && perform !== undefined) step = this.#procedure.next(perform(step.value))
      if (step.done === true) {
        this.#outcome = { value: step.value }
        this.#resolve(step.value)
      } else {
        this.#request = step.value
        this.#ticket = this.#runner.start(step.value, this.#advance)
      }
    } catch (error) {
      this.#outcome = { error }
      this.#reject(error)
    }
  }
}

interface WaitingTask {
  readonly make: () => Procedure<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Tasks of one log, one after the other. */
export class TaskQueue {
  readonly #runner: TaskRunner
  #running: Task<unknown> | undefined
  readonly #waiting: WaitingTask[] = []
  /** One is being run by `finishSync` from its beginning. */
  #performing = false

  constructor(runner: TaskRunner) {
    this.#runner = runner
  }

  get idle(): boolean {
    return this.#running === undefined && this.#waiting.length === 0 && !this.#performing
  }

  /** Starts the procedure when all before it have ended, whatever their outcome. */
  add<T>(make: () => Procedure<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ make, resolve: resolve as (value: unknown) => void, reject })
      this.#next()
    })
  }

  /** Resolves when everything queued so far has ended. */
  settled(): Promise<void> {
    return this.add(function* (): Procedure<void> {})
  }

  /** Ends everything queued on this thread, in order; outcomes go to their promises. */
  finishSync(): void {
    for (;;) {
      const running = this.#running
      if (running === undefined) {
        const next = this.#take()
        if (next === undefined) return
        // What it gives rise to waits until it has ended, as ever.
        const outer = this.#performing
        this.#performing = true
        try {
          next.resolve(this.#runner.runSync(next.make()))
        } catch (error) {
          next.reject(error)
        } finally {
          this.#performing = outer
        }
      } else {
        try {
          running.finishSync()
        } catch {
          // The promise of the task carries it.
        }
        this.#running = undefined
      }
    }
  }

  #take(): WaitingTask | undefined {
    const next = this.#waiting.shift()
    // Lets go of the room that the array has grown by: one is kept for every open log.
    if (this.#waiting.length === 0) this.#waiting.length = 0
    return next
  }

  #next(): void {
    if (this.#running !== undefined || this.#performing) return
    const next = this.#take()
    if (next === undefined) return
    const task = new Task(this.#runner, next.make())
    this.#running = task
    const ended = () => {
      if (this.#running !== task) return
      this.#running = undefined
      this.#next()
    }
    task.promise.then(
      (value) => {
        ended()
        next.resolve(value)
      },
      (error: unknown) => {
        ended()
        next.reject(error)
      },
    )
  }
}
