import type { EncodedRecord } from '../log/append-queue.js'
import { listOf } from '../log/record-encoder.js'
import { bufferOf, encodeKey } from './keys.js'
import { type BatchEntry, checkEntry } from './store-types.js'

type KeyedRecord = EncodedRecord & { readonly key: Uint8Array }

const NO_VALUE = new Uint8Array(0)

/**
 * The records of a batch. Deletions of keys that are not there are left out: neither by `isThere`, which tells what is so before the batch, nor by an earlier entry.
 * User code runs in here. Throws for what is no entry.
 */
export function encodeBatch<V>(
  entries: Iterable<BatchEntry<V>>,
  isThere: (key: Uint8Array) => boolean,
  encodeValue: (value: V | Uint8Array) => string | Uint8Array,
): KeyedRecord[] {
  const records: KeyedRecord[] = []
  /** What the batch has made of keys so far; only deletions need it. */
  let changed: Map<string, boolean> | undefined
  for (const entry of listOf(entries, 'entries')) {
    const tombstone = checkEntry(entry)
    const key = encodeKey(entry.key)
    if (tombstone) changed ??= new Map(records.map((record) => [textOf(record.key), !record.tombstone]))
    if (changed !== undefined) {
      const text = textOf(key)
      if (tombstone && !(changed.get(text) ?? isThere(key))) continue
      changed.set(text, !tombstone)
    }
    records.push({ key, value: 'value' in entry ? bytesOf(encodeValue(entry.value)) : NO_VALUE, tombstone, timestamp: undefined })
  }
  return records
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value
}

function textOf(key: Uint8Array): string {
  return bufferOf(key).toString('latin1')
}
