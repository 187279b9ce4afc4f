import type { TailCacheStats } from '../cache/tail-cache.js'
import type { Backend } from '../kernels/kernels.js'
import type { Durability } from '../options.js'
import type { SealStats } from '../sealing/sealer.js'
import type { CommitDriver } from './commit-driver.js'

/** A snapshot of a log's figures. Offsets are exclusive ends, bytes are bytes, counts are since the log was opened. */
export interface LogStats {
  readonly backend: Backend
  readonly durability: Durability
  readonly startOffset: number
  readonly committedOffset: number
  readonly durableOffset: number
  readonly endOffset: number
  readonly epoch: number
  readonly segments: number
  /** Groups written and syncs made for this log. */
  readonly groups: number
  readonly syncs: number
  /** Frame bytes of this log, and of all logs of this thread, that wait to be written. */
  readonly queuedBytes: number
  readonly environmentQueuedBytes: number
  /** Segment files that this thread holds open. */
  readonly openFiles: number
  /** Bytes of offset index in memory. */
  readonly indexBytes: number
  /** Space is reserved before it is written; false where the file system or backend cannot. */
  readonly preallocated: boolean
  /** Segments that are full and not yet durable and closed. */
  readonly unclosedSegments: number
  /** Disk work runs on threads of sealog's own. */
  readonly ownThreads: boolean
  /** undefined: the log was opened with `cache: false`. */
  readonly tailCache: TailCacheStats | undefined
  readonly sealing: SealStats
}

export function logStats(
  view: { readonly startOffset: number; readonly epoch: number; readonly chunks: { readonly stats: SealStats } },
  driver: CommitDriver,
): LogStats {
  const { queue, writer, parts } = driver
  const { environment } = parts
  return {
    backend: environment.kernels.backend,
    durability: parts.session.durability,
    startOffset: view.startOffset,
    committedOffset: queue.committedOffset,
    durableOffset: queue.durableOffset,
    endOffset: queue.endOffset,
    epoch: view.epoch,
    segments: parts.segments.all.length,
    groups: queue.groups,
    syncs: queue.syncs,
    queuedBytes: queue.queuedBytes,
    environmentQueuedBytes: environment.queuedBytes,
    openFiles: environment.openFiles,
    indexBytes: parts.segments.all.reduce((sum, segment) => sum + (segment.index?.bytes ?? 0), 0),
    preallocated: writer.preallocated,
    unclosedSegments: writer.unclosed,
    ownThreads: environment.kernels.can.ownThreads,
    tailCache: driver.tail?.stats(queue.committedOffset),
    sealing: view.chunks.stats,
  }
}
