import type { LogReader, RecordBatch } from '../index.js'
import { archivedSegment } from '../log/closed-segment.js'
import { type ClosedSegment, Manifest } from '../log/manifest.js'
import { BlockRequest } from '../log/read-block.js'

const BLOCK_BYTES = 1024 * 1024

/** An archived segment, in the log or in front of it. */
export type ArchivedFacts = ClosedSegment & { readonly archive: NonNullable<ClosedSegment['archive']>; readonly history: boolean }

/** What MANIFEST says about archives, in order of their offsets; it needs no lock. */
export async function archivesOf(reader: LogReader<unknown>): Promise<{ readonly archived: ArchivedFacts[]; readonly closed: readonly ClosedSegment[] }> {
  const { kernels, runner } = reader.environment
  const manifest = await runner.run(Manifest.load(reader.directory, kernels))
  const { closed = [], history = [] } = manifest?.state ?? {}
  const entry = (segment: ClosedSegment, isHistory: boolean): ArchivedFacts[] =>
    segment.archive === undefined ? [] : [{ ...segment, archive: segment.archive, history: isHistory }]
  return { archived: [...history.flatMap((segment) => entry(segment, true)), ...closed.flatMap((segment) => entry(segment, false))], closed }
}

/** The records of archived segments at from … to (exclusive), read from the archives even where the segment files are there. */
export async function* archivedBatches(
  reader: LogReader<unknown>,
  archived: readonly ArchivedFacts[],
  from: number,
  to: number,
): AsyncGenerator<RecordBatch<unknown>> {
  for (const facts of archived) {
    const segment = facts.end <= from || facts.base >= to ? undefined : archivedSegment(reader.directory, facts, reader.archiveDirectory)
    if (segment === undefined) continue
    const request = new BlockRequest(reader.codec, BLOCK_BYTES, 4096)
    request.limit = Math.min(to, facts.end)
    try {
      for (let offset = Math.max(from, facts.base); offset < request.limit; ) {
        await reader.environment.runner.run(reader.block(segment, offset, request))
        const batch = request.result
        if (batch === undefined) break
        yield batch
        offset = batch.nextOffset
      }
    } finally {
      segment.retired = true
      reader.environment.forget(segment)
      await reader.environment.runner.run(segment.release())
    }
  }
}
