/** Work in the background that reads segments and tells MANIFEST what came of it: it rests while the log is opened anew, and ends with the log. */
export interface LogWorker {
  /** Resolves when nothing is under way any more, and nothing is begun until `resume`. */
  pause(): Promise<void>
  /** Begins nothing more; what is under way notices by itself. */
  pauseSync(): void
  resume(): void
}

/** The workers of one log. */
export class LogWorkers {
  /** undefined: there is none, as in most logs of a process. */
  #all: Set<LogWorker> | undefined
  /** Set while a worker asks for no more appends: `drain` waits for it. */
  backlog: Promise<void> | undefined

  add(worker: LogWorker): void {
    this.#all ??= new Set()
    this.#all.add(worker)
  }

  delete(worker: LogWorker): void {
    this.#all?.delete(worker)
  }

  async pause(): Promise<void> {
    for (const worker of this.#all ?? []) await worker.pause()
  }

  pauseSync(): void {
    for (const worker of this.#all ?? []) worker.pauseSync()
  }

  resume(): void {
    for (const worker of this.#all ?? []) worker.resume()
  }
}
