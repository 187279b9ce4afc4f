import path from 'node:path'
import { argumentError, LogError } from '../errors.js'
import type { ArchiveHeader } from '../format/archive-file.js'
import { archivesOf, putBack, unpack } from '../log/archive-moves.js'
import type { Log } from '../log/log.js'
import type { ClosedSegment } from '../log/manifest.js'
import type { LogParts } from '../log/parts.js'
import { release, removeFiles } from '../log/retention.js'
import type { LogWorker } from '../log/workers.js'
import { readHeader, whileOpen } from './archive-segment.js'
import { Archiver, type ArchiverStats } from './archiver.js'
import { compareFile, takeFolder, verifyFacts } from './check-archive.js'
import { Dictionaries, type TrainResult } from './dictionaries.js'
import { type ArchiveOptions, type ArchiveSettings, resolveArchive } from './options.js'

/** One archived segment, as MANIFEST knows it. Offsets: `base` inclusive, `end` exclusive. */
export interface ArchiveEntry {
  readonly base: number
  readonly end: number
  /** Path of the archive. */
  readonly file: string
  readonly bytes: number
  readonly segmentBytes: number
  /** CRC-32C of the archive. */
  readonly crc: number
  /** Id of the dictionary that it needs, 0: none. */
  readonly dictionary: number
  /** ms since the epoch. */
  readonly closedAt: number
  readonly archivedAt: number
  /** The segment file is there too. */
  readonly local: boolean
  /** It lies in front of the log: its records were given up, the archive was kept. */
  readonly history: boolean
}

export interface ArchiveProblem {
  readonly base: number
  readonly end: number
  readonly file: string
  readonly code: string
  readonly message: string
}

export interface ArchiveReport {
  readonly ok: boolean
  readonly archives: number
  readonly records: number
  /** Of the archives. */
  readonly bytes: number
  readonly problems: readonly ArchiveProblem[]
}

export interface ArchiveStats extends ArchiverStats {
  readonly directory: string
  /** Segments of the log that are read from their archives. */
  readonly released: number
}

export type ArchiveProgress = (done: number, total: number) => void

const attached = new WeakSet<object>()

/**
 * The archives of a log that is open for writing: compressed, verified copies of its closed segments. One per log; it rests while the log is truncated or reopened
 * and ends with it. Archives are in `archive.directory` of `Log.open`.
 */
export class Archive implements LogWorker, AsyncDisposable {
  readonly directory: string
  readonly #log: Log<unknown>
  readonly #dictionaries: Dictionaries
  readonly #archiver: Archiver
  #closed: Promise<void> | undefined
  #paused = false
  /** Restoring, releasing, training: one after the other. */
  #moves: Promise<unknown> = Promise.resolve()

  /** @internal Use `openArchive`. */
  constructor(log: Log<unknown>, settings: ArchiveSettings) {
    this.#log = log
    this.directory = archivesOf(log.commitDriver().parts)
    this.#dictionaries = new Dictionaries(log, settings)
    this.#archiver = new Archiver(log, settings, this.#dictionaries)
    attached.add(log)
    log.workers.add(this)
    log.observe(() => {
      if (this.#closed !== undefined) return
      if (log.closed) this.#dictionaries.close()
      else this.#archiver.noticed()
    })
    this.#archiver.noticed()
  }

  /** Archives every closed segment that is pending; throws the first failure when all were tried. Damaged segments are set aside. Resolves to the number archived. */
  async run(): Promise<number> {
    this.#check()
    const before = this.#archiver.stats.archived
    await this.#archiver.drain()
    return this.#archiver.stats.archived - before
  }

  /** What is archived, in order. */
  list(): ArchiveEntry[] {
    const { closed, history = [] } = this.#parts.manifest.state
    return [...history.map((facts) => this.#entry(facts, true)), ...closed.map((facts) => this.#entry(facts, false))].filter((entry) => entry !== undefined)
  }

  /** What the header of the archive that holds `offset` says; undefined when there is none. */
  async info(offset: number): Promise<(ArchiveEntry & { readonly header: ArchiveHeader }) | undefined> {
    const entry = this.list().find(({ base, end }) => base <= offset && offset < end)
    if (entry === undefined) return undefined
    const found = await this.#log.environment.runner.run(readHeader(this.#parts, entry.file))
    if (found === undefined) throw new LogError('ERR_SEALOG_ARCHIVE', `the archive ${entry.file} is missing`, { file: entry.file })
    return { ...entry, header: found.header }
  }

  /** Reads every archive whole and verifies every frame in it; problems are reported, not thrown. `progress` gets bytes of archives. */
  async verify(progress: ArchiveProgress = () => {}): Promise<ArchiveReport> {
    this.#check()
    const { environment } = this.#log
    const { closed, history = [] } = this.#parts.manifest.state
    const archived = [...history, ...closed].filter(({ archive }) => archive !== undefined)
    const total = archived.reduce((sum, { archive }) => sum + (archive?.bytes ?? 0), 0)
    const problems: ArchiveProblem[] = []
    let records = 0
    let done = 0
    for (const facts of archived) {
      this.#check()
      try {
        records += await environment.runner.run(verifyFacts(this.#parts, facts))
      } catch (error) {
        if (!(error instanceof LogError)) throw error
        // Retention may have removed it meanwhile.
        const { state } = this.#parts.manifest
        if (state.closed.includes(facts) || state.history?.includes(facts)) problems.push(this.#problem(facts, error))
      }
      done += facts.archive?.bytes ?? 0
      progress(done, total)
    }
    return { ok: problems.length === 0, archives: archived.length, records, bytes: total, problems }
  }

  /** Brings back the segment files of the offsets from … to (exclusive), byte for byte. Their archives stay. Resolves to the number restored. `progress` gets segment bytes. */
  restore(from: number, to: number, progress: ArchiveProgress = () => {}): Promise<number> {
    checkOffset('from', from)
    checkOffset('to', to)
    return this.#move(async () => {
      const wanted = this.#log.segments.all.filter(({ archive, base, end }) => archive !== undefined && base < to && end > from)
      const total = wanted.reduce((sum, segment) => sum + segment.endPosition, 0)
      let restored = 0
      let done = 0
      for (const segment of wanted) {
        this.#check()
        const { archive } = segment
        const parts = this.#parts
        if (archive === undefined || segment.retired) continue
        await this.#log.environment.runner.run(unpack(parts, segment, archive))
        if (await whileOpen(this.#log, parts, () => putBack(parts, segment))) restored++
        done += segment.endPosition
        progress(done, total)
      }
      return restored
    })
  }

  /**
   * Gives up the segment files of archived segments that end at or below `before`, and their chunks; they are read from their archives then. Every archive is read and
   * compared with MANIFEST first: the files of those that are missing or damaged stay, and the first such error is thrown in the end. Never the last segment.
   * Resolves to the number given up.
   */
  release(before: number): Promise<number> {
    checkOffset('before', before)
    return this.#move(async () => {
      const parts = this.#parts
      const { runner } = this.#log.environment
      const last = this.#log.segments.last?.base
      const wanted = parts.manifest.state.closed.filter(
        ({ archive, local, end, base }) => archive !== undefined && local !== false && end <= before && base !== last,
      )
      const good: ClosedSegment[] = []
      let failure: unknown
      for (const facts of wanted) {
        this.#check()
        try {
          await runner.run(compareFile(parts, facts))
          good.push(facts)
        } catch (error) {
          failure ??= error
        }
      }
      if (good.length > 0) {
        const gone = await whileOpen(this.#log, parts, () => release(parts, stillThere(parts, good)))
        await removeFiles(this.#log, parts, gone)
      }
      if (failure !== undefined) throw failure
      return good.length
    })
  }

  /** Makes a dictionary of records from all over the closed segments; it is used from now on if a trial shows that archives become at least 3 % smaller. */
  train(): Promise<TrainResult> {
    return this.#move(() => this.#dictionaries.train())
  }

  stats(): ArchiveStats {
    const released = this.#parts.manifest.state.closed.filter(({ local }) => local === false).length
    return { ...this.#archiver.stats, directory: this.directory, released }
  }

  /** Gives up what is being archived, nothing of it is left; ends. The log stays open. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  async pause(): Promise<void> {
    this.#paused = true
    await this.#archiver.pause()
    await this.#moves
  }

  /** @internal */
  pauseSync(): void {
    this.#paused = true
    this.#archiver.pauseSync()
  }

  /** @internal */
  resume(): void {
    if (this.#closed !== undefined) return
    this.#paused = false
    this.#archiver.resume()
  }

  async #close(): Promise<void> {
    await this.pause()
    this.#log.workers.delete(this)
    attached.delete(this.#log)
    this.#dictionaries.close()
  }

  get #parts(): LogParts {
    return this.#log.commitDriver().parts
  }

  #check(): void {
    if (this.#closed !== undefined) throw new LogError('ERR_SEALOG_CLOSED', `the archive of ${this.#log.directory} is closed`)
    this.#log.checkWritable()
    if (this.#paused) throw new LogError('ERR_SEALOG_CONFLICT', `${this.#log.directory} is being truncated or reopened`)
  }

  #move<R>(work: () => Promise<R>): Promise<R> {
    const done = this.#moves.then(() => {
      this.#check()
      return work()
    })
    this.#moves = done.catch(() => {})
    return done
  }

  #entry({ archive, ...facts }: ClosedSegment, history: boolean): ArchiveEntry | undefined {
    if (archive === undefined) return undefined
    const { base, end, bytes: segmentBytes, closedAt } = facts
    const { bytes, crc, dictionary, archivedAt } = archive
    const file = path.join(this.directory, archive.file)
    return { base, end, file, bytes, segmentBytes, crc, dictionary, closedAt, archivedAt, local: facts.local !== false, history }
  }

  #problem({ base, end, archive }: ClosedSegment, { code, message }: LogError): ArchiveProblem {
    return { base, end, file: path.join(this.directory, archive?.file ?? ''), code, message }
  }
}

/**
 * Opens the archives of a log: closed segments are archived from now on, in the background unless `automatic` is false. ERR_SEALOG_UNSUPPORTED without zstd (the js
 * backend on Node before 22.19), ERR_SEALOG_CONFLICT when the log has one already, ERR_SEALOG_ARCHIVE when the directory holds archives of another log.
 */
export async function openArchive<T>(log: Log<T>, options: ArchiveOptions = {}): Promise<Archive> {
  const settings = resolveArchive(options)
  log.checkWritable()
  if (!log.environment.kernels.can.compress)
    throw new LogError('ERR_SEALOG_UNSUPPORTED', 'this backend cannot compress; archives need the native one or Node 22.19')
  if (attached.has(log)) throw new LogError('ERR_SEALOG_CONFLICT', `${log.directory} has an archive already`)
  await log.environment.runner.run(takeFolder(log.commitDriver().parts))
  if (attached.has(log)) throw new LogError('ERR_SEALOG_CONFLICT', `${log.directory} has an archive already`)
  log.checkWritable()
  return new Archive(log as unknown as Log<unknown>, settings)
}

function stillThere(parts: LogParts, wanted: readonly ClosedSegment[]): ClosedSegment[] {
  return wanted.filter((facts) => parts.manifest.state.closed.includes(facts))
}

function checkOffset(field: string, offset: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0) throw argumentError(field, offset, 'an integer from 0 to 2^53 − 1')
}
