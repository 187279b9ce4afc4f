import type { IncomingMessage, ServerResponse } from 'node:http'
import { LogError } from '../errors.js'
import type { LogView } from '../index.js'

/** Answers scrapes with the metrics of the logs added so far. */
export interface Metrics {
  add(log: LogView<unknown>): void
  answer(req: IncomingMessage, res: ServerResponse): void
  close(): void
}

/** ERR_SEALOG_UNSUPPORTED when prom-client, which sealog does not bring along, is not installed. */
export async function createMetrics(): Promise<Metrics> {
  const { Registry, collectDefaultMetrics } = await loadPromClient()
  const { register } = await import('../prometheus/index.js')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const unregister: Array<() => void> = []
  return {
    add: (log) => unregister.push(register(registry, log)),
    answer: (_req, res) => {
      registry.metrics().then(
        (text) => res.writeHead(200, { 'content-type': registry.contentType, 'cache-control': 'no-store' }).end(text),
        (error: unknown) => res.destroy(error instanceof Error ? error : undefined),
      )
    },
    close: () => {
      for (const end of unregister) end()
      registry.clear()
    },
  }
}

async function loadPromClient(): Promise<typeof import('prom-client')> {
  try {
    return (await import('prom-client')).default
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new LogError('ERR_SEALOG_UNSUPPORTED', 'metrics need the package prom-client: npm install prom-client', { cause: error })
  }
}
