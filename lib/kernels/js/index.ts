import { FRAME_HEADER_BYTES, frameBytes } from '../../format/constants.js'
import * as s from '../kernels.js'
import { ENOSYS, EOPNOTSUPP } from '../system-error.js'
import { BlockPool } from './blocks.js'
import type { CommitterHost } from './commit-steps.js'
import { crc32c } from './crc32c.js'
import { Descriptors } from './descriptors.js'
import { Dictionaries } from './dictionaries.js'
import { EventQueue } from './events.js'
import { type Io, NodeIo } from './io.js'
import { LogCommitter } from './log-committer.js'
import { LogTable } from './log-table.js'
import { type OrderedIndex, OrderedIndexes } from './ordered-index.js'
import { RecordReader } from './read-record.js'
import { type FileRequest, isRepeatable, taskOf } from './requests.js'
import { TailCaches } from './tail-cache.js'
import { AsyncTask, runSync } from './task.js'
import { TestingIo } from './testing-io.js'
import { hasZstd } from './zstd.js'

/** Node has no call that only keeps the event loop alive; a timer that hardly ever fires does. */
const KEEP_ALIVE_MS = 2 ** 31 - 1
const NO_INDEXES: readonly OrderedIndex[] = []

interface Pending {
  readonly request: FileRequest
  task: AsyncTask | undefined
}

/** The pure-JavaScript twin of the addon: same behaviour, same bytes; what Node cannot do is named by `can`. */
export function createJsKernels(limits: s.KernelLimits, wake: s.Wake, io: Io = new NodeIo()): s.Kernels {
  return new JsKernels(limits, wake, io)
}

class JsKernels implements s.Kernels, CommitterHost {
  readonly backend = 'js'
  readonly can: s.Capabilities = { preallocate: false, fileLock: false, ownThreads: false, sendfile: false, compress: hasZstd }
  readonly shared: s.Shared
  readonly testing: s.Testing
  readonly io: Io
  readonly events: EventQueue
  readonly pool = new BlockPool()
  readonly caches: TailCaches
  readonly #indexes: OrderedIndexes
  readonly #dictionaries = new Dictionaries()
  readonly #reader: RecordReader
  readonly #logs = new LogTable()
  readonly #pending = new Map<s.Ticket, Pending>()
  readonly #texts = new Map<s.Ticket, string>()
  readonly #touched: LogCommitter[] = []
  #keepAlive: NodeJS.Timeout | undefined
  #stopped = false

  constructor(limits: s.KernelLimits, wake: s.Wake, io: Io) {
    this.shared = {
      staging: new Uint8Array(limits.stagingBytes),
      rows: new Float64Array(s.STAGED_ROWS * s.STAGED_WIDTH),
      events: new Float64Array(s.EVENT_ROWS * s.EVENT_WIDTH),
      out: new Float64Array(s.OUT_LENGTH),
      copyOut: new Uint8Array(s.COPY_OUT_BYTES),
      keys: new Uint8Array(s.KEYS_LENGTH),
    }
    this.caches = new TailCaches(limits.cacheBytes)
    this.#indexes = new OrderedIndexes(this.shared.keys)
    const testing = new TestingIo(io)
    this.testing = testing
    this.io = new Descriptors(testing)
    this.events = new EventQueue(this.shared.events, wake)
    this.#reader = new RecordReader(this.io, this.shared.copyOut, this.shared.out)
  }

  ref(): void {
    this.#keepAlive ??= setInterval(() => {}, KEEP_ALIVE_MS)
  }

  unref(): void {
    clearInterval(this.#keepAlive)
    this.#keepAlive = undefined
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.events.stop()
    for (const log of this.#logs.values()) log.stop()
    for (const { task } of this.#pending.values()) task?.abandon()
    this.#pending.clear()
    this.unref()
  }

  // ── commit path ────────────────────────────────────────────────────────────────────────────────────────────────

  createLog(mode: number, holdBytes: number): s.LogHandle {
    return this.#logs.add((handle) => new LogCommitter(this, handle, mode, holdBytes))
  }

  destroyLog(handle: s.LogHandle): void {
    this.#logs.get(handle).destroy()
    this.#logs.remove(handle)
    this.events.schedule()
  }

  attach(handle: s.LogHandle, state: Float64Array): void {
    this.#logs.get(handle).attach(state)
    this.events.schedule()
  }

  detach(handle: s.LogHandle, ticket: s.Ticket): void {
    this.#logs.get(handle).detach(ticket)
    this.events.schedule()
  }

  detachSync(handle: s.LogHandle): void {
    this.#logs.get(handle).detachSync()
    this.events.flushNow()
  }

  state(handle: s.LogHandle, into: Float64Array): void {
    this.#logs.get(handle).copyState(into)
  }

  submit(count: number, held: s.LogHandle): void {
    if (this.#stopped) return
    const { rows, staging } = this.shared
    const touched = this.#touched
    let handle = -1
    let log: LogCommitter | undefined
    let from = FRAME_HEADER_BYTES
    for (let row = 0; row < count * s.STAGED_WIDTH; row += s.STAGED_WIDTH) {
      if (log === undefined || rows[row] !== handle) {
        handle = rows[row]
        log = this.#logs.get(handle)
        if (!log.touched) touched.push(log)
        log.touched = true
      }
      const bodyLength = rows[row + 1]
      log.append(staging, from, bodyLength, rows[row + 2], rows[row + 3])
      from += frameBytes(bodyLength)
    }
    for (const each of touched) {
      each.touched = false
      if (each.handle !== held) each.pump()
    }
    touched.length = 0
    this.events.schedule()
  }

  submitLarge(handle: s.LogHandle, meta: number, timestamp: number, key: Uint8Array | undefined, value: Uint8Array): void {
    if (this.#stopped) return
    const log = this.#logs.get(handle)
    log.appendParts(meta, timestamp, key, value)
    log.pump()
    this.events.schedule()
  }

  commit(handle: s.LogHandle, level: number, ticket: s.Ticket): void {
    this.#logs.get(handle).commit(level, ticket)
    this.events.schedule()
  }

  commitSync(handle: s.LogHandle, level: number): number {
    const status = this.#logs.get(handle).commitSync(level)
    this.events.flushNow()
    return status
  }

  resume(handle: s.LogHandle, nextOffset: number): void {
    this.#logs.get(handle).resume(nextOffset)
    this.events.schedule()
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  readRecord(fd: number, seed: number, position: number, end: number, entryOffset: number, batchFirst: number, offset: number, flags: number): number {
    if ((flags & s.READ_RESIDENT) !== 0) return -EOPNOTSUPP
    const query = { fd, seed, sparse: (flags & s.READ_SPARSE) !== 0, position, end, entryOffset, batchFirst, offset }
    return this.#reader.read(query)
  }

  crc32c(bytes: Uint8Array, seed: number): number {
    return crc32c(bytes, seed)
  }

  // ── tail cache ─────────────────────────────────────────────────────────────────────────────────────────────────

  cacheLimits(handle: s.LogHandle, records: number, ageMs: number, bytes: number): void {
    this.#logs.get(handle).cache.setLimits(records, ageMs, bytes)
  }

  cacheRecord(handle: s.LogHandle, offset: number, into: ArrayBuffer, at: number): number {
    return this.#logs.get(handle).cache.read(offset, into, at, this.shared)
  }

  cacheBlock(handle: s.LogHandle, offset: number, limit: number, maxBytes: number, bytes: Uint8Array, numbers: Float64Array, table: Uint32Array): number {
    return this.#logs.get(handle).cache.readBlock(offset, limit, maxBytes, bytes, numbers, table)
  }

  cacheDropBelow(handle: s.LogHandle, offset: number): number {
    return this.#logs.get(handle).cache.dropBelow(offset)
  }

  cacheState(handle: s.LogHandle, numbers: Float64Array): void {
    this.#logs.get(handle).cache.copyState(numbers)
  }

  cacheSweep(): number {
    return this.caches.sweep()
  }

  // ── key index ──────────────────────────────────────────────────────────────────────────────────────────────────

  createIndex(): s.IndexHandle {
    return this.#indexes.create()
  }

  copyIndex(handle: s.IndexHandle): s.IndexHandle {
    return this.#indexes.copy(handle)
  }

  destroyIndex(handle: s.IndexHandle): void {
    this.#indexes.destroy(handle)
  }

  indexPut(handle: s.IndexHandle, keyLength: number, value: number): number {
    return this.#indexes.get(handle).put(this.#indexes.key(0, keyLength), value)
  }

  indexGet(handle: s.IndexHandle, keyLength: number): number {
    return this.#indexes.get(handle).get(this.#indexes.key(0, keyLength))
  }

  indexDelete(handle: s.IndexHandle, keyLength: number): number {
    return this.#indexes.get(handle).delete(this.#indexes.key(0, keyLength))
  }

  indexPutMany(handle: s.IndexHandle, count: number, bytes: Uint8Array, table: Float64Array): void {
    this.#indexes.get(handle).putMany(count, bytes, table)
  }

  indexScan(handle: s.IndexHandle, fromLength: number, untilLength: number, flags: number, limit: number, bytes: Uint8Array, table: Float64Array): number {
    const from = fromLength === 0 ? undefined : this.#indexes.key(0, fromLength)
    const until = untilLength === 0 ? undefined : this.#indexes.key(fromLength, untilLength)
    return this.#indexes.get(handle).scan(from, until, flags, limit, bytes, table)
  }

  indexClear(handle: s.IndexHandle): void {
    this.#indexes.get(handle).clear()
  }

  indexSize(handle: s.IndexHandle): number {
    return this.#indexes.get(handle).size
  }

  indexBytes(handle: s.IndexHandle): number {
    return this.#indexes.get(handle).bytes
  }

  // ── dictionaries ───────────────────────────────────────────────────────────────────────────────────────────────

  createDictionary(content: Uint8Array): s.DictionaryHandle {
    return this.#dictionaries.create(content)
  }

  destroyDictionary(handle: s.DictionaryHandle): void {
    this.#dictionaries.destroy(handle)
  }

  #dictionaryOf(operation: number, numbers: Float64Array | undefined): Uint8Array | undefined {
    if (numbers === undefined) return undefined
    if (operation === s.FILE_PACK) return this.#dictionaries.get(numbers[s.PACK_DICTIONARY])
    return operation === s.FILE_UNPACK ? this.#dictionaries.get(numbers[s.UNPACK_DICTIONARY]) : undefined
  }

  // ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────

  request(
    ticket: s.Ticket,
    operation: number,
    fd: number,
    a: number,
    b: number,
    bytes?: Uint8Array,
    numbers?: Float64Array,
    table?: Uint32Array | Float64Array,
    path?: string,
    path2?: string,
  ): void {
    if (this.#stopped) return
    // After `finishSync` the caller's bytes are his again, while the write that was left behind may still read them.
    const kept = operation === s.FILE_WRITE && bytes !== undefined ? new Uint8Array(bytes) : bytes
    const request: FileRequest = {
      operation,
      fd,
      a,
      b,
      bytes: kept,
      numbers,
      table,
      path,
      path2,
      indexes: this.#indexesOf(operation, numbers),
      dictionary: this.#dictionaryOf(operation, numbers),
      text: '',
    }
    const task = taskOf(request)
    if (typeof task === 'number' || !isRepeatable(request)) {
      this.#finish(ticket, request, runSync(this.io, task))
      this.events.schedule()
      return
    }
    const pending: Pending = { request, task: undefined }
    this.#pending.set(ticket, pending)
    let returned = false
    pending.task = new AsyncTask(this.io, task, (status) => {
      this.#pending.delete(ticket)
      this.#finish(ticket, request, status)
      if (returned) this.events.flush()
      else this.events.schedule()
    })
    returned = true
  }

  requestSync(
    operation: number,
    fd: number,
    a: number,
    b: number,
    bytes?: Uint8Array,
    numbers?: Float64Array,
    table?: Uint32Array | Float64Array,
    path?: string,
    path2?: string,
  ): number {
    const request: FileRequest = {
      operation,
      fd,
      a,
      b,
      bytes,
      numbers,
      table,
      path,
      path2,
      indexes: this.#indexesOf(operation, numbers),
      dictionary: this.#dictionaryOf(operation, numbers),
      text: '',
    }
    const status = runSync(this.io, taskOf(request))
    if (operation === s.FILE_LIST) this.#texts.set(0, request.text)
    return status
  }

  finishSync(ticket: s.Ticket): number {
    const pending = this.#pending.get(ticket)
    if (pending === undefined) {
      const status = this.events.takeDone(ticket)
      if (status === undefined) throw new RangeError(`no request has the ticket ${ticket}`)
      return status
    }
    const { request, task } = pending
    this.#pending.delete(ticket)
    task?.abandon()
    // A descriptor closed twice may be somebody else's; the one close is on its way and nothing depends on its end.
    if (request.operation === s.FILE_CLOSE) return 0
    const status = runSync(this.io, taskOf(request))
    if (request.operation === s.FILE_LIST) this.#texts.set(ticket, request.text)
    return status
  }

  takeText(ticket: s.Ticket): string {
    const text = this.#texts.get(ticket) ?? ''
    this.#texts.delete(ticket)
    return text
  }

  // ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────

  sendFile(): number {
    return -ENOSYS
  }

  cancelSend(): void {}

  #indexesOf(operation: number, numbers: Float64Array | undefined): readonly OrderedIndex[] {
    return operation === s.FILE_COMPACT && numbers !== undefined ? this.#indexes.ofCompaction(numbers) : NO_INDEXES
  }

  #finish(ticket: s.Ticket, request: FileRequest, status: number): void {
    if (request.operation === s.FILE_LIST) this.#texts.set(ticket, request.text)
    this.events.push(s.EVENT_DONE, ticket, status)
  }
}
