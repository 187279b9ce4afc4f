import path from 'node:path'
import { LogError, warn } from '../errors.js'
import { MANIFEST_FILE, SNAPSHOT_FILE } from '../format/names.js'
import * as io from '../kernels/requests.js'
import { environmentFor } from '../log/environment.js'
import { Log } from '../log/log.js'
import { checkDirectory, type LogOptions, resolveSession } from '../options.js'
import { KeyIndex } from './key-index.js'
import { type DurableSnapshot, loadSnapshot } from './snapshots.js'
import { type StoreOptions, type StoreSettings, splitOptions } from './store-options.js'
import { foreignRecord, isOfStore, replay } from './store-records.js'

/** A log with the index of its keys. */
export interface OpenedStore<V> {
  readonly log: Log<V>
  readonly index: KeyIndex
  /** What was loaded. */
  readonly snapshot: DurableSnapshot | undefined
  /** Bytes that the log has beyond it. */
  readonly grown: number
  readonly settings: StoreSettings
}

export async function openStore<V>(directory: string, options: StoreOptions): Promise<OpenedStore<V>> {
  const { settings, logOptions } = splitOptions(options)
  checkDirectory(directory)
  const { backend } = resolveSession(logOptions)
  const { runner, kernels } = environmentFor(backend)
  const place = path.resolve(directory)
  const exists = (await runner.run(io.statPath(path.join(place, MANIFEST_FILE)))) !== undefined
  const wasStore = exists && (await runner.run(io.statPath(path.join(place, SNAPSHOT_FILE)))) !== undefined
  if (exists && !wasStore) await checkContent(place, backend)
  const log = await Log.open<V>(place, { ...logOptions, seal: logOptions.seal ?? (exists ? undefined : false) } as LogOptions)
  const index = new KeyIndex(kernels)
  try {
    const snapshot = await loadSnapshot(log, index)
    const from = snapshot?.endOffset ?? log.startOffset
    const grown = await replay(log, index, from, log.committedOffset, settings.onProgress)
    const lost = log.lost.filter((range) => range.to > from)
    if (lost.length > 0) {
      warn(
        'SEALOG_STORE_LOST',
        `${place}: repair gave up offsets ${lost.map(({ from: a, to }) => `${a} to ${to - 1}`).join(', ')}; keys written there have older values`,
      )
    }
    const { committedOffset, compactedThrough } = log
    if (compactedThrough > 0 && compactedThrough >= committedOffset) {
      warn(
        'SEALOG_STORE_LOST',
        `${place}: repair cut the log at offset ${committedOffset}; older versions below ${compactedThrough} had been compacted away, so keys written behind the cut may have none or older values`,
      )
    }
    return { log, index, snapshot, grown, settings }
  } catch (error) {
    index.close()
    // What made the opening fail is what matters.
    await log.close().catch(() => {})
    throw error
  }
}

/** Looks at both ends of a log before anything is written to it. Its records are all looked at when they are replayed. */
async function checkContent(directory: string, backend: LogOptions['backend']): Promise<void> {
  const reader = await Log.openReader(directory, { backend }).catch((error: unknown) => {
    // Opening it for writing repairs this or refuses it.
    if (error instanceof LogError) return undefined
    throw error
  })
  if (reader === undefined) return
  try {
    const { startOffset, committedOffset } = reader
    for (const offset of new Set([startOffset, committedOffset - 1])) {
      if (offset < startOffset) continue
      const record = await reader.get(offset).catch((error: unknown) => {
        if (error instanceof LogError) return undefined
        throw error
      })
      if (record !== undefined && !isOfStore(record.key, record.tombstone)) throw foreignRecord(directory, offset)
    }
  } finally {
    await reader.close()
  }
}
