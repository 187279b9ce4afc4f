import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { LogError } from '../errors.js'
import { VELES_LOG_FILE } from '../format/veles-files.js'
import { importVelesDb } from '../store/index.js'
import { byteCount, type CommonOptions, duration, wholeNumber } from './arguments.js'
import { EXIT } from './exit-codes.js'
import { formatBytes, formatCount, printJson, printTable } from './output.js'
import { showProgress } from './progress.js'
import { openOrCreateStore, openStore, storeCommand, type WriteOptions, withCodec, withDurability, withStore } from './store-access.js'

export function addStoreMaintenance(store: Command): void {
  storeCommand(store, 'stats').description('Tell what is in the store: keys, memory of the index, snapshot, log.').action(stats)
  storeCommand(store, 'snapshot').description('Write a snapshot, so that the next open replays only what comes after it.').action(snapshot)
  storeCommand(store, 'compact')
    .description('Rewrite closed segments without the versions and tombstones that nobody can ask for any more. Can be ended at any moment.')
    .option('--keep-chunks <count>', 'closed segments that hold so many of the newest complete chunks stay as they are (default: 2)', wholeNumber)
    .option('--tombstone-age <time>', 'tombstones stay at least so long (30s, 12h, 7d …; default: 24h)', duration)
    .option('--bytes-per-second <size>', 'read no faster (64KiB, 10MB …; default: no limit)', byteCount)
    .action(compact)
  withCodec(withDurability(storeCommand(store, 'import')))
    .argument('<source>', 'directory of a VelesDB collection, with payloads.log')
    .description(
      'Take over the payload log of a VelesDB collection: ids become integer keys. The store is made when there is none.\n' +
        'Records that are damaged or no JSON are left out and listed by position; the exit code is 1 then.',
    )
    .action(importCollection)
}

async function stats(directory: string, options: CommonOptions): Promise<void> {
  await withStore(openStore(directory, options), async (store) => {
    const facts = store.stats()
    if (options.json) {
      printJson(facts)
      return
    }
    const { keys, indexBytes, snapshot, bytesSinceSnapshot, log } = facts
    printTable([
      ['keys', formatCount(keys)],
      ['index', `${formatBytes(indexBytes)} of memory`],
      ['snapshot', snapshot === undefined ? 'none' : `of the records below offset ${snapshot.endOffset}, ${formatBytes(snapshot.bytes)}`],
      ['since then', `${formatBytes(bytesSinceSnapshot)} of records`],
      ['offsets', `${log.startOffset} to ${log.endOffset} (exclusive)`],
      ['codec', store.codec],
    ])
  })
}

async function snapshot(directory: string, options: CommonOptions): Promise<void> {
  await withStore(openStore(directory, options), async (store) => {
    const info = await store.snapshot()
    if (options.json) printJson(info)
    else process.stdout.write(`${formatCount(info.entries)} keys of the records below offset ${info.endOffset}, ${formatBytes(info.bytes)}\n`)
  })
}

interface CompactOptions extends CommonOptions {
  keepChunks?: number
  tombstoneAge?: number
  bytesPerSecond?: number
}

async function compact(directory: string, options: CompactOptions): Promise<void> {
  const { keepChunks, tombstoneAge, bytesPerSecond } = options
  await withStore(openStore(directory, options), async (store) => {
    let progress: ReturnType<typeof showProgress> | undefined
    const result = await store
      .compact({
        ...(keepChunks !== undefined && { keepCompleteChunks: keepChunks }),
        ...(tombstoneAge !== undefined && { tombstoneMs: tombstoneAge }),
        ...(bytesPerSecond !== undefined && { bytesPerSecond }),
        onProgress({ segmentsDone, segmentsTotal }) {
          progress ??= showProgress('compact', 'segments', segmentsTotal)
          progress.update(segmentsDone, segmentsDone)
        },
      })
      .finally(() => progress?.stop())
    if (options.json) {
      printJson(result)
      return
    }
    const { segments, recordsRemoved, bytesBefore, bytesAfter } = result
    process.stdout.write(
      `${formatCount(segments)} segments rewritten, ${formatCount(recordsRemoved)} records removed, ${formatBytes(bytesBefore)} became ${formatBytes(bytesAfter)}\n`,
    )
  })
}

async function importCollection(directory: string, source: string, options: WriteOptions): Promise<void> {
  if (!existsSync(join(source, VELES_LOG_FILE))) throw new LogError('ERR_SEALOG_NOT_FOUND', `there is no ${VELES_LOG_FILE} in ${source}`, { file: source })
  await withStore(openOrCreateStore(directory, options), async (store) => {
    let progress: ReturnType<typeof showProgress> | undefined
    const result = await importVelesDb(source, store, {
      onProgress({ bytes, totalBytes, records }) {
        progress ??= showProgress('import', 'records', totalBytes)
        progress.update(bytes, records)
      },
    }).finally(() => progress?.stop())
    const { stored, deleted, skipped, skippedRecords, tornAt, snapshotDamage } = result
    if (skippedRecords > 0 || tornAt !== undefined) process.exitCode = EXIT.failed
    if (options.json) {
      printJson({ ...result, keys: store.size })
      return
    }
    for (const { position, why } of skipped) process.stdout.write(`left out at ${position}: ${why}\n`)
    if (skippedRecords > skipped.length) process.stdout.write(`left out: ${formatCount(skippedRecords - skipped.length)} more\n`)
    if (tornAt !== undefined) process.stdout.write(`left out from ${tornAt.position} to the end, ${formatBytes(tornAt.bytes)}: ${tornAt.why}\n`)
    if (snapshotDamage !== undefined) process.stdout.write(`the snapshot, which is not needed, is damaged: ${snapshotDamage}\n`)
    process.stdout.write(`${formatCount(stored)} values stored, ${formatCount(deleted)} deleted; the store has ${formatCount(store.size)} keys\n`)
  })
}
