/** The work that all contenders of a case share: the same records, checked the same way, timed the same way. */
import { createHash, type Hash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export const RECORD_BYTES = 256

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** A prime: records that swap places or repeat at the distance of a block, page or batch change the checksum. */
const DISTINCT_RECORDS = 1021
/** Fewer of large records, so that no contender reads its records from main memory. A prime too. */
const DISTINCT_LARGE_RECORDS = 61
const LARGE_RECORD_BYTES = 16 * 1024

/**
 * Record i of the work is `records[i % records.length]`: JSON strings of exactly `bytes` bytes, without newlines, so that line-based and
 * binary contenders store the same values; random enough that compressing contenders gain nothing. Made outside every timed region.
 */
export function makeRecords(bytes: number): readonly Buffer[] {
  let state = 0x9e3779b9
  return Array.from({ length: bytes < LARGE_RECORD_BYTES ? DISTINCT_RECORDS : DISTINCT_LARGE_RECORDS }, () => {
    const record = Buffer.alloc(bytes, '"')
    for (let at = 1; at < bytes - 1; at++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      record[at] = LETTERS.charCodeAt((state >>> 8) & 63)
    }
    return record
  })
}

/** SHA-1 of all values one behind the other, and their count; collected in blocks, as a hash call per record would cost more than the record. */
export class WorkCheck {
  readonly #hash: Hash = createHash('sha1')
  readonly #block = Buffer.alloc(64 * 1024)
  #used = 0
  #records = 0
  #bytes = 0

  add(value: Uint8Array): void {
    if (this.#used + value.length > this.#block.length) this.#flush()
    if (value.length > this.#block.length) this.#hash.update(value)
    else {
      this.#block.set(value, this.#used)
      this.#used += value.length
    }
    this.#records++
    this.#bytes += value.length
  }

  result(): Record<string, string | number> {
    this.#flush()
    return { records: this.#records, bytes: this.#bytes, sha1: this.#hash.digest('hex') }
  }

  #flush(): void {
    this.#hash.update(this.#block.subarray(0, this.#used))
    this.#used = 0
  }
}

/** Random record numbers below `count`, the same for every contender. */
export function randomNumbers(howMany: number, count: number): Uint32Array {
  let state = 0x2545f491
  return Uint32Array.from({ length: howMany }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % count
  })
}

/** A checksum so cheap that it does not hide the read: length, first and last byte. */
export function mix(sum: number, value: Uint8Array): number {
  return (Math.imul(sum, 31) + value[1] + (value[value.length - 2] << 8) + value.length) | 0
}

/** Bytes of the files below a directory whose name passes. */
export function fileBytes(directory: string, passes: (name: string) => boolean = () => true): number {
  return listFiles(directory, passes).reduce((sum, path) => sum + statSync(path).size, 0)
}

export function listFiles(directory: string, passes: (name: string) => boolean): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && passes(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

const never = new Int32Array(new SharedArrayBuffer(4))

/**
 * CPU nanoseconds of the main thread so far, without those of other threads. The kernel brings the figure up to date only when the thread
 * leaves the processor, so it is made to sleep for a moment first (which costs no CPU time that would count).
 */
export function mainThreadNanoseconds(): number {
  Atomics.wait(never, 0, 0, 0.1)
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0])
}

/** A field of /proc/self/status, in bytes. */
export function memoryStatus(field: 'VmHWM' | 'VmRSS' | 'RssAnon'): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'latin1'))
  if (!match) throw new Error(`/proc/self/status has no ${field}`)
  return Number(match[1]) * 1024
}

export function seconds(since: number): number {
  return (performance.now() - since) / 1000
}
