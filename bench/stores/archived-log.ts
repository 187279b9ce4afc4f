/** A log of the change feed in segments of 10 MB, whose archives can be made again and again. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Log } from 'sealog'
import type { ArchiveOptions } from 'sealog/archive'
import { ROOT } from '../harness/paths.js'
import { threadSeconds } from '../harness/usage.js'

export const SEGMENT_BYTES = 10_000_000
const GROUP_RECORDS = 2048
const ARCHIVE_THREAD = 'sealog-archive'
const FACTS = 'archived.json'
const MANIFEST = 'MANIFEST'
const UNARCHIVED = 'MANIFEST.unarchived'

export interface ArchivedFacts {
  /** Closed segments, and their bytes. */
  readonly segments: number
  readonly bytes: number
  readonly records: number
}

export function openFeedLog(directory: string, archiveDirectory?: string): Promise<Log<unknown>> {
  return import('sealog').then(({ Log }) =>
    Log.open<unknown>(directory, {
      codec: 'json',
      seal: false,
      durability: 'flush',
      segmentBytes: SEGMENT_BYTES,
      ...(archiveDirectory === undefined ? {} : { archive: { directory: archiveDirectory } }),
    }),
  )
}

export interface Change {
  /** One line of the feed, its exact JSON text. */
  readonly value: Buffer
  /** The key it is about, as `sealog demo` and `sealog append --key /key` give it. */
  readonly options: { readonly key: string }
}

export function readFeed(): Change[] {
  const text = gunzipSync(readFileSync(join(ROOT, 'demo/changes.ndjson.gz')))
  const changes: Change[] = []
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf(10, at)
    const end = newline < 0 ? text.length : newline
    const value = text.subarray(at, end)
    if (end > at) changes.push({ value, options: { key: (JSON.parse(value.toString()) as { key: string }).key } })
    at = end + 1
  }
  return changes
}

/** Appends the feed over and over until `segments` segments are closed. */
export async function makeFeedLog(directory: string, segments: number): Promise<void> {
  const log = await openFeedLog(directory)
  const feed = readFeed()
  let records = 0
  while (log.stats().segments <= segments) {
    const { value, options } = feed[records++ % feed.length]
    log.enqueue(value, options)
    if (log.writableNeedDrain) await log.drain()
    // Often enough to see each new segment, seldom enough for groups as large as those of a busy log.
    else if (records % GROUP_RECORDS === 0) await log.committed()
  }
  await log.close()
  const sizes = segmentFiles(directory).slice(0, segments)
  const facts: ArchivedFacts = { segments, bytes: sizes.reduce((sum, path) => sum + readFileSync(path).length, 0), records }
  writeFileSync(join(directory, FACTS), JSON.stringify(facts))
  writeFileSync(join(directory, UNARCHIVED), readFileSync(join(directory, MANIFEST)))
}

export function feedFacts(directory: string): ArchivedFacts {
  return JSON.parse(readFileSync(join(directory, FACTS), 'utf8')) as ArchivedFacts
}

export function segmentFiles(directory: string): string[] {
  return readdirSync(join(directory, 'segments'))
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => join(directory, 'segments', name))
}

/** Nothing is archived afterwards; the log must be closed. */
export function forgetArchives(directory: string): void {
  rmSync(join(directory, 'archive'), { recursive: true, force: true })
  writeFileSync(join(directory, MANIFEST), readFileSync(join(directory, UNARCHIVED)))
}

export interface Archived {
  readonly seconds: number
  /** CPU time of the compressing threads. */
  readonly threadSeconds: number
  /** Of the archives. */
  readonly bytes: number
}

/** All closed segments of the log, compressed, synced, read back and verified. `training`: with a dictionary, which is made first, untimed. */
export async function archiveAll(directory: string, options: ArchiveOptions, training = false): Promise<Archived> {
  const { openArchive } = await import('sealog/archive')
  forgetArchives(directory)
  const log = await openFeedLog(directory)
  const archive = await openArchive(log, { automatic: false, ...options })
  if (training) await archive.train()
  const before = threadSeconds(ARCHIVE_THREAD)
  const begin = performance.now()
  const archived = await archive.run()
  const seconds = (performance.now() - begin) / 1000
  const thread = threadSeconds(ARCHIVE_THREAD) - before
  const bytes = archive.list().reduce((sum, entry) => sum + entry.bytes, 0)
  await archive.close()
  await log.close()
  const { segments } = feedFacts(directory)
  if (archived !== segments) throw new Error(`${archived} of ${segments} segments were archived`)
  return { seconds, threadSeconds: thread, bytes }
}
