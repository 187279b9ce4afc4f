import type { Io, IoCall } from './io.js'

/** Disk work of several calls, written once: it yields system calls, receives their results and returns a status. */
export type Task = Generator<IoCall, number, number>

/** A number is the status of a task that is over. */
export function runSync(io: Io, task: Task | number): number {
  if (typeof task === 'number') return task
  let step = task.next(0)
  while (step.done !== true) step = task.next(io.call(step.value))
  return step.value
}

/** A task under way on libuv's pool. */
export class AsyncTask {
  readonly #io: Io
  readonly #task: Task
  readonly #done: (status: number) => void
  #abandoned = false

  constructor(io: Io, task: Task, done: (status: number) => void) {
    this.#io = io
    this.#task = task
    this.#done = done
    this.#resume(0)
  }

  /** The call under way still happens, nothing follows it. */
  abandon(): void {
    this.#abandoned = true
  }

  #resume(result: number): void {
    const step = this.#task.next(result)
    if (step.done === true) return this.#done(step.value)
    const call = step.value
    this.#io.start(call, (late) => {
      if (!this.#abandoned) this.#resume(late)
      else if (call.kind === 'open' && late >= 0) this.#io.call({ ...call, kind: 'close', fd: late })
    })
  }
}
