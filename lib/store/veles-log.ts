import { constants } from 'node:fs'
import { LogError } from '../errors.js'
import {
  decodeVelesHead,
  decodeVelesSnapshotHead,
  isVelesRecord,
  VELES_HEAD_BYTES,
  VELES_SNAPSHOT_CRC_BYTES,
  VELES_SNAPSHOT_HEAD_BYTES,
  type VelesHead,
  velesCrc,
} from '../format/veles-files.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { TaskRunner } from '../kernels/task.js'

/** A record of a payload log; the payload is a view, valid until the next block is asked for. */
export interface VelesRecord {
  readonly position: number
  readonly id: number | bigint
  /** undefined: the record deletes the id. */
  readonly payload: Uint8Array | undefined
}

/** Where the file cannot be followed any further: so many bytes from there on are left out. */
export interface VelesTear {
  readonly position: number
  readonly bytes: number
  readonly why: string
}

const BLOCK_BYTES = 1024 * 1024
/** A larger record is never brought into memory. */
const RECORD_LIMIT = 64 * 1024 * 1024
/** Records that are followed behind a damaged one until one proves that lengths still lead from record to record. */
const HOPS = 64

/**
 * Reads a payload log from its start to the size that it had when it was opened. Lengths are held against the rest of the file before anything is allocated.
 * A damaged record is passed over where a good one follows at the place that its length names, or the end of the file; otherwise reading ends there: behind a wrong length anything could look
 * like a record.
 */
export class VelesLog {
  readonly size: number
  /** How far it has been read. */
  position = 0
  torn: VelesTear | undefined
  /** Where a good record, or the end of the file, was met ahead. */
  #proven = -1
  readonly #runner: TaskRunner
  readonly #fd: number
  readonly #file: string
  readonly #onDamaged: (position: number, why: string) => void

  private constructor(runner: TaskRunner, fd: number, file: string, size: number, onDamaged: (position: number, why: string) => void) {
    this.#runner = runner
    this.#fd = fd
    this.#file = file
    this.size = size
    this.#onDamaged = onDamaged
  }

  /** undefined: there is no such file. `onDamaged` is told of records that are passed over. */
  static async open(runner: TaskRunner, file: string, onDamaged: (position: number, why: string) => void): Promise<VelesLog | undefined> {
    const fd = await runner.run(io.openExisting(file, constants.O_RDONLY))
    if (fd === undefined) return undefined
    try {
      const { size } = await runner.run(io.stat(fd, file))
      return new VelesLog(runner, fd, file, size, onDamaged)
    } catch (error) {
      await runner.run(io.close(fd))
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#runner.run(io.close(this.#fd))
  }

  async *blocks(): AsyncGenerator<VelesRecord[], void, undefined> {
    let start = 0
    let bytes: Buffer = Buffer.alloc(0)
    while (this.position < this.size && this.torn === undefined) {
      const end = start + bytes.length
      if (end - this.position < VELES_HEAD_BYTES && end < this.size) {
        start = this.position
        bytes = await this.#read(start, BLOCK_BYTES)
      }
      const records: VelesRecord[] = []
      const next = this.#takeGood(bytes, start, records)
      if (records.length > 0) yield records
      if (next === undefined) continue
      const single = await this.#takeNext(next)
      if (single !== undefined) yield [single]
    }
  }

  /** Takes good records that lie in `bytes`. The head of the next one, when that does not; undefined: the next bytes are needed to tell. */
  #takeGood(bytes: Buffer, start: number, records: VelesRecord[]): VelesHead | undefined {
    for (let at = this.position - start; at < bytes.length; ) {
      const head = decodeVelesHead(bytes, at)
      if (head === undefined) {
        this.#tear(`no record begins with the byte ${bytes[at]}`)
        return undefined
      }
      if (typeof head === 'number') {
        if (start + bytes.length === this.size) this.#tear('the file ends in the middle of a record')
        return undefined
      }
      if (bytes.length - at < head.bytes || !isVelesRecord(bytes, at, head)) return head
      records.push(recordOf(bytes, at, start + at, head))
      at += head.bytes
      this.position = start + at
    }
    return undefined
  }

  /** The record at the present position, which is larger than what was read, or damaged. */
  async #takeNext(head: VelesHead): Promise<VelesRecord | undefined> {
    const { position } = this
    if (head.bytes > this.size - position) {
      this.#tear(`the file ends in the middle of a record of ${head.bytes} bytes`)
      return undefined
    }
    let why = `a record of ${head.bytes} bytes is larger than ${RECORD_LIMIT}`
    if (head.bytes <= RECORD_LIMIT) {
      const bytes = await this.#read(position, head.bytes)
      if (isVelesRecord(bytes, 0, head)) {
        this.position += head.bytes
        return recordOf(bytes, 0, position, head)
      }
      why = 'the checksum is wrong'
    }
    if (await this.#leadsOn(position + head.bytes)) {
      this.#onDamaged(position, why)
      this.position += head.bytes
    } else {
      this.#tear(`${why}, and no good record follows where its length leads`)
    }
    return undefined
  }

  /** Whether lengths lead from `position` to the end of the file, or to a record whose checksum says that it is one. */
  async #leadsOn(position: number): Promise<boolean> {
    let at = position
    for (let hop = 0; hop < HOPS; hop++) {
      if (at === this.size || at === this.#proven) {
        this.#proven = at
        return true
      }
      const head = decodeVelesHead(await this.#read(at, VELES_HEAD_BYTES), 0)
      if (typeof head !== 'object' || head.bytes > this.size - at) return false
      if (head.checked && head.bytes <= RECORD_LIMIT && isVelesRecord(await this.#read(at, head.bytes), 0, head)) this.#proven = at
      else at += head.bytes
    }
    return false
  }

  #tear(why: string): void {
    this.torn = { position: this.position, bytes: this.size - this.position, why }
  }

  async #read(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.from(new ArrayBuffer(Math.min(length, this.size - position)))
    const read = await this.#runner.run(io.read(this.#fd, position, bytes, this.#file))
    if (read < bytes.length) throw new LogError('ERR_SEALOG_IO', `${this.#file} became shorter while it was read`, { file: this.#file, position })
    return bytes
  }
}

function recordOf(bytes: Buffer, at: number, position: number, { deletes, id, payloadStart, payloadEnd }: VelesHead): VelesRecord {
  return { position, id, payload: deletes ? undefined : bytes.subarray(at + payloadStart, at + payloadEnd) }
}

/** What is wrong with a snapshot beside a log of `logBytes`; undefined: nothing. `none`: there is no such file. */
export function* checkVelesSnapshot(file: string, logBytes: number): Procedure<string | 'none' | undefined> {
  const fd = yield* io.openExisting(file, constants.O_RDONLY)
  if (fd === undefined) return 'none'
  try {
    const { size } = yield* io.stat(fd, file)
    const block = Buffer.from(new ArrayBuffer(BLOCK_BYTES))
    const head = block.subarray(0, yield* io.read(fd, 0, block.subarray(0, VELES_SNAPSHOT_HEAD_BYTES), file))
    const logEnd = decodeVelesSnapshotHead(head, size)
    if (typeof logEnd === 'string') return logEnd
    const end = size - VELES_SNAPSHOT_CRC_BYTES
    let crc = 0
    for (let position = 0; position < end; ) {
      const length = yield* io.read(fd, position, block.subarray(0, Math.min(BLOCK_BYTES, end - position)), file)
      if (length === 0) return 'it is too short'
      crc = velesCrc(block.subarray(0, length), crc)
      position += length
    }
    const stored = block.subarray(0, VELES_SNAPSHOT_CRC_BYTES)
    if ((yield* io.read(fd, end, stored, file)) < stored.length || stored.readUInt32LE(0) !== crc) return 'its checksum is wrong'
    return logEnd > logBytes ? `it was written when the log had ${logEnd} bytes; now it has ${logBytes}` : undefined
  } finally {
    yield* io.close(fd)
  }
}
