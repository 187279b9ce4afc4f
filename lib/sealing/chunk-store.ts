import path from 'node:path'
import { warn } from '../errors.js'
import type { Kernels } from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { TaskRunner } from '../kernels/task.js'
import type { Segment } from '../segment/segment.js'
import type { SegmentSet } from '../segment/segment-set.js'
import type { ChunkInfo, OpenChunk } from './chunk.js'
import { chunksFolder, listChunks } from './chunk-directory.js'
import type { ChunkFile } from './chunk-file.js'
import type { ChunkPool } from './chunk-pool.js'
import { ChunkSet } from './chunk-set.js'
import { type ChunkHandle, ChunkLease, MISSING, OF_ANOTHER_SEGMENT, openChunk } from './open-chunk.js'

const RESCAN_MS = 1000

/** What the chunks of a log belong to. */
export interface ChunkSource {
  readonly directory: string
  readonly logId: Uint8Array
  readonly segments: SegmentSet
  /** Chunks that are found end below: the durable end, for a writer that when it opened the log. What lies above is left over from records that were cut. */
  readonly chunkLimit: number
  /** The log is open for writing: what is no good is removed, and no one else adds chunks. */
  readonly writable: boolean
  /** What was found in an earlier epoch may hold records that are cut. */
  readonly epoch: number
  readonly environment: { readonly kernels: Kernels; readonly runner: TaskRunner; readonly chunkPool: ChunkPool }
  prepare(segment: Segment): Procedure<void>
  /** Called before anything is held against a chunk: whether a writer elsewhere has changed the segments since they were looked at. */
  recheck(): Promise<boolean>
  /** Throws ERR_SEALOG_CLOSED: the folder may be another writer's by now. */
  checkOpen(): void
}

/** The sealed chunks of an open log: found in its folder when they are first asked for, verified when first opened. */
export class ChunkStore {
  readonly #source: ChunkSource
  readonly set = new ChunkSet()
  readonly #onDamage: (chunk: ChunkFile) => void
  #epoch = -1
  #loading: Promise<void> | undefined
  #loadedAt = Number.NEGATIVE_INFINITY
  readonly #opening = new Map<ChunkFile, Promise<ChunkHandle | undefined>>()

  constructor(source: ChunkSource, onDamage: (chunk: ChunkFile) => void) {
    this.#source = source
    this.#onDamage = onDamage
  }

  /** The log was opened anew or cut: what is known counts no more. */
  reset(): void {
    this.forget(() => true)
    this.#loading = undefined
    this.#epoch = this.#source.epoch
  }

  /** Resolves when no look at the folder is under way. */
  async settled(): Promise<void> {
    await this.#loading?.catch(() => {})
  }

  /** Finds the chunks that are there; once for the writer, and again for a reader whose last look is old. */
  load(): Promise<void> {
    const { writable, environment, epoch } = this.#source
    this.#source.checkOpen()
    if (epoch !== this.#epoch) this.reset()
    if (this.#loading === undefined || (!writable && performance.now() - this.#loadedAt > RESCAN_MS)) {
      this.#loadedAt = performance.now()
      const loading = environment.runner.run(this.#load())
      loading.catch(() => {
        if (this.#loading === loading) this.#loading = undefined
      })
      this.#loading = loading
    }
    return this.#loading
  }

  *#load(): Procedure<void> {
    const { directory, segments, writable, chunkLimit, epoch } = this.#source
    const { chunks, strays } = yield* listChunks(directory)
    if (epoch !== this.#source.epoch) return
    const known = new Map(this.set.all.map((chunk) => [chunk.indexPath, chunk]))
    const good: ChunkFile[] = []
    const stale: ChunkFile[] = []
    for (const chunk of chunks) {
      const segment = segments.find(chunk.first)
      const end = segment?.closed && !writable ? segment.end : Math.min(segment?.closed ? segment.end : chunkLimit, chunkLimit)
      const belongs = segment !== undefined && chunk.last < end && chunk.first > (good.at(-1)?.last ?? -1)
      const before = known.get(chunk.indexPath)
      if (belongs) good.push(before?.siblings.size === chunk.siblings.size ? before : chunk)
      else stale.push(chunk)
    }
    const kept = new Set(good)
    this.forget((chunk) => !kept.has(chunk))
    this.set.reset(good)
    if (!writable) return
    for (const name of strays) yield* io.unlink(path.join(chunksFolder(directory), name))
    for (const chunk of stale) yield* this.#unlink(chunk)
  }

  async list(): Promise<ChunkInfo[]> {
    await this.load()
    return this.#source.environment.runner.run(this.#list())
  }

  *#list(): Procedure<ChunkInfo[]> {
    const infos: ChunkInfo[] = []
    for (const chunk of this.set.all) {
      if (chunk.bytes < 0) chunk.bytes = (yield* io.statPath(chunk.path))?.size ?? -1
      const { sequence, first, last, bytes, crc, form, path } = chunk
      if (bytes >= 0) infos.push({ sequence, first, last, bytes, crc, form, path })
    }
    return infos
  }

  openNow(offset: number): OpenChunk | undefined {
    const { environment, epoch } = this.#source
    if (epoch !== this.#epoch) return undefined
    const chunk = this.set.find(offset)
    const handle = chunk === undefined ? undefined : environment.chunkPool.get(chunk)
    return handle === undefined ? undefined : new ChunkLease(handle, environment.runner)
  }

  async open(offset: number): Promise<OpenChunk | undefined> {
    const ready = this.openNow(offset)
    if (ready !== undefined) return ready
    await this.load()
    const chunk = this.set.find(offset)
    if (chunk === undefined) return undefined
    let opening = this.#opening.get(chunk)
    if (opening === undefined) {
      opening = this.#open(chunk).finally(() => this.#opening.delete(chunk))
      this.#opening.set(chunk, opening)
    }
    const handle = await opening
    // The first handle was retained for the pool; everybody who waited takes one for himself.
    return handle === undefined ? undefined : new ChunkLease(handle.retain(), this.#source.environment.runner)
  }

  /** The handle stays in the pool, at least until those who wait have been woken. */
  async #open(chunk: ChunkFile): Promise<ChunkHandle | undefined> {
    const { environment } = this.#source
    const opened = await this.#checked(chunk)
    if (typeof opened !== 'string') {
      // Of what was cut meanwhile, and of a log that was closed, nothing is kept.
      const handle = this.set.find(chunk.first) === chunk ? environment.chunkPool.put(chunk, opened) : opened
      setImmediate(() => handle.release())
      return handle
    }
    if (this.set.remove((other) => other === chunk).length > 0) {
      if (opened !== MISSING)
        warn('SEALOG_CHUNK_DAMAGED', `${chunk.path}: ${opened}; ${this.#source.writable ? 'it is removed and sealed again' : 'it is not served'}`)
      if (this.#source.writable) await environment.runner.run(this.#unlink(chunk))
      this.#onDamage(chunk)
    }
    return undefined
  }

  /** Verified against the segment as it is, which may be replaced at any time, by a writer elsewhere too. */
  async #checked(chunk: ChunkFile): Promise<ChunkHandle | string> {
    const { segments, environment } = this.#source
    for (;;) {
      const segment = segments.find(chunk.first)
      const changed = async () => segments.find(chunk.first) !== segment || (await this.#source.recheck())
      try {
        const opened = await environment.runner.run(this.#verify(chunk))
        if (opened !== OF_ANOTHER_SEGMENT || !(await changed())) return opened
      } catch (error) {
        if (!(await changed())) throw error
      }
    }
  }

  *#verify(chunk: ChunkFile): Procedure<ChunkHandle | string> {
    const { segments, environment, logId } = this.#source
    const segment = segments.find(chunk.first)
    if (segment !== undefined && segment.header === undefined) {
      yield* this.#source.prepare(segment)
      // Nobody else lets go of one that was replaced meanwhile.
      if (segment.retired) yield* segment.release()
    }
    return yield* openChunk(chunk, { logId, seed: segment?.header?.seed }, environment.kernels, environment.runner)
  }

  /** Those in use stay readable until they are closed. */
  forget(gone: (chunk: ChunkFile) => boolean): void {
    for (const chunk of this.set.remove(gone)) this.#source.environment.chunkPool.forget(chunk)
  }

  *#unlink(chunk: ChunkFile): Procedure<void> {
    this.#source.environment.chunkPool.forget(chunk)
    for (const file of chunk.paths) yield* io.unlink(file)
  }
}
