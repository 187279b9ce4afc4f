/** One twin of the kernels over a scratch directory, with the little that the engine above does: segments, state vectors, tickets. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { encodeSegmentHeader } from '../../lib/format/segment-header.js'
import { createJsKernels } from '../../lib/kernels/js/index.js'
import type { Io } from '../../lib/kernels/js/io.js'
import * as k from '../../lib/kernels/kernels.js'

export const HEADER = 128
export const COMMIT_FRAME = 56
export const RECORD = 1
export const TOMBSTONE = 2
export const KEY = 1
export const MORE = 2

export interface Row {
  readonly kind: number
  readonly columns: number[]
}

export interface Input {
  readonly value: Uint8Array | string
  readonly key?: string
  readonly time?: number
  /** The next record belongs to the same batch. */
  readonly more?: boolean
  readonly type?: number
}

interface SegmentSettings {
  readonly base?: number
  readonly bytes?: number
  readonly chain?: number
  readonly synced?: number
  readonly committedFd?: number
  readonly chunkBytes?: number
}

export class Rig {
  readonly directory: string
  readonly kernels: k.Kernels
  readonly rows: Row[] = []
  onRow: ((row: Row) => void) | undefined
  #ticket = 0
  readonly #done = new Map<number, (status: number) => void>()
  #inCall = false

  constructor(io?: Io) {
    const base = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir()
    this.directory = fs.mkdtempSync(path.join(base, 'sealog-js-'))
    this.kernels = createJsKernels(
      {
        syncThreads: 1,
        writeThreads: 1,
        readerThreads: 1,
        sealThreads: 1,
        archiveThreads: 1,
        sendThreads: 2,
        cacheBytes: 1024 * 1024,
        stagingBytes: 256 * 1024,
      },
      (count) => this.#wake(count),
      io,
    )
  }

  [Symbol.dispose](): void {
    this.kernels.stop()
    fs.rmSync(this.directory, { recursive: true, force: true })
  }

  file(name: string): string {
    return path.join(this.directory, name)
  }

  /** A segment with its header, and the state vector behind it. */
  segment(
    name: string,
    { base = 0, bytes = 2 ** 20, chain = 0, synced = base, committedFd = -1, chunkBytes = 0 }: SegmentSettings = {},
  ): { fd: number; seed: number; state: Float64Array } {
    const { bytes: header, seed } = encodeSegmentHeader(
      {
        sparse: false,
        logId: new Uint8Array(16).fill(7),
        salt: new Uint8Array(8).fill(9),
        base,
        createdAt: 1,
        epoch: 1,
        generation: 0,
        prevChain: chain,
        maxRecordBytes: 2 ** 20,
        chunkBytes,
        form: 'none',
        codec: 'bytes',
        firstChunkSequence: 1,
        syncedOffset: synced,
        runningTime: -1,
      },
      this.kernels.crc32c,
    )
    const fd = fs.openSync(this.file(name), 'w+')
    fs.writeSync(fd, header, 0, header.length, 0)
    const state = new Float64Array(k.STATE_LENGTH)
    state[k.STATE_FD] = fd
    state[k.STATE_COMMITTED_FD] = committedFd
    state[k.STATE_SEED] = seed
    state[k.STATE_POSITION] = state[k.STATE_ALLOCATED] = HEADER
    state[k.STATE_SEGMENT_BYTES] = bytes
    state[k.STATE_NEXT_OFFSET] = state[k.STATE_BASE_OFFSET] = base
    state[k.STATE_CHAIN] = chain
    state[k.STATE_EPOCH] = 1
    state[k.STATE_SYNCED_OFFSET] = synced
    state[k.STATE_RUNNING_TIME] = state[k.STATE_MAX_TIME] = state[k.STATE_LAST_INDEXED] = -1
    state[k.STATE_MIN_TIME] = Infinity
    state[k.STATE_CHUNK_BYTES] = chunkBytes
    state[k.STATE_INDEX_INTERVAL] = 4096
    state[k.STATE_MAX_RECORD_BYTES] = 2 ** 20
    return { fd, seed, state }
  }

  /** Stages records and submits them. */
  submit(log: k.LogHandle, inputs: readonly Input[], held: k.LogHandle = 0): void {
    const { staging, rows } = this.kernels.shared
    let at = 24
    inputs.forEach(({ value, key, time = 1000, more = false, type = RECORD }, row) => {
      const keyBytes = key === undefined ? undefined : Buffer.from(key)
      const parts = keyBytes === undefined ? [Buffer.from(value)] : [Buffer.from([keyBytes.length & 255, keyBytes.length >> 8]), keyBytes, Buffer.from(value)]
      const body = Buffer.concat(parts)
      staging.set(body, at)
      rows.set([log, body.length, type | (((key === undefined ? 0 : KEY) | (more ? MORE : 0)) << 8), time], row * k.STAGED_WIDTH)
      at += 24 + Math.ceil(body.length / 8) * 8
    })
    this.#guard(() => this.kernels.submit(inputs.length, held))
  }

  commit(log: k.LogHandle, level: number): Promise<number> {
    return this.#ask((ticket) => this.kernels.commit(log, level, ticket))
  }

  detach(log: k.LogHandle): Promise<number> {
    return this.#ask((ticket) => this.kernels.detach(log, ticket))
  }

  request(
    operation: number,
    fd: number,
    a = 0,
    b = 0,
    bytes?: Uint8Array,
    numbers?: Float64Array,
    table?: Uint32Array | Float64Array,
    path?: string,
    path2?: string,
  ): Promise<number> {
    return this.#ask((ticket) => this.kernels.request(ticket, operation, fd, a, b, bytes, numbers, table, path, path2))
  }

  /** A ticket whose DONE row nobody waits for. */
  ticket(): k.Ticket {
    return ++this.#ticket
  }

  state(log: k.LogHandle): Float64Array {
    const into = new Float64Array(k.STATE_LENGTH)
    this.kernels.state(log, into)
    return into
  }

  of(kind: number): number[][] {
    return this.rows.filter((row) => row.kind === kind).map((row) => row.columns)
  }

  walk(fd: number, state: Float64Array, end: number, work = 64 * 1024, entries?: Float64Array): Float64Array {
    const numbers = new Float64Array(k.WALK_LENGTH)
    numbers.set(state)
    const status = this.kernels.requestSync(k.FILE_WALK, fd, 0, end, new Uint8Array(work), numbers, entries)
    if (status !== 0) throw new Error(`walk: ${status}`)
    return numbers
  }

  scan(fd: number, seed: number, position: number, end: number, { size = 64 * 1024, offset = -1, batchFirst = -1, from = 0, rows = 1024 } = {}) {
    const numbers = new Float64Array(k.SCAN_LENGTH)
    numbers.set([seed, offset, batchFirst, from, 2 ** 20, 0])
    const bytes = new Uint8Array(size)
    const table = new Uint32Array(rows * k.SCAN_COLUMNS)
    const status = this.kernels.requestSync(k.FILE_SCAN, fd, position, end, bytes, numbers, table)
    if (status !== 0) throw new Error(`scan: ${status}`)
    const values: string[] = []
    for (let row = 0; row < numbers[k.SCAN_COUNT]; row++) {
      const [, start, length] = table.subarray(row * k.SCAN_COLUMNS)
      values.push(Buffer.from(bytes.subarray(start, start + length)).toString())
    }
    return { numbers, table, values }
  }

  #ask(call: (ticket: k.Ticket) => void): Promise<number> {
    return new Promise((resolve) => {
      const ticket = this.ticket()
      this.#done.set(ticket, resolve)
      this.#guard(() => call(ticket))
    })
  }

  /** No row may arrive inside an asynchronous call. */
  #guard(call: () => void): void {
    this.#inCall = true
    try {
      call()
    } finally {
      this.#inCall = false
    }
  }

  #wake(count: number): void {
    if (this.#inCall) throw new Error('rows arrived inside the call')
    const { events } = this.kernels.shared
    for (let row = 0; row < count; row++) {
      const [kind, ...columns] = events.slice(row * k.EVENT_WIDTH, (row + 1) * k.EVENT_WIDTH)
      const each = { kind, columns }
      this.rows.push(each)
      this.onRow?.(each)
      if (kind === k.EVENT_DONE) {
        this.#done.get(columns[0])?.(columns[1])
        this.#done.delete(columns[0])
      }
    }
  }
}

export const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  throw new Error('it did not happen')
}
