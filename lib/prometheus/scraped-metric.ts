import type { Metric } from 'prom-client'
import type { Labels, MetricDefinition } from './definitions.js'
import type { ObservedLog } from './observed-log.js'

interface Line {
  readonly labels: Labels
  readonly value: number
  readonly metricName?: string
}

/**
 * A metric as registries of prom-client take it: an object that gives its values when it is asked. prom-client's own classes keep values of their own, which
 * these do not need: the logs have them.
 */
export class ScrapedMetric {
  /** Changed by registries of the OpenMetrics format. */
  name: string
  readonly help: string
  readonly type: MetricDefinition['type']
  readonly aggregator = 'sum'
  readonly #definition: MetricDefinition
  readonly #scope: 'log' | 'backend'
  readonly #logs: ReadonlyMap<string, ObservedLog>

  /** Scope `backend`: one log speaks for all that share its environment. */
  constructor(definition: MetricDefinition, scope: 'log' | 'backend', logs: ReadonlyMap<string, ObservedLog>) {
    this.name = definition.name
    this.help = definition.help
    this.type = definition.type
    this.#definition = definition
    this.#scope = scope
    this.#logs = logs
  }

  /** The type that prom-client gives to what it registers; nothing but the members of this class is used of it. */
  get forRegistry(): Metric {
    return this as unknown as Metric
  }

  async get() {
    const { help, name, type, aggregator } = this
    return { help, name, type, aggregator, values: [...this.#lines()] }
  }

  /** The figures are those of the logs: there is nothing to forget here. */
  reset(): void {}

  *#lines(): IterableIterator<Line> {
    const { name } = this.#definition
    const seen = new Set<string>()
    for (const log of this.#logs.values()) {
      if (log.view.closed) continue
      const identity = this.#scope === 'log' ? log.label : log.view.backend
      if (seen.has(identity)) continue
      seen.add(identity)
      for (const { labels, value, suffix } of this.#definition.samples(log)) {
        const line = { labels: { [this.#scope]: identity, ...labels }, value }
        yield suffix === undefined ? line : { ...line, metricName: name + suffix }
      }
    }
  }
}
