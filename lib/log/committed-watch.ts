import { type FSWatcher, watch } from 'node:fs'
import { COMMITTED_FILE } from '../format/names.js'

/** Tells when the writer has changed COMMITTED: by watching the folder, with polling as fallback, and only while somebody waits. */
export class CommittedWatch {
  readonly #directory: string
  readonly #pollIntervalMs: number
  readonly #look: () => void
  #watcher: FSWatcher | undefined
  #poll: NodeJS.Timeout | undefined

  constructor(directory: string, pollIntervalMs: number, look: () => void) {
    this.#directory = directory
    this.#pollIntervalMs = pollIntervalMs
    this.#look = look
  }

  update(needed: boolean, keepAlive: boolean): void {
    if (!needed) {
      this.#watcher?.close()
      this.#watcher = undefined
      clearInterval(this.#poll)
      this.#poll = undefined
      return
    }
    if (this.#watcher === undefined) {
      try {
        this.#watcher = watch(this.#directory, (_event, name) => {
          if (name === COMMITTED_FILE || name === null) this.#look()
        })
        this.#watcher.on('error', () => {})
      } catch {
        // Polling alone serves where there is nothing to watch with.
      }
    }
    this.#poll ??= setInterval(this.#look, this.#pollIntervalMs)
    if (keepAlive) {
      this.#watcher?.ref()
      this.#poll.ref()
    } else {
      this.#watcher?.unref()
      this.#poll.unref()
    }
    // What changed between the last look and the start of watching is seen now.
    this.#look()
  }
}
