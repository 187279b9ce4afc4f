import { LogError } from '../errors.js'
import { frameBytes } from '../format/constants.js'
import type { Log } from '../log/log.js'
import type { OffsetRange } from '../log/manifest.js'
import { IndexChanges } from './index-changes.js'
import type { KeyIndex } from './key-index.js'
import { isEncodedKey } from './keys.js'

/** Key of the tombstone that deletes all keys: a tag that no key has. */
export const CLEAR_KEY: Uint8Array = Uint8Array.of(0)

/** How far replaying the log into the index has come, and where it ends. */
export interface ReplayProgress {
  readonly offset: number
  readonly endOffset: number
}

export function isClear(key: Uint8Array, tombstone: boolean): boolean {
  return tombstone && key.length === 1 && key[0] === CLEAR_KEY[0]
}

/** Whether a record with this key is one that a store wrote. */
export function isOfStore(key: Uint8Array | undefined, tombstone: boolean): key is Uint8Array {
  return key !== undefined && (isClear(key, tombstone) || isEncodedKey(key))
}

export function foreignRecord(directory: string, offset: number): LogError {
  return new LogError('ERR_SEALOG_FORMAT', `${directory} is a log of other content: the record at offset ${offset} has no key of a store`, {
    file: directory,
    offset,
  })
}

/**
 * Brings the index up to `end` with the records from `from` on, block by block. Resolves to the bytes that they take in the log.
 * Throws ERR_SEALOG_FORMAT for a record that no store wrote.
 */
export async function replay<V>(
  log: Log<V>,
  index: KeyIndex,
  from: number,
  end: number,
  onProgress: ((progress: ReplayProgress) => void) | undefined,
): Promise<number> {
  const changes = new IndexChanges(index)
  let bytes = 0
  for (const range of keptRanges(log.lost, Math.max(from, log.startOffset), end)) {
    for await (const batch of log.batches({ ...range, reuseBuffers: true })) {
      for (let i = 0; i < batch.length; i++) {
        const key = batch.key(i)
        const tombstone = batch.tombstone(i)
        if (!isOfStore(key, tombstone)) throw foreignRecord(log.directory, batch.offset(i))
        if (isClear(key, tombstone)) changes.clear()
        else changes.add(key, tombstone ? -1 : batch.offset(i))
        bytes += frameBytes(2 + key.length + batch.bytes(i).length)
      }
      onProgress?.({ offset: batch.nextOffset, endOffset: end })
    }
  }
  changes.flush()
  return bytes
}

/** What is left of a range without those that repair gave up. */
export function keptRanges(lost: readonly OffsetRange[], from: number, to: number): OffsetRange[] {
  const kept: OffsetRange[] = []
  let at = from
  for (const range of [...lost].sort((a, b) => a.from - b.from)) {
    if (range.from > at && at < to) kept.push({ from: at, to: Math.min(range.from, to) })
    at = Math.max(at, range.to)
  }
  if (at < to) kept.push({ from: at, to })
  return kept
}
