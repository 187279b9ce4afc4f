import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { LogError } from '../errors.js'
import type { LogView } from '../index.js'
import type { ChannelMessages } from '../telemetry/channels.js'
import { OF_ENVIRONMENTS, OF_LOGS } from './definitions.js'
import type { MetricsRegistry } from './index.js'
import { ObservedLog } from './observed-log.js'
import { ScrapedMetric } from './scraped-metric.js'

/** The metrics of sealog in one registry, and the logs they are of. Subscribed to the channels until `end`. */
export class LogMetrics {
  readonly #registry: MetricsRegistry
  /** By directory, which is what messages carry. */
  readonly #logs = new Map<string, ObservedLog>()
  readonly #subscriptions: Array<() => void> = []
  readonly #names: string[] = []

  constructor(registry: MetricsRegistry) {
    this.#registry = registry
    try {
      for (const definition of OF_LOGS) this.#add(new ScrapedMetric(definition, 'log', this.#logs))
      for (const definition of OF_ENVIRONMENTS) this.#add(new ScrapedMetric(definition, 'backend', this.#logs))
    } catch (error) {
      this.end()
      throw error
    }
    this.#on('sealog:read', (log, message) => log.read(message))
    this.#on('sealog:cache:hit', (log, { depth }) => log.cacheDepths.observe(depth))
    this.#on('sealog:commit', (log, message) => log.commit(message))
    this.#on('sealog:seal:done', (log, { duration }) => log.seals.observe(duration))
    this.#on('sealog:sendfile:serve', (log, message) => log.transfer(message))
    this.#on('sealog:sendfile:fallback', (log, message) => log.fallback(message))
    this.#on('sealog:sendfile:error', (log, message) => log.brokenTransfer(message))
    this.#on('sealog:error', (log, message) => log.error(message))
  }

  get size(): number {
    return this.#logs.size
  }

  add(view: LogView<unknown>, label: string): void {
    const { directory } = view
    if (this.#logs.get(directory)?.view.closed === true) this.#logs.delete(directory)
    for (const log of this.#logs.values()) {
      if (log.view.directory === directory || log.label === label)
        throw new LogError('ERR_SEALOG_CONFLICT', `the registry has metrics of ${log.view.directory} with label ${log.label} already`)
    }
    this.#logs.set(directory, new ObservedLog(view, label))
  }

  remove(view: LogView<unknown>): void {
    if (this.#logs.get(view.directory)?.view === view) this.#logs.delete(view.directory)
  }

  end(): void {
    for (const stop of this.#subscriptions.splice(0)) stop()
    for (const name of this.#names.splice(0)) this.#registry.removeSingleMetric(name)
  }

  #add(metric: ScrapedMetric): void {
    const { name } = metric
    this.#registry.registerMetric(metric.forRegistry)
    this.#names.push(name)
  }

  #on<Name extends keyof ChannelMessages>(name: Name, count: (log: ObservedLog, message: ChannelMessages[Name]) => void): void {
    const listener = (message: unknown) => {
      const known = message as ChannelMessages[Name]
      const log = this.#logs.get(known.log)
      if (log !== undefined) count(log, known)
    }
    subscribe(name, listener)
    this.#subscriptions.push(() => void unsubscribe(name, listener))
  }
}
