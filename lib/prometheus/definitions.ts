import type { BucketCounts } from './bucket-counts.js'
import type { ObservedLog } from './observed-log.js'

export type Labels = { readonly [name: string]: string }

/** A line of the page, but for the label of the log. `suffix` goes behind the metric's name. */
export interface Sample {
  readonly labels: Labels
  readonly value: number
  readonly suffix?: '_bucket' | '_sum' | '_count'
}

/** A metric: its values of a log are taken when it is scraped. */
export interface MetricDefinition {
  readonly name: `sealog_${string}`
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  samples(log: ObservedLog): Iterable<Sample>
}

type Name = MetricDefinition['name']
type Value = (log: ObservedLog) => number | undefined

function single(type: 'counter' | 'gauge', name: Name, help: string, value: Value): MetricDefinition {
  const samples = (log: ObservedLog): Sample[] => {
    const now = value(log)
    return now === undefined ? [] : [{ labels: {}, value: now }]
  }
  return { name, type, help, samples }
}

const gauge = (name: Name, help: string, value: Value) => single('gauge', name, help, value)
const counter = (name: Name, help: string, value: Value) => single('counter', name, help, value)

type Series = (log: ObservedLog) => Iterable<{ readonly labels: Labels; readonly count: number }>

function several(type: 'counter' | 'gauge', name: Name, help: string, series: Series): MetricDefinition {
  const samples = (log: ObservedLog): Sample[] => [...series(log)].map(({ labels, count }) => ({ labels, value: count }))
  return { name, type, help, samples }
}

const gauges = (name: Name, help: string, series: Series) => several('gauge', name, help, series)
const counters = (name: Name, help: string, series: Series) => several('counter', name, help, series)

function perTier({ recordCache }: ObservedLog, figure: 'size' | 'bytes' | 'hitCount') {
  return recordCache === undefined ? [] : (['hot', 'warm'] as const).map((tier) => ({ labels: { tier }, count: recordCache[tier][figure] }))
}

function histogram(
  name: Name,
  help: string,
  series: (log: ObservedLog) => Iterable<{ readonly labels: Labels; readonly counts: BucketCounts }>,
): MetricDefinition {
  return {
    name,
    type: 'histogram',
    help,
    *samples(log) {
      for (const { labels, counts } of series(log)) {
        let count = 0
        for (const [bound, upTo] of counts.cumulative()) {
          yield { labels: { ...labels, le: bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound) }, value: upTo, suffix: '_bucket' }
          count = upTo
        }
        yield { labels, value: counts.sum, suffix: '_sum' }
        yield { labels, value: count, suffix: '_count' }
      }
    },
  }
}

/** Figures of the log itself; those of a writer are absent for a log that is open for reading only. */
export const OF_LOGS: readonly MetricDefinition[] = [
  gauge('sealog_start_offset', 'First offset that is kept', ({ view }) => view.startOffset),
  gauge('sealog_committed_offset', 'End of the records that may be read, exclusive', ({ view }) => view.committedOffset),
  gauge('sealog_durable_offset', 'End of the records that survive a power loss, exclusive', ({ view }) => view.durableOffset),
  gauge('sealog_end_offset', 'End of the records that were accepted, exclusive', ({ stats }) => stats?.endOffset),
  gauge('sealog_epoch', 'Rises whenever committed records are cut', ({ view }) => view.epoch),
  gauge('sealog_failed', '1 while the log accepts nothing because a write or sync failed', ({ failed }) => (failed === undefined ? undefined : Number(failed))),
  gauge('sealog_segments', 'Segment files', ({ stats }) => stats?.segments),
  gauge('sealog_unclosed_segments', 'Segments that are full and not yet durable and closed', ({ stats }) => stats?.unclosedSegments),
  gauge('sealog_index_bytes', 'Memory of the offset index', ({ stats }) => stats?.indexBytes),
  gauge('sealog_queued_bytes', 'Frame bytes of the log that wait to be written', ({ stats }) => stats?.queuedBytes),

  histogram('sealog_commit_duration_seconds', 'Commits, since the oldest record of the commit was accepted', ({ commits, failed }) =>
    failed === undefined ? [] : [{ labels: {}, counts: commits }],
  ),
  counter('sealog_committed_records_total', 'Records committed', ({ committedRecords, failed }) => (failed === undefined ? undefined : committedRecords)),
  counter('sealog_groups_total', 'Groups of records written', ({ stats }) => stats?.groups),
  counter('sealog_syncs_total', 'Syncs of segment files', ({ stats }) => stats?.syncs),
  histogram('sealog_read_duration_seconds', 'Reads', ({ reads }) => [...reads].map(({ labels, durations }) => ({ labels, counts: durations }))),
  counters('sealog_read_records_total', 'Records given by reads', ({ reads }) => reads),
  counters('sealog_errors_total', 'Failed operations', ({ errors }) => errors),

  histogram('sealog_cache_depth_records', 'Distance of cache hits from the committed end', ({ cacheDepths, stats }) =>
    stats?.tailCache === undefined ? [] : [{ labels: {}, counts: cacheDepths }],
  ),
  gauge('sealog_cache_records', 'Records in the tail cache', ({ stats }) => stats?.tailCache?.size),
  gauge('sealog_cache_bytes', 'Memory of the tail cache', ({ stats }) => stats?.tailCache?.bytes),
  counter('sealog_cache_hits_total', 'Reads answered from the tail cache', ({ stats }) => stats?.tailCache?.hitCount),
  counter('sealog_cache_misses_total', 'Reads below the committed end that the tail cache could not answer', ({ stats }) => stats?.tailCache?.missCount),
  counters('sealog_cache_evictions_total', 'Records that left the tail cache', ({ stats }) =>
    Object.entries(stats?.tailCache?.evictions ?? {}).map(([reason, count]) => ({ labels: { reason }, count })),
  ),

  gauges('sealog_record_cache_records', 'Records in the record cache of a store', (log) => perTier(log, 'size')),
  gauges('sealog_record_cache_bytes', 'Memory of the record cache of a store', (log) => perTier(log, 'bytes')),
  counters('sealog_record_cache_hits_total', 'Reads of keys answered from the record cache', (log) => perTier(log, 'hitCount')),
  counter('sealog_record_cache_misses_total', 'Reads of keys that the record cache could not answer', ({ recordCache }) => recordCache?.missCount),
  counter('sealog_record_cache_demotions_total', 'Records that moved from hot to warm', ({ recordCache }) => recordCache?.demotions),
  counters('sealog_record_cache_evictions_total', 'Records that left the record cache', ({ recordCache }) =>
    Object.entries(recordCache?.evictions ?? {}).map(([reason, count]) => ({ labels: { reason }, count })),
  ),

  histogram('sealog_seal_duration_seconds', 'Chunks sealed', ({ seals, failed }) => (failed === undefined ? [] : [{ labels: {}, counts: seals }])),
  counter('sealog_sealed_chunks_total', 'Chunks sealed', ({ stats }) => stats?.sealing.sealedChunks),
  counter('sealog_sealed_bytes_total', 'Bytes of sealed chunks', ({ stats }) => stats?.sealing.sealedBytes),
  counter('sealog_seal_failures_total', 'Failed attempts to seal a chunk; each is tried again', ({ stats }) => stats?.sealing.sealFailures),

  histogram('sealog_sendfile_duration_seconds', 'Transfers by sendfile that ended well', ({ transfers }) => [{ labels: {}, counts: transfers }]),
  counter('sealog_sendfile_bytes_total', 'Bytes sent by sendfile', ({ sendfileBytes }) => sendfileBytes),
  counters('sealog_sendfile_fallbacks_total', 'Answers that took another way than sendfile', ({ fallbacks }) => fallbacks),
  counters('sealog_sendfile_errors_total', 'Transfers by sendfile that were broken off', ({ sendfileErrors }) => sendfileErrors),
]

/** Budgets that all logs of a backend share; label `backend` in the place of `log`. */
export const OF_ENVIRONMENTS: readonly MetricDefinition[] = [
  gauge('sealog_environment_queued_bytes', 'Frame bytes of all logs of the thread that wait to be written', ({ view }) => view.environment.queuedBytes),
  gauge('sealog_open_files', 'Segment files that the thread holds open', ({ view }) => view.environment.openFiles),
]
