import { argumentError, LogError } from '../errors.js'
import { FRAME_HEADER_BYTES, frameBytes, KEY_BYTES_LIMIT, TIMESTAMP_LIMIT } from '../format/constants.js'
import { batchFrameLimit, type CodecName, checkNames, type LogSettings } from '../options.js'
import type { EncodedRecord } from './append-queue.js'
import { checkAttached, encodeJson, encodeKey, encodeValue, jsonText } from './codec.js'

/** A record of `appendRecords`: a value with key and time of its own, or the deletion of a key. */
export type RecordInput<T> = { value: T; key?: string | Uint8Array; timestamp?: number } | { key: string | Uint8Array; tombstone: true; timestamp?: number }

const RECORD_FIELDS: ReadonlySet<string> = new Set(['value', 'key', 'timestamp', 'tombstone'])
const NO_VALUE = new Uint8Array(0)

/** Turns what users give into records that are known to fit, or throws with nothing accepted. */
export class RecordEncoder {
  readonly codec: CodecName
  /** Bytes that a single record may have. */
  readonly recordLimit: number
  /** Bytes that the key and value of a single record may have together. */
  readonly keyedLimit: number
  readonly #settings: LogSettings
  readonly #frameLimit: number

  constructor(settings: LogSettings, segmentBytes: number) {
    this.codec = settings.codec
    this.#settings = settings
    this.#frameLimit = batchFrameLimit(segmentBytes)
    this.recordLimit = Math.min(settings.maxRecordBytes, settings.maxBatchBytes, this.#frameLimit - 32)
    const framed = this.#frameLimit - FRAME_HEADER_BYTES
    this.keyedLimit = Math.min(settings.maxRecordBytes, settings.maxBatchBytes, framed - (framed % 8) - 2)
  }

  /** Checks a value that is bytes already; codec json: ready text. The bytes to store. */
  checkBytes(value: Uint8Array): Uint8Array {
    if (value.length === 0) checkAttached(value)
    if (value.length > this.recordLimit) throw this.tooLarge(value.length)
    return this.codec === 'json' ? jsonText(value) : value
  }

  /** Text of a value, or bytes that are what is stored. User code runs in here. */
  encodeText(value: unknown): string | Uint8Array {
    return value instanceof Uint8Array || this.codec === 'bytes' ? encodeValue(this.codec, value) : encodeJson(value)
  }

  /** Records of values alone: without a timestamp of their own nothing but their bytes. User code runs in here. */
  encodeValues(values: readonly unknown[], timestamp: unknown): (EncodedRecord | Uint8Array)[] {
    if (timestamp === undefined) return values.map((value) => encodeValue(this.codec, value))
    return values.map((value) => this.encode(value, undefined, timestamp))
  }

  encode(value: unknown, key: unknown, timestamp: unknown): EncodedRecord {
    return this.#record(encodeValue(this.codec, value), key, timestamp, false)
  }

  encodeInput(record: RecordInput<unknown>): EncodedRecord {
    if (typeof record !== 'object' || record === null) throw argumentError('record', record, 'an object with a value or a tombstone')
    checkNames(record, RECORD_FIELDS, 'a record')
    if (!('tombstone' in record) || record.tombstone === undefined) {
      if (!('value' in record)) throw argumentError('record', record, 'an object with a value or a tombstone')
      return this.encode(record.value, record.key, record.timestamp)
    }
    if (record.tombstone !== true || 'value' in record) throw argumentError('tombstone', record.tombstone, 'true, without a value')
    if (record.key === undefined) throw argumentError('key', record.key, 'the key that the tombstone deletes')
    return this.#record(NO_VALUE, record.key, record.timestamp, true)
  }

  /** Frame bytes of a batch that fits. */
  measure(records: readonly (EncodedRecord | Uint8Array)[]): number {
    let bodies = 0
    let frames = 0
    for (const record of records) {
      const key = record instanceof Uint8Array ? undefined : record.key
      const value = record instanceof Uint8Array ? record : record.value
      const bytes = value.length + (key?.length ?? 0)
      if (bytes > this.#settings.maxRecordBytes) throw this.tooLarge(bytes)
      bodies += bytes
      frames += frameBytes(value.length + (key === undefined ? 0 : 2 + key.length))
    }
    if (bodies <= this.#settings.maxBatchBytes && frames <= this.#frameLimit) return frames
    if (records.length === 1) throw this.tooLarge(bodies)
    throw new LogError('ERR_SEALOG_BATCH_TOO_LARGE', `a batch of ${bodies} bytes is larger than maxBatchBytes (${this.#settings.maxBatchBytes}) or a segment`, {
      field: 'values',
      value: bodies,
    })
  }

  tooLarge(bytes: number): LogError {
    return new LogError(
      'ERR_SEALOG_RECORD_TOO_LARGE',
      `a record of ${bytes} bytes is larger than ${this.recordLimit} (maxRecordBytes, maxBatchBytes or a segment)`,
      { field: 'value', value: bytes },
    )
  }

  #record(value: Uint8Array, key: unknown, timestamp: unknown, tombstone: boolean): EncodedRecord {
    const encodedKey = encodeKey(key)
    if (encodedKey !== undefined && encodedKey.length > KEY_BYTES_LIMIT) {
      throw new LogError('ERR_SEALOG_RECORD_TOO_LARGE', `a key has at most ${KEY_BYTES_LIMIT} bytes, this one ${encodedKey.length}`, {
        field: 'key',
        value: encodedKey.length,
      })
    }
    if (timestamp !== undefined && !(Number.isSafeInteger(timestamp) && (timestamp as number) >= 0 && (timestamp as number) <= TIMESTAMP_LIMIT)) {
      throw argumentError('timestamp', timestamp, 'an integer number of ms from 0 to 2^48 − 1')
    }
    return { key: encodedKey, value, tombstone, timestamp: timestamp as number | undefined }
  }
}

/** The items of a batch; user code runs while they are listed. */
export function listOf<V>(items: Iterable<V>, field: string): V[] {
  if (typeof (items as Partial<Iterable<V>> | null | undefined)?.[Symbol.iterator] !== 'function') throw argumentError(field, items, 'an iterable')
  return [...items]
}
