import { byteLength, type Io, type IoCall, type IoDone } from './io.js'

const KIND_OPEN = 1
const KIND_CLOSE = 2
const KIND_WRITE = 3
const KIND_SYNC_BEGIN = 4
const KIND_SYNC_END = 5
const KIND_TRUNCATE = 6
const KIND_RENAME = 8
const KIND_UNLINK = 9
const KIND_MKDIR = 10
const KIND_SYNC_DIRECTORY_BEGIN = 11
const KIND_SYNC_DIRECTORY_END = 12
const KIND_NOTE = 13
const ENTRY_FIXED_BYTES = 40

/**
 * Writes down every changing call in the format of `Testing.takeRecording`. Writes and closes are recorded before they are made (they may take
 * effect at any time from then on, and a closed number may be given out again at once), the rest when it has succeeded, syncs with begin and end.
 */
export class RecordingIo implements Io {
  readonly #io: Io
  #entries: Uint8Array[] | undefined

  constructor(io: Io) {
    this.#io = io
  }

  record(on: boolean): void {
    this.#entries = on ? [] : undefined
  }

  note(number: number): void {
    this.#add(KIND_NOTE, -1, 0, number)
  }

  take(): Uint8Array {
    const recording = Buffer.concat(this.#entries ?? [])
    if (this.#entries !== undefined) this.#entries = []
    return recording
  }

  call(call: IoCall): number {
    if (this.#entries === undefined) return this.#io.call(call)
    this.#before(call)
    const result = this.#io.call(call)
    this.#after(call, result)
    return result
  }

  start(call: IoCall, done: IoDone): void {
    if (this.#entries === undefined) return this.#io.start(call, done)
    this.#before(call)
    this.#io.start(call, (result) => {
      this.#after(call, result)
      done(result)
    })
  }

  #before(call: IoCall): void {
    switch (call.kind) {
      case 'close':
        return this.#add(KIND_CLOSE, call.fd, 0)
      case 'write':
        return this.#add(KIND_WRITE, call.fd, 0, call.a, 0, undefined, undefined, call.parts)
      case 'datasync':
      case 'sync':
        return this.#add(KIND_SYNC_BEGIN, call.fd, 0)
      case 'syncDirectory':
        return this.#add(KIND_SYNC_DIRECTORY_BEGIN, -1, 0, 0, 0, call.path)
    }
  }

  #after(call: IoCall, result: number): void {
    if (call.kind === 'datasync' || call.kind === 'sync') return this.#add(KIND_SYNC_END, call.fd, result)
    if (call.kind === 'syncDirectory') return this.#add(KIND_SYNC_DIRECTORY_END, -1, result, 0, 0, call.path)
    if (result < 0) return
    switch (call.kind) {
      case 'open':
        return this.#add(KIND_OPEN, result, result, call.a, 0, call.path)
      case 'truncate':
        return this.#add(KIND_TRUNCATE, call.fd, result, call.a)
      case 'rename':
        return this.#add(KIND_RENAME, -1, result, 0, 0, call.path, call.path2)
      case 'unlink':
        return this.#add(KIND_UNLINK, -1, result, 0, 0, call.path)
      case 'mkdir':
        return this.#add(KIND_MKDIR, -1, result, 0, 0, call.path)
    }
  }

  #add(kind: number, fd: number, result: number, a = 0, b = 0, path = '', path2 = '', data: readonly Uint8Array[] = []): void {
    if (this.#entries === undefined) return
    const pathBytes = Buffer.byteLength(path)
    const path2Bytes = Buffer.byteLength(path2)
    const total = ENTRY_FIXED_BYTES + pathBytes + path2Bytes + byteLength(data)
    const entry = Buffer.alloc(total)
    entry.writeUInt32LE(total, 0)
    entry.writeUInt8(kind, 4)
    entry.writeInt32LE(fd, 8)
    entry.writeInt32LE(result, 12)
    entry.writeDoubleLE(a, 16)
    entry.writeDoubleLE(b, 24)
    entry.writeUInt32LE(pathBytes, 32)
    entry.write(path, 36)
    entry.writeUInt32LE(path2Bytes, 36 + pathBytes)
    entry.write(path2, 40 + pathBytes)
    let at = ENTRY_FIXED_BYTES + pathBytes + path2Bytes
    for (const part of data) {
      entry.set(part, at)
      at += part.length
    }
    this.#entries.push(entry)
  }
}
