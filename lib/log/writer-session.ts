import path from 'node:path'
import type { LogError } from '../errors.js'
import type { Procedure } from '../kernels/procedure.js'
import { TaskQueue } from '../kernels/task.js'
import { checkDirectory, type LogOptions, resolveSession, type SessionOptions } from '../options.js'
import { checkEncodings } from '../sealing/siblings.js'
import type { ChangeSignal } from './change-signal.js'
import { CommitDriver } from './commit-driver.js'
import { type Environment, environmentFor } from './environment.js'
import { WriterLock } from './lock.js'
import { makePlace, openUnderLock } from './open.js'
import type { Sources } from './parts.js'

/** A log that is open: its commit path, and why it may only be read, if so. */
export interface OpenLog {
  readonly driver: CommitDriver
  readonly readOnlyReason: LogError | undefined
}

/** The writer's hold on a directory: lock and options. Opens, opens again under the same lock, lets go. */
export class WriterSession {
  readonly directory: string
  readonly environment: Environment
  readonly options: SessionOptions
  readonly #given: LogOptions
  readonly #sources: Sources
  readonly #lock: WriterLock
  readonly #changes: ChangeSignal

  private constructor(
    directory: string,
    environment: Environment,
    options: SessionOptions,
    given: LogOptions,
    sources: Sources,
    lock: WriterLock,
    changes: ChangeSignal,
  ) {
    this.directory = directory
    this.environment = environment
    this.options = options
    this.#given = given
    this.#sources = sources
    this.#lock = lock
    this.#changes = changes
  }

  static async begin(directory: string, given: LogOptions, sources: Sources, changes: ChangeSignal): Promise<{ session: WriterSession; opened: OpenLog }> {
    checkDirectory(directory)
    const options = resolveSession(given)
    checkEncodings(options.chunkEncodings)
    const environment = environmentFor(options.backend)
    const { runner } = environment
    const place = path.resolve(directory)
    await runner.run(makePlace(place, given, options))
    const lock = await WriterLock.acquire(place, runner, options.durability, options.lock)
    try {
      const session = new WriterSession(place, environment, options, given, sources, lock, changes)
      return { session, opened: await session.#open(given, undefined) }
    } catch (error) {
      await runner.run(lock.release(false))
      throw error
    }
  }

  /** Opens the directory once more, as if it had been closed. `seenEnd`: what readers may have seen, when the log had failed. */
  async reopen(driver: CommitDriver, seenEnd: number | undefined): Promise<OpenLog> {
    driver.tail?.end(true)
    await this.environment.runner.run(driver.end(false))
    return this.#open({ ...this.#given, create: false }, seenEnd)
  }

  async #open(given: LogOptions, seenEnd: number | undefined): Promise<OpenLog> {
    const { runner } = this.environment
    const opened = await runner.run(
      openUnderLock(this.directory, this.environment, given, this.options, this.#lock, this.#sources, new TaskQueue(runner), seenEnd),
    )
    const driver = new CommitDriver(opened, this.#changes)
    try {
      if (opened.readOnlyReason === undefined) await runner.run(driver.begin(opened))
    } catch (error) {
      await runner.run(driver.end(false))
      throw error
    }
    return { driver, readOnlyReason: opened.readOnlyReason }
  }

  /** Lets files and lock go; with `clean` the log is left so that the next open has nothing to recover. Throws what failed first, after having let go. */
  *end(driver: CommitDriver, clean: boolean): Procedure<void> {
    let done = false
    try {
      yield* driver.end(clean)
      done = true
    } finally {
      driver.stop()
      yield* this.#lock.release(clean && done)
    }
  }
}
