import type { OpenMetricsContentType, PrometheusContentType, Registry } from 'prom-client'
import { argumentError } from '../errors.js'
import { LogView } from '../index.js'
import { checkNames } from '../options.js'
import { LogMetrics } from './log-metrics.js'

export interface RegisterOptions {
  /** Value of the label `log`. Default: the log's directory. */
  label?: (log: LogView<unknown>) => string
}

/** Registries of either text format of prom-client 15. */
export type MetricsRegistry = Registry<PrometheusContentType> | Registry<OpenMetricsContentType>

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof RegisterOptions>(['label'])
const metricsOf = new WeakMap<MetricsRegistry, LogMetrics>()

/**
 * Adds the metrics of logs to a registry of prom-client; docs/metrics.md names them. More logs may be added to the same registry at any time. A log that
 * is open for reading only has offsets, reads and serving, no figures of a writer. The function that is returned takes the logs out again, unsubscribes, and
 * with the last log removes the metrics; it is idempotent. A closed log has no figures; its place may be taken by another log of the same directory.
 * Throws ERR_SEALOG_ARGUMENT for what is no log, ERR_SEALOG_OPTION, and ERR_SEALOG_CONFLICT for a directory or label that the registry has already.
 */
export function register(registry: MetricsRegistry, ...logs: readonly LogView<unknown>[]): () => void
export function register(registry: MetricsRegistry, logs: readonly LogView<unknown>[], options?: RegisterOptions): () => void
export function register(
  registry: MetricsRegistry,
  first: LogView<unknown> | readonly LogView<unknown>[],
  ...rest: ReadonlyArray<LogView<unknown> | RegisterOptions | undefined>
): () => void {
  const [logs, options] = isList(first) ? [first, (rest[0] ?? {}) as RegisterOptions] : [[first, ...(rest as readonly LogView<unknown>[])], {}]
  checkNames(options, OPTION_NAMES, 'register')
  for (const log of logs) if (!(log instanceof LogView)) throw argumentError('log', log, 'a log')
  const label = options.label ?? ((log) => log.directory)
  const metrics = metricsOf.get(registry) ?? new LogMetrics(registry)
  const added: LogView<unknown>[] = []
  const unregister = () => {
    for (const log of added.splice(0)) metrics.remove(log)
    if (metrics.size > 0 || metricsOf.get(registry) !== metrics) return
    metricsOf.delete(registry)
    metrics.end()
  }
  metricsOf.set(registry, metrics)
  try {
    for (const log of logs) {
      metrics.add(log, label(log))
      added.push(log)
    }
  } catch (error) {
    unregister()
    throw error
  }
  return unregister
}

function isList(value: unknown): value is readonly LogView<unknown>[] {
  return Array.isArray(value)
}
