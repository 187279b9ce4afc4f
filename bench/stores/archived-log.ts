/** A log of the change feed in segments of 10 MB, whose archives can be made again and again. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Log } from 'sealog'
import { ROOT } from '../harness/paths.js'

export const SEGMENT_BYTES = 10_000_000
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

/** The lines of the feed; one is a change with its key. */
export function feedLines(): Buffer[] {
  const text = gunzipSync(readFileSync(join(ROOT, 'demo/changes.ndjson.gz')))
  const lines: Buffer[] = []
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf(10, at)
    lines.push(text.subarray(at, end < 0 ? text.length : end))
    at = end < 0 ? text.length : end + 1
  }
  return lines.filter((line) => line.length > 0)
}

/** Appends the feed over and over until `segments` segments are closed. */
export async function makeFeedLog(directory: string, segments: number): Promise<void> {
  const log = await openFeedLog(directory)
  const lines = feedLines()
  let records = 0
  while (log.stats().segments <= segments) {
    log.enqueue(lines[records++ % lines.length])
    if (log.writableNeedDrain) await log.drain()
    else if (records % 256 === 0) await log.committed()
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
