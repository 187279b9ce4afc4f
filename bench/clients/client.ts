/** Many clients of one server, in a process of their own, which is told what to do by messages and answers each with one. */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { BUILD } from '../harness/paths.js'

export interface Target {
  readonly port: number
  readonly path: string
  readonly clients: number
}

export class ClientProcess<Order, Answer> {
  readonly #child: ChildProcess
  #failure: Error | undefined
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined

  /** `program`: a file of this folder. */
  constructor(program: 'stalled' | 'polling', target: Target) {
    this.#child = fork(join(BUILD, 'js/clients', `${program}.js`), [JSON.stringify(target)])
    this.#child.on('message', (message) => {
      this.#waiting?.resolve(message as Answer)
      this.#waiting = undefined
    })
    this.#child.on('error', (error) => this.#fail(error))
    this.#child.on('exit', (code) => this.#fail(new Error(`the clients ended with code ${code}`)))
  }

  ask(order: Order): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      if (this.#failure !== undefined) reject(this.#failure)
      else this.#child.send(order as object)
    })
  }

  end(): void {
    this.#child.removeAllListeners('exit')
    this.#child.kill('SIGKILL')
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#waiting?.reject(this.#failure)
  }
}

/** In the client process: answers every order. A rejection ends the process, which the other side notices. */
export function answerOrders<Order, Answer>(answer: (order: Order) => Promise<Answer>): void {
  process.on('message', async (order: Order) => {
    process.send!(await answer(order))
  })
}

export function ownTarget(): Target {
  return JSON.parse(process.argv[2]) as Target
}

/** CLOCK_MONOTONIC, the same in all processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
