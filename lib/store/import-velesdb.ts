import path from 'node:path'
import { argumentError, LogError } from '../errors.js'
import { VELES_LOG_FILE, VELES_SNAPSHOT_FILE } from '../format/veles-files.js'
import { environmentFor } from '../log/environment.js'
import { checkNames } from '../options.js'
import type { Store } from './store.js'
import type { BatchEntry } from './store-types.js'
import { checkVelesSnapshot, VelesLog, type VelesTear } from './veles-log.js'

export interface VelesImportProgress {
  /** Bytes of the payload log read so far, and in all. */
  readonly bytes: number
  readonly totalBytes: number
  /** Records taken over so far. */
  readonly records: number
}

export interface VelesImportOptions {
  /** Called about once per MiB of the payload log. */
  onProgress?: (progress: VelesImportProgress) => void
}

/** A record that was not taken over, by its position in the payload log. */
export interface VelesSkipped {
  readonly position: number
  readonly why: string
}

export interface VelesImportResult {
  /** Values stored; of one id that was stored again and again: each. */
  readonly stored: number
  /** Deletions made, those of ids that were not there included. */
  readonly deleted: number
  /** Records that were not taken over, the first 1,000 of them. */
  readonly skipped: readonly VelesSkipped[]
  readonly skippedRecords: number
  /** Where the payload log could not be followed any further: a torn end, or damage of the framing. */
  readonly tornAt?: VelesTear
  /** What is wrong with the snapshot beside the log, which is not needed: the log is the truth. */
  readonly snapshotDamage?: string
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof VelesImportOptions>(['onProgress'])
const SKIPPED_LIMIT = 1000

/**
 * Takes over the payload log of a VelesDB collection (`payloads.log` in `directory`, of any version) into a store: ids become integer keys, payloads values; with codec `json` they must be JSON
 * text. Streams, so that memory does not depend on the log; durable when it resolves. Records that are damaged or no JSON are left out and told of by position. Errors: those of writing; ERR_SEALOG_NOT_FOUND
 * when there is no payload log. Running it again is harmless: the same changes are made in the same order.
 */
export async function importVelesDb<V>(directory: string, store: Store<V>, options: VelesImportOptions = {}): Promise<VelesImportResult> {
  if (typeof directory !== 'string' || directory === '') throw argumentError('directory', directory, 'the path of a directory')
  checkNames(options, OPTION_NAMES, 'importVelesDb')
  const { onProgress } = options
  const { runner } = environmentFor(store.backend)
  const skipped: VelesSkipped[] = []
  let skippedRecords = 0
  const skip = (position: number, why: string): void => {
    skippedRecords++
    if (skipped.length < SKIPPED_LIMIT) skipped.push({ position, why })
  }
  const log = await VelesLog.open(runner, path.join(directory, VELES_LOG_FILE), skip)
  if (log === undefined) throw new LogError('ERR_SEALOG_NOT_FOUND', `there is no ${VELES_LOG_FILE} in ${directory}`, { directory })
  let stored = 0
  let deleted = 0
  let position = 0
  async function* entries(source: VelesLog): AsyncGenerator<BatchEntry<V>, void, undefined> {
    for await (const block of source.blocks()) {
      for (const { id, payload, position: at } of block) {
        position = at
        if (payload === undefined) {
          deleted++
          yield { key: id, delete: true }
        } else {
          stored++
          yield { key: id, value: payload }
        }
      }
      onProgress?.({ bytes: source.position, totalBytes: source.size, records: stored + deleted })
    }
  }
  try {
    const writer = store.batchWriter()
    await writer.writeAll(entries(log), {
      // Told before the next entry is asked for.
      onRejected(reason) {
        stored--
        skip(position, reason instanceof Error ? reason.message : String(reason))
      },
    })
    await writer.close()
    const snapshot = await runner.run(checkVelesSnapshot(path.join(directory, VELES_SNAPSHOT_FILE), log.size))
    return {
      stored,
      deleted,
      skipped,
      skippedRecords,
      ...(log.torn === undefined ? {} : { tornAt: log.torn }),
      ...(snapshot === undefined || snapshot === 'none' ? {} : { snapshotDamage: snapshot }),
    }
  } finally {
    await log.close()
  }
}
