import { once } from 'node:events'
import { closeSync, createWriteStream, fdatasync, fdatasyncSync, openSync, readSync, type WriteStream, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Store, StoreKind } from './store.js'

const NEWLINE = 10
const READ_BYTES = 1024 * 1024

/** One JSON value a line through a stream, the log that many programs begin with: no checksum, no offsets, no recovery. */
export const NDJSON: StoreKind = {
  name: 'fs.createWriteStream',
  kind: 'peer',
  open: async (directory) => {
    const path = join(directory, 'records.ndjson')
    const stream = createWriteStream(path, { flags: 'a', highWaterMark: READ_BYTES })
    await once(stream, 'open')
    return new StreamStore(path, stream)
  },
}

/** The same file by one fs.writeSync a record. */
export const WRITE_SYNC: StoreKind = {
  name: 'fs.writeSync',
  kind: 'peer',
  open: async (directory) => {
    const path = join(directory, 'records.ndjson')
    return new WriteSyncStore(path, openSync(path, 'a'))
  },
}

/** Lines are made from records once, as a program that writes lines would have them. */
export abstract class LinesStore implements Store {
  readonly #path: string
  readonly #lines = new Map<Buffer, Buffer>()

  constructor(path: string) {
    this.#path = path
  }

  protected line(record: Buffer): Buffer {
    let line = this.#lines.get(record)
    if (line === undefined) {
      line = Buffer.concat([record, Buffer.of(NEWLINE)])
      this.#lines.set(record, line)
    }
    return line
  }

  abstract write(record: Buffer): void
  abstract readonly full: boolean
  abstract drain(): Promise<void>
  abstract committed(): Promise<void>
  abstract durable(): Promise<void>
  abstract append(record: Buffer): Promise<void>
  abstract appendDurable(record: Buffer): Promise<void>
  abstract appendDurableSync(record: Buffer): void
  abstract close(): Promise<void>

  get(): never {
    throw new Error('a file of lines has no record numbers')
  }

  get groups(): undefined {
    return undefined
  }

  /** readSync of large blocks and indexOf: the fastest way through lines in JavaScript. */
  async scan(visit: (value: Uint8Array) => void): Promise<void> {
    const fd = openSync(this.#path, 'r')
    const block = Buffer.allocUnsafe(2 * READ_BYTES)
    let kept = 0
    for (let read = readSync(fd, block, 0, READ_BYTES, null); read > 0; read = readSync(fd, block, kept, READ_BYTES, null)) {
      const end = kept + read
      const filled = block.subarray(0, end)
      let start = 0
      for (let newline = filled.indexOf(NEWLINE); newline !== -1; newline = filled.indexOf(NEWLINE, start)) {
        visit(filled.subarray(start, newline))
        start = newline + 1
      }
      block.copyWithin(0, start, end)
      kept = end - start
    }
    closeSync(fd)
  }
}

class StreamStore extends LinesStore {
  readonly #stream: WriteStream & { fd?: number }

  constructor(path: string, stream: WriteStream) {
    super(path)
    this.#stream = stream
  }

  write(record: Buffer): void {
    this.#stream.write(this.line(record))
  }

  get full(): boolean {
    return this.#stream.writableNeedDrain
  }

  async drain(): Promise<void> {
    await once(this.#stream, 'drain')
  }

  async committed(): Promise<void> {
    await this.#written('')
  }

  append(record: Buffer): Promise<void> {
    return this.#written(this.line(record))
  }

  #written(bytes: Buffer | string): Promise<void> {
    return new Promise((resolve, reject) => this.#stream.write(bytes, (error) => (error ? reject(error) : resolve())))
  }

  async durable(): Promise<void> {
    await this.committed()
    await promisify(fdatasync)(this.#stream.fd!)
  }

  async appendDurable(record: Buffer): Promise<void> {
    this.write(record)
    await this.durable()
  }

  appendDurableSync(): never {
    throw new Error('a stream has no synchronous write')
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.end(resolve))
  }
}

class WriteSyncStore extends LinesStore {
  readonly #fd: number

  constructor(path: string, fd: number) {
    super(path)
    this.#fd = fd
  }

  write(record: Buffer): void {
    writeSync(this.#fd, this.line(record))
  }

  get full(): boolean {
    return false
  }

  async drain(): Promise<void> {}

  async committed(): Promise<void> {}

  async durable(): Promise<void> {
    fdatasyncSync(this.#fd)
  }

  async append(record: Buffer): Promise<void> {
    this.write(record)
  }

  async appendDurable(record: Buffer): Promise<void> {
    this.appendDurableSync(record)
  }

  appendDurableSync(record: Buffer): void {
    this.write(record)
    fdatasyncSync(this.#fd)
  }

  async close(): Promise<void> {
    closeSync(this.#fd)
  }
}
