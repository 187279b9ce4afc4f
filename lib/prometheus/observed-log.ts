import { Log, type LogStats, type LogView, type RecordCacheStats } from '../index.js'
import type { ChannelMessages } from '../telemetry/channels.js'
import { BucketCounts, RECORDS, SECONDS } from './bucket-counts.js'

type Messages = ChannelMessages

/** What was counted under one combination of labels. */
class Series<Labels> {
  readonly labels: Labels
  count = 0
  readonly durations = new BucketCounts(SECONDS)

  constructor(labels: Labels) {
    this.labels = labels
  }
}

/** Series by the values of their labels, in the order in which they appeared. */
export class SeriesMap<Labels> implements Iterable<Series<Labels>> {
  readonly #series = new Map<string, Series<Labels>>()

  /** `key` stands for the values of `labels`, which are made for a new series only. */
  get(key: string, labels: () => Labels): Series<Labels> {
    let series = this.#series.get(key)
    if (series === undefined) {
      series = new Series(labels())
      this.#series.set(key, series)
    }
    return series
  }

  [Symbol.iterator](): Iterator<Series<Labels>> {
    return this.#series.values()
  }
}

/** A log in a registry: its figures at this moment, and what was counted of its events since it was added. */
export class ObservedLog {
  readonly view: LogView<unknown>
  readonly label: string
  readonly reads = new SeriesMap<{ readonly operation: string; readonly source: string }>()
  readonly cacheDepths = new BucketCounts(RECORDS)
  readonly commits = new BucketCounts(SECONDS)
  committedRecords = 0
  readonly seals = new BucketCounts(SECONDS)
  readonly transfers = new BucketCounts(SECONDS)
  sendfileBytes = 0
  readonly sendfileErrors = new SeriesMap<{ readonly code: string }>()
  readonly fallbacks = new SeriesMap<{ readonly reason: string }>()
  readonly errors = new SeriesMap<{ readonly operation: string; readonly code: string }>()
  #stats: LogStats | undefined

  constructor(view: LogView<unknown>, label: string) {
    this.view = view
    this.label = label
  }

  /** Of a writer. All metrics of one scrape are collected in one turn and see the same figures. */
  get stats(): LogStats | undefined {
    if (this.#stats === undefined && this.view instanceof Log) {
      this.#stats = this.view.stats()
      queueMicrotask(() => {
        this.#stats = undefined
      })
    }
    return this.#stats
  }

  /** Of the store that the log belongs to. */
  get recordCache(): RecordCacheStats | undefined {
    return this.view.recordCache?.stats()
  }

  get failed(): boolean | undefined {
    return this.view instanceof Log ? this.view.failure !== undefined : undefined
  }

  read({ operation, source, duration, records }: Messages['sealog:read']): void {
    const series = this.reads.get(operation + source, () => ({ operation, source }))
    series.durations.observe(duration)
    series.count += records
  }

  commit({ duration, records }: Messages['sealog:commit']): void {
    this.commits.observe(duration)
    this.committedRecords += records
  }

  transfer({ duration, bytes }: Messages['sealog:sendfile:serve']): void {
    this.transfers.observe(duration)
    this.sendfileBytes += bytes
  }

  brokenTransfer({ code, bytes }: Messages['sealog:sendfile:error']): void {
    this.sendfileErrors.get(code, () => ({ code })).count++
    this.sendfileBytes += bytes
  }

  fallback({ reason }: Messages['sealog:sendfile:fallback']): void {
    this.fallbacks.get(reason, () => ({ reason })).count++
  }

  error({ operation, code }: Messages['sealog:error']): void {
    this.errors.get(`${operation} ${code}`, () => ({ operation, code })).count++
  }
}
