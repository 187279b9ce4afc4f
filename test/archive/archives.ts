import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { type Archive, type ArchiveOptions, openArchive } from '../../lib/archive/index.js'
import { Log, type LogOptions } from '../../lib/index.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { backends, environmentOf } from '../support/backends.js'
import type { Random } from '../support/random.js'

/** Backends that can compress; on Node 20 the twin cannot. */
export const archivers: Backend[] = backends.filter((backend) => environmentOf(backend).kernels.can.compress)

export const OPTIONS: LogOptions = { segmentBytes: 4096, idleMarkMs: 3_600_000, syncIntervalMs: 3_600_000, cache: false }

/** Records of many shapes: empty, with keys, tombstones, batches, some larger than a block. */
export async function fill(log: Log, records: number, random: Random, largest = 600): Promise<void> {
  let left = records
  while (left > 0) {
    const batch = Array.from({ length: Math.min(left, 1 + random.below(6)) }, (_, i) => {
      const key = random.below(3) === 0 ? `key ${random.below(50)}` : undefined
      if (key !== undefined && random.below(10) === 0) return { key, tombstone: true as const }
      const value = Buffer.from(`${'value '.repeat(random.below(largest / 6))}${left - i}`)
      return key === undefined ? { value } : { key, value }
    })
    left -= batch.length
    await log.appendRecords(batch)
  }
}

export interface Opened {
  readonly log: Log
  readonly archive: Archive
}

export async function openBoth(directory: string, backend: Backend, options: LogOptions = {}, archive: ArchiveOptions = {}): Promise<Opened> {
  const log = await Log.open(directory, { ...OPTIONS, backend, ...options })
  return { log, archive: await openArchive(log, { automatic: false, blockBytes: 4096, ...archive }) }
}

/** Ends the active segment: everything so far is in closed ones. */
export function roll(log: Log): Promise<void> {
  return log.commitDriver().roll()
}

/** Everything that readers can see of the records, as one digest. */
export async function digest(log: { batches: Log['batches'] }): Promise<string> {
  const hash = createHash('sha256')
  for await (const batch of log.batches({ maxBytes: 16 * 1024 })) {
    for (let i = 0; i < batch.length; i++) {
      hash.update(`${batch.offset(i)} ${batch.timestamp(i)} ${batch.batch(i)} ${batch.tombstone(i)} ${Buffer.from(batch.key(i) ?? []).toString('hex')}\n`)
      hash.update(batch.bytes(i))
    }
  }
  return hash.digest('hex')
}

/** sha256 of every segment file. */
export function segmentHashes(directory: string): Map<string, string> {
  const folder = path.join(directory, 'segments')
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.log'))
  return new Map(
    names.sort().map((name) => [
      name,
      createHash('sha256')
        .update(fs.readFileSync(path.join(folder, name)))
        .digest('hex'),
    ]),
  )
}

export function archiveNames(directory: string): string[] {
  const folder = path.join(directory, 'archive')
  return fs.existsSync(folder) ? fs.readdirSync(folder).sort() : []
}
