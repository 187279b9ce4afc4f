import type { Log } from '../log/log.js'
import type { Record } from '../log/record.js'
import type { RecordBatch } from '../log/record-batch.js'
import { isClear, keptRanges } from './store-records.js'

const FIRST_WINDOW = 1024

/**
 * The record that made the key what it was when the record at `at` was the last one: a version, a tombstone, or undefined: the key had not been written yet.
 * Looks backwards from `at` through windows of records that double, so that it reads about twice what lies between, a block at a time; for a key that is not found
 * that is the whole log below `at`.
 */
export async function versionAt<V>(log: Log<V>, key: Uint8Array, at: number): Promise<Record<V> | undefined> {
  for (let to = at + 1, window = FIRST_WINDOW; to > log.startOffset; window *= 2) {
    const from = Math.max(log.startOffset, to - window)
    const found = await newestIn(log, key, from, to)
    if (found !== undefined) return found
    to = from
  }
  return undefined
}

async function newestIn<V>(log: Log<V>, key: Uint8Array, from: number, to: number): Promise<Record<V> | undefined> {
  let found: { readonly batch: RecordBatch<V>; readonly row: number } | undefined
  for (const range of keptRanges(log.lost, from, to)) {
    for await (const batch of log.batches(range)) {
      for (let row = batch.length - 1; row >= 0; row--) {
        const candidate = batch.key(row)
        if (candidate === undefined) continue
        if (Buffer.compare(candidate, key) !== 0 && !isClear(candidate, batch.tombstone(row))) continue
        found = { batch, row }
        break
      }
    }
  }
  return found?.batch.record(found.row)
}
