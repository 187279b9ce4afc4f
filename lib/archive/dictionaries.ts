import { constants } from 'node:fs'
import path from 'node:path'
import { LogError } from '../errors.js'
import { ARCHIVE_HEADER_BYTES } from '../format/archive-file.js'
import { FOOTER_FRAME_BYTES, SEGMENT_HEADER_BYTES } from '../format/constants.js'
import { DICTIONARY_BYTES_LIMIT, encodeDictionary } from '../format/dictionary-file.js'
import { dictionaryFile } from '../format/names.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { archivesOf } from '../log/archive-moves.js'
import type { Log } from '../log/log.js'
import type { ClosedSegment } from '../log/manifest.js'
import { readDictionary } from '../segment/archived-blocks.js'
import { Segment } from '../segment/segment.js'
import { giveName, isDamage, makeFolder } from './archive-segment.js'
import type { ArchiveSettings } from './options.js'
import { selectContent } from './select-content.js'
import { type Compression, packNumbers, packSlice } from './write-archive.js'

const SAMPLES = 256
const SAMPLE_BYTES = 16384
const TRIAL_BYTES = 4 * 1024 * 1024
/** Gain from which on a dictionary is used. */
const LEAST_GAIN = 0.03
const RETRAIN_AFTER = 100
/** Less content than this is not worth a file. */
const LEAST_BYTES = 1024

/** Codes of errors with which a sample is passed over. */
const NO_SAMPLE: ReadonlySet<string> = new Set(['ERR_SEALOG_LOST', 'ERR_SEALOG_ARCHIVE', 'ERR_SEALOG_OFFSET_TRUNCATED'])

/** What training came to. */
export interface TrainResult {
  /** Id of the dictionary that is used from now on, undefined: none. */
  readonly dictionary: number | undefined
  /** By how much a sample became smaller with it, 0 to 1; negative: larger. */
  readonly gain: number
}

type Dictionary = NonNullable<Compression['dictionary']> & {
  /** Segments that are being archived with it: until they are done it stays. */
  users: number
}

/** The dictionaries of one archive: trained from the records of the log, on disk and synced before the first use, used only where a trial shows a gain. */
export class Dictionaries {
  readonly #log: Log<unknown>
  readonly #settings: ArchiveSettings
  #current: Dictionary | undefined
  #choosing: Promise<void> | undefined
  /** One training after the other. */
  #training: Promise<unknown> = Promise.resolve()
  #chosen = false
  #archivedSince = 0

  constructor(log: Log<unknown>, settings: ArchiveSettings) {
    this.#log = log
    this.#settings = settings
  }

  /** Archives a segment with what is to be used now. */
  async use<R>(archive: (dictionary: Compression['dictionary']) => Promise<R>): Promise<R> {
    const dictionary = await this.#chooseCurrent()
    if (dictionary === undefined) return archive(undefined)
    dictionary.users++
    try {
      return await archive(dictionary)
    } finally {
      dictionary.users--
      if (dictionary !== this.#current) this.#letGo(dictionary)
    }
  }

  async #chooseCurrent(): Promise<Dictionary | undefined> {
    if (this.#settings.dictionary && (!this.#chosen || this.#archivedSince >= RETRAIN_AFTER)) {
      this.#choosing ??= this.#choose().finally(() => {
        this.#choosing = undefined
      })
      await this.#choosing
    }
    return this.#current
  }

  archived(): void {
    this.#archivedSince++
  }

  train(): Promise<TrainResult> {
    const trained = this.#training.then(() => this.#train())
    this.#training = trained.catch(() => {})
    return trained
  }

  async #train(): Promise<TrainResult> {
    const trial = this.#trialSegment()
    const content = await selectContent(trial === undefined ? [] : await this.#samples(trial.base), DICTIONARY_BYTES_LIMIT)
    this.#archivedSince = 0
    this.#chosen = true
    if (trial === undefined || content.length < LEAST_BYTES) return { dictionary: this.#current?.id, gain: 0 }
    const { kernels, runner } = this.#log.environment
    const dictionary = { id: kernels.crc32c(content, 0), handle: kernels.createDictionary(content), users: 0 }
    let gain = 0
    try {
      if (dictionary.id !== 0) gain = await this.#trial(trial, dictionary)
      if (gain >= LEAST_GAIN) {
        await runner.run(this.#store(dictionary.id, content))
        this.#replace(dictionary)
      }
    } finally {
      if (dictionary !== this.#current) this.#letGo(dictionary)
    }
    return { dictionary: this.#current?.id, gain }
  }

  /** Nothing more is archived. */
  close(): void {
    this.#replace(undefined)
  }

  #replace(next: Dictionary | undefined): void {
    const before = this.#current
    this.#current = next
    if (before !== undefined) this.#letGo(before)
  }

  #letGo({ handle, users }: Dictionary): void {
    if (users === 0) this.#log.environment.kernels.destroyDictionary(handle)
  }

  get #parts() {
    return this.#log.commitDriver().parts
  }

  /** Goes on with the dictionary of the newest archive; without one, or when it has served long enough, trains another. */
  async #choose(): Promise<void> {
    const named = this.#chosen ? undefined : this.#parts.manifest.state.closed.findLast(({ archive }) => archive !== undefined && archive.dictionary !== 0)
    const id = named?.archive?.dictionary
    try {
      if (id === undefined || !(await this.#goOnWith(id))) await this.train()
    } catch (error) {
      // The segment of the trial is damaged: that is told when its own turn comes, the others are archived without.
      if (!isDamage(error)) throw error
    }
  }

  /** False when it is missing or damaged: archives to come had better not need it. */
  async #goOnWith(id: number): Promise<boolean> {
    const { kernels, runner } = this.#log.environment
    let content: Uint8Array
    try {
      content = await runner.run(readDictionary(path.join(archivesOf(this.#parts), dictionaryFile(id)), id, this.#log.logId, kernels))
    } catch (error) {
      if (error instanceof LogError && error.code === 'ERR_SEALOG_ARCHIVE') return false
      throw error
    }
    this.#replace({ id, handle: kernels.createDictionary(content), users: 0 })
    this.#chosen = true
    return true
  }

  /** The newest closed segment whose file is there. No sample is of it: a dictionary that knows the very records would always gain. */
  #trialSegment(): ClosedSegment | undefined {
    return this.#parts.manifest.state.closed.findLast(({ local, quarantined }) => local !== false && quarantined === undefined)
  }

  /** Keys and values of records from all over the log below `end`. */
  async #samples(end: number): Promise<Uint8Array[]> {
    const log = this.#log
    const start = log.startOffset
    const samples: Uint8Array[] = []
    for (let i = 0; i < SAMPLES && end > start; i++) {
      const from = start + Math.floor(((end - start) * i) / SAMPLES)
      const to = Math.min(end, start + Math.floor(((end - start) * (i + 1)) / SAMPLES))
      if (to > from) samples.push(await this.#sample(from, to))
    }
    return samples.filter((sample) => sample.length > 0)
  }

  async #sample(from: number, to: number): Promise<Uint8Array> {
    let blocks: ReturnType<Log<unknown>['batches']> | undefined
    try {
      blocks = this.#log.batches({ from, to, maxBytes: SAMPLE_BYTES })
      const { value: batch } = await blocks.next()
      if (batch === undefined) return new Uint8Array(0)
      const parts: Uint8Array[] = []
      for (let row = 0, bytes = 0; row < batch.length && bytes < SAMPLE_BYTES; row++) {
        const pieces = [batch.key(row) ?? new Uint8Array(0), batch.bytes(row)]
        for (const piece of pieces) bytes += piece.length
        parts.push(...pieces)
      }
      return Buffer.concat(parts).subarray(0, SAMPLE_BYTES)
    } catch (error) {
      // What repair gave up is no sample, nor is what cannot be read.
      if (isDamage(error) || (error instanceof LogError && NO_SAMPLE.has(error.code))) return new Uint8Array(0)
      throw error
    } finally {
      await blocks?.return?.()
    }
  }

  /** How much smaller the beginning of the segment becomes. */
  async #trial(facts: ClosedSegment, dictionary: Dictionary): Promise<number> {
    const { level, blockBytes } = this.#settings
    const without = await this.#packed(facts, { level, blockBytes, dictionary: undefined })
    const packed = await this.#packed(facts, { level, blockBytes, dictionary })
    return without === 0 ? 0 : 1 - packed / without
  }

  #packed(facts: ClosedSegment, compression: Compression): Promise<number> {
    const { environment, directory } = this.#log
    const folder = archivesOf(this.#parts)
    const segment = new Segment(directory, facts.base, facts.generation, facts.end, facts.bytes - FOOTER_FRAME_BYTES, true)
    return environment.runner.run(packTrial(segment, folder, compression, environment.kernels, this.#log.logId))
  }

  *#store(id: number, content: Uint8Array): Procedure<void> {
    const folder = archivesOf(this.#parts)
    const file = path.join(folder, dictionaryFile(id))
    const temporary = `${file}.tmp`
    const fd = yield* io.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)
    let done = false
    try {
      try {
        yield* io.write(fd, 0, encodeDictionary({ id, logId: this.#log.logId, content }, this.#log.environment.kernels.crc32c), temporary)
        yield* io.sync(fd, temporary)
      } finally {
        yield* io.close(fd)
      }
      yield* giveName(temporary, file)
      done = true
    } finally {
      if (!done) yield* io.unlink(temporary)
    }
  }
}

/** Bytes of the first blocks of a segment when they are compressed. */
function* packTrial(segment: Segment, folder: string, compression: Compression, kernels: k.Kernels, logId: Uint8Array): Procedure<number> {
  yield* makeFolder(folder)
  const file = path.join(folder, 'trial.tmp')
  yield* segment.open(kernels, logId)
  try {
    const fd = yield* io.open(file, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)
    try {
      const numbers = packNumbers(segment, fd, compression)
      const entries = new Float64Array(Math.max(1, Math.floor(TRIAL_BYTES / compression.blockBytes)) * k.PACK_COLUMNS)
      yield* packSlice(segment, SEGMENT_HEADER_BYTES, segment.endPosition + FOOTER_FRAME_BYTES, numbers, entries)
      return numbers[k.PACK_OUT_POSITION] - ARCHIVE_HEADER_BYTES
    } finally {
      yield* io.close(fd)
      yield* io.unlink(file)
    }
  } finally {
    yield* segment.release()
  }
}
