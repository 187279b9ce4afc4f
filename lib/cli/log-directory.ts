import { existsSync } from 'node:fs'
import { access, readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { LogError } from '../errors.js'
import { MANIFEST_FILE, SEGMENTS_DIRECTORY } from '../format/names.js'
import { Log, type LogReader } from '../index.js'
import type { CommonOptions } from './arguments.js'

/**
 * The logs that are served, by name: one at the empty name, or those in the folders of a directory at the names of their folders. A name is compared
 * with what is there and never made into a path. Readers are opened when they are first asked for and stay open.
 */
export class LogDirectory {
  /** One log, or a directory of logs. */
  readonly single: boolean
  readonly #directory: string
  readonly #backend: CommonOptions['backend']
  readonly #onOpen: (log: LogReader<unknown>, name: string) => void
  readonly #readers = new Map<string, Promise<LogReader<unknown>>>()
  #closed = false

  private constructor(directory: string, single: boolean, backend: CommonOptions['backend'], onOpen: (log: LogReader<unknown>, name: string) => void) {
    this.#directory = directory
    this.single = single
    this.#backend = backend
    this.#onOpen = onOpen
  }

  /** `onOpen` hears of every reader. ERR_SEALOG_NOT_FOUND when there is no log; a single log that cannot be opened fails here. */
  static async open(directory: string, backend: CommonOptions['backend'], onOpen: (log: LogReader<unknown>, name: string) => void): Promise<LogDirectory> {
    const single = existsSync(join(directory, MANIFEST_FILE)) || existsSync(join(directory, SEGMENTS_DIRECTORY))
    const logs = new LogDirectory(directory, single, backend, onOpen)
    if (single) await logs.find('')
    else if ((await logs.names()).length === 0) throw new LogError('ERR_SEALOG_NOT_FOUND', `there is no log in ${directory}, nor in its folders`, { directory })
    return logs
  }

  /** The label of a log. */
  labelOf(name: string): string {
    return name === '' ? basename(this.#directory) : name
  }

  async names(): Promise<string[]> {
    if (this.single) return ['']
    let entries: string[]
    try {
      entries = await readdir(this.#directory)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ENOTDIR') return []
      throw error
    }
    const hold = await Promise.all(
      entries.map((entry) =>
        access(join(this.#directory, entry, MANIFEST_FILE)).then(
          () => true,
          () => false,
        ),
      ),
    )
    return entries.filter((_, i) => hold[i]).sort()
  }

  /** undefined: there is no log of this name. */
  async find(name: string): Promise<LogReader<unknown> | undefined> {
    const known = this.#readers.get(name)
    if (known !== undefined) return known
    if (this.#closed || !(await this.names()).includes(name)) return undefined
    return this.#readers.get(name) ?? this.#open(name)
  }

  async close(): Promise<void> {
    this.#closed = true
    // An opening that fails is told to those who asked for the log.
    const readers = await Promise.allSettled(this.#readers.values())
    for (const opened of readers) if (opened.status === 'fulfilled') await opened.value.close()
  }

  #open(name: string): Promise<LogReader<unknown>> {
    const opening = Log.openReader<unknown>(join(this.#directory, name), { backend: this.#backend })
    this.#readers.set(name, opening)
    opening.then(
      (reader) => this.#onOpen(reader, name),
      () => this.#readers.delete(name),
    )
    return opening
  }
}
