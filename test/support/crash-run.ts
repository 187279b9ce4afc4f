/**
 * Runs a log on one backend under the recording Io. A run is a disk to begin with, the events that followed, and the history of what was acknowledged; its
 * notes are numbers of moments. Runs can be cut anywhere and continued: by a kill, which keeps what was written, or from any image of a power loss.
 */
import path from 'node:path'
import { Log, type LogOptions, type RecordInput } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { environmentFor } from '../../lib/log/environment.js'
import { History, readRecords, type Written } from './crash-history.js'
import type { Random } from './random.js'
import { type DiskEvent, parseRecording } from './recording.js'
import { Disk, type DiskImage, materialize } from './replay.js'

export interface Run {
  readonly backend: Backend
  readonly initial: DiskImage
  readonly events: readonly RunEvent[]
  readonly history: History
}

/** `recovering`: while a log is being opened. `processEnds`: descriptors are gone from here on. */
export type RunEvent = (DiskEvent | { readonly kind: 'processEnds' }) & { readonly recovering?: boolean }

/** Within the recorded directory. */
export const LOG_NAME = 'log'

const NEVER = 3_600_000

export class Recorder {
  readonly backend: Backend
  #directory: string
  readonly #random: Random
  readonly #initial: DiskImage
  readonly #events: RunEvent[] = []
  readonly history: History
  #log: Log | undefined
  /** Acknowledgements of a session that was cut off count no more. */
  #session = 0
  /** Number of its first event. */
  #sessionStart = 0
  #text = 0

  /** Goes on from `initial`, which is put into `directory`. */
  constructor(backend: Backend, directory: string, random: Random, initial: DiskImage = new Map(), history: History = new History()) {
    this.backend = backend
    this.#directory = directory
    this.#random = random
    this.#initial = initial
    this.history = history
    materialize(initial, directory)
  }

  get #testing() {
    return environmentFor(this.backend).kernels.testing
  }

  get log(): Log {
    if (this.#log === undefined) throw new Error('no session is open')
    return this.#log
  }

  async open(options: LogOptions): Promise<void> {
    this.#testing.record(true)
    this.#sessionStart = this.#events.length
    const session = ++this.#session
    const log = await Log.open(path.join(this.#directory, LOG_NAME), { idleMarkMs: NEVER, syncIntervalMs: NEVER, ...options, backend: this.backend })
    this.#take(true)
    if (session !== this.#session) return
    this.#log = log
    this.history.adopt(readRecords(log), log.startOffset)
    this.#acknowledge(session, 'open')
  }

  /** Appends one record, or a batch; the promise is kept by `settle`. */
  append(): Promise<void> {
    const { history, log } = this
    const random = this.#random
    const session = this.#session
    const first = history.lineage.end
    const form = random.below(10)
    const count = form < 6 ? 1 : 1 + random.below(5)
    const records = Array.from({ length: count }, () => this.#record(first, form >= 8))
    history.lineage.records.push(...records)
    const done =
      form < 6 ? log.append(records[0].value) : form < 8 ? log.appendBatch(records.map((record) => record.value)) : log.appendRecords(records.map(inputOf))
    return done.then(() => this.#acknowledge(session, 'append'))
  }

  #record(batch: number, keyed: boolean): Written {
    const random = this.#random
    const key = keyed && random.chance(0.7) ? `key ${random.below(5)}` : undefined
    const tombstone = key !== undefined && random.chance(0.3)
    const length = tombstone ? 0 : random.chance(0.1) ? random.below(3) : 8 + random.below(120)
    const value = random.bytes(length)
    // No two are the same, so that what belongs to an abandoned line is always recognised.
    if (length >= 8) new DataView(value.buffer).setUint32(0, ++this.#text * 4099 + random.below(4099), true)
    return { value, key, tombstone, batch }
  }

  async step(work: (log: Log) => Promise<unknown>, what: string): Promise<void> {
    const session = this.#session
    await work(this.log)
    this.#acknowledge(session, what)
  }

  /** Cuts behind a random offset; until it returns either line may be found. */
  async truncateAfter(): Promise<void> {
    const { history, log } = this
    if (log.endOffset - log.startOffset < 3) return
    await this.step((open) => open.sync(), 'sync')
    const { records } = history.lineage
    const offset = log.startOffset + this.#random.below(log.endOffset - log.startOffset)
    let end = offset + 1
    while (end < records.length && records[end].batch !== end) end++
    const old = { lineage: history.lineages.length - 1, durable: log.endOffset }
    history.fork(end)
    this.#note(history.note({ candidates: [old, { lineage: old.lineage + 1, durable: end }], what: `truncateAfter ${offset}` }))
    await this.step((open) => open.truncateAfter(offset), 'truncateAfter')
  }

  async truncateBefore(): Promise<void> {
    const { history, log } = this
    const offset = log.startOffset + this.#random.below(log.committedOffset - log.startOffset + 1)
    this.#note(history.note({ startLimit: Math.max(offset, history.now.startLimit), what: `truncateBefore ${offset}` }))
    await log.truncateBefore(offset)
    this.#note(history.note({ start: log.startOffset, startLimit: log.startOffset, what: 'truncateBefore' }))
  }

  async close(how: 'close' | 'closeSync'): Promise<void> {
    const log = this.log
    this.#log = undefined
    const { epoch } = log
    if (how === 'close') await log.close()
    else log.closeSync()
    const { end } = this.history.lineage
    this.#note(this.history.watermarks(epoch, end, end, how))
    this.#take(false)
  }

  /**
   * The process dies, now or at some moment of this session that has passed, its recovery included: what it had written by then stays in the page cache,
   * and the next session begins from that in `directory`.
   */
  async kill(directory: string): Promise<void> {
    const log = this.#log
    this.#log = undefined
    this.#session++
    this.#take(false)
    if (this.#random.chance(0.6)) this.#rewind()
    this.#events.push({ kind: 'processEnds' })
    materialize(this.#disk().live(), directory)
    this.#directory = directory
    await log?.close()
  }

  #rewind(): void {
    const events = this.#events
    events.length = this.#sessionStart + this.#random.below(events.length - this.#sessionStart)
    const last = events.findLast((event) => event.kind === 'note')
    this.history.rewind(last?.kind === 'note' ? last.number : 0)
  }

  /** Ends recording; the log, if one is open, is closed without being looked at. */
  async end(): Promise<Run> {
    const log = this.#log
    this.#log = undefined
    this.#session++
    this.#take(false)
    await log?.close()
    return { backend: this.backend, initial: this.#initial, events: this.#events, history: this.history }
  }

  #disk(): Disk {
    const disk = Disk.of(this.#initial)
    for (const event of this.#events) apply(disk, event)
    return disk
  }

  #acknowledge(session: number, what: string): void {
    const log = this.#log
    if (session !== this.#session || log === undefined) return
    this.#note(this.history.watermarks(log.epoch, log.committedOffset, log.durableOffset, what))
  }

  #note(moment: number): void {
    this.#testing.note(moment)
  }

  #take(recovering: boolean): void {
    const testing = this.#testing
    for (const event of parseRecording(testing.takeRecording(), this.#directory)) this.#events.push({ ...event, recovering })
    if (!recovering) testing.record(false)
  }
}

export function apply(disk: Disk, event: RunEvent): void {
  if (event.kind === 'processEnds') disk.endProcess()
  else disk.apply(event)
}

function inputOf({ value, key, tombstone }: Written): RecordInput<Uint8Array> {
  if (tombstone && key !== undefined) return { key, tombstone: true }
  return key === undefined ? { value } : { value, key }
}
