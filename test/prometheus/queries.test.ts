/** Queries and rules of docs/metrics.md: by name always, by Prometheus itself where it is installed. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createSocket } from 'node:net'
import path from 'node:path'
import { Registry } from 'prom-client'
import { afterAll, describe, expect, it } from 'vitest'
import { Log } from '../../lib/index.js'
import { OF_ENVIRONMENTS, OF_LOGS } from '../../lib/prometheus/definitions.js'
import { register } from '../../lib/prometheus/index.js'
import { backends } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { bytes, range } from '../support/logs.js'

const document = readFileSync('docs/metrics.md', 'utf8')
const queries = [...document.matchAll(/^```promql\n([\s\S]*?)\n```$/gm)].map(([, query]) => query)
const rules = /^```yaml\n([\s\S]*?)^```$/m.exec(document)?.[1] ?? ''
const expressions = [...rules.matchAll(/expr: (?:>-\n)?([\s\S]*?)\n +(?:for|labels):/g)].map(([, expression]) => expression.trim().replace(/\s+/g, ' '))
const metrics = new Map<string, string>([...OF_LOGS, ...OF_ENVIRONMENTS].map(({ name, type }) => [name, type]))

it.each([...queries, ...expressions])('%s: names metrics that exist, by the rules of their types', (query) => {
  const names = [...query.matchAll(/\bsealog_\w+/g)]
  expect(names.length).toBeGreaterThan(0)
  for (const { 0: name, index } of names) {
    const base = name.replace(/_(bucket|sum|count)$/, '')
    const type = metrics.get(name) ?? (metrics.get(base) === 'histogram' ? 'histogram' : undefined)
    expect([name, type]).not.toEqual([name, undefined])
    expect([name, type === 'histogram' && name === base]).toEqual([name, false])
    // Counters and buckets only ever rise: it is their rate that says something.
    const isRate = /\b(rate|increase)\($/.test(query.slice(0, index))
    expect([name, isRate]).toEqual([name, type !== 'gauge'])
    if (name.endsWith('_bucket')) expect(query).toMatch(/histogram_quantile\(0\.\d+, sum by \([^)]*\ble\b[^)]*\) \(rate\(/)
  }
})

it('has queries and rules at all', () => {
  expect([queries.length, expressions.length]).toEqual([16, 9])
})

const missing = ['promtool', 'prometheus'].filter((program) => spawnSync(program, ['--version']).status !== 0)
if (missing.length > 0) console.warn(`SKIPPED: queries by Prometheus: ${missing.join(' and ')} not installed`)

describe.skipIf(missing.length > 0)('Prometheus', () => {
  const directory = makeDirectory('prometheus')
  let server: ChildProcess | undefined
  afterAll(() => server?.kill())

  it('accepts the rules', () => {
    const file = path.join(directory, 'rules.yml')
    writeFileSync(file, rules)
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', '--lint-fatal', file], { encoding: 'utf8' })
    expect({ status, output: stdout + stderr }).toEqual({ status: 0, output: expect.stringContaining(`${expressions.length} rules found`) })
  })

  it('answers every query for a log at work', async () => {
    const log = await Log.open<number>(freshPath(), { backend: backends[0], codec: 'json', seal: 'json', chunkBytes: 4096, cache: { records: 100 } })
    const registry = new Registry()
    const unregister = register(registry, [log], { label: () => 'orders' })
    const page = createServer(async (_, res) => res.end(await registry.metrics()))
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
    const port = await freePort()
    writeFileSync(path.join(directory, 'rules.yml'), rules)
    writeFileSync(
      path.join(directory, 'prometheus.yml'),
      `global: { scrape_interval: 200ms, evaluation_interval: 200ms }
rule_files: [rules.yml]
scrape_configs: [{ job_name: sealog, static_configs: [{ targets: ['127.0.0.1:${(page.address() as AddressInfo).port}'] }] }]
`,
    )
    const url = `127.0.0.1:${port}`
    server = spawn('prometheus', [`--config.file=${directory}/prometheus.yml`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=${url}`])
    let output = ''
    server.stderr?.on('data', (text) => (output += text))
    let answers: Array<number | undefined> = []
    try {
      const deadline = Date.now() + 60_000
      do {
        await work(log)
        answers = await Promise.all([...queries, 'ALERTS{alertname="SealogErrors"}'].map((query) => ask(url, query)))
        if (Date.now() > deadline) throw new Error(`no answers in time: ${JSON.stringify(answers)}\n${output.slice(-2000)}`)
      } while (!answers.every((answer) => answer !== undefined && Number.isFinite(answer)))
    } finally {
      const ended = once(server, 'exit')
      server.kill()
      await ended
      unregister()
      page.closeAllConnections()
      page.close()
      await log.close()
    }
    const answerOf = (part: string) => answers[queries.findIndex((query) => query.includes(part))] as number
    expect(answerOf('sealog_cache_hits_total')).toBeGreaterThan(0)
    expect(answerOf('sealog_cache_hits_total')).toBeLessThanOrEqual(1)
    expect(answerOf('sealog_commit_duration_seconds_bucket')).toBeLessThanOrEqual(10)
  })
})

/** A little of everything that is counted. */
async function work(log: Log<number>): Promise<void> {
  const base = log.endOffset
  await log.appendBatch(range(base, base + 500))
  for (const offset of [base + 499, base + 450, base]) log.getSync(offset)
  await log.chunks.seal()
  const { directory } = log
  channel('sealog:sendfile:serve').publish({ log: directory, duration: 0.01, bytes: 4096, chunk: 0 })
  channel('sealog:sendfile:fallback').publish({ log: directory, reason: 'too_small', offset: 0 })
  channel('sealog:error').publish({ log: directory, operation: 'serve', code: 'ERR_SEALOG_IO' })
  await new Promise((resolve) => setTimeout(resolve, 100))
}

/** The first value of a query; undefined while there is none. */
async function ask(url: string, query: string): Promise<number | undefined> {
  const response = await fetch(`http://${url}/api/v1/query?${new URLSearchParams({ query })}`).catch(() => undefined)
  if (response === undefined || response.status === 503) return undefined
  const answer = (await response.json()) as { status: string; error?: string; data: { result: Array<{ value: [number, string] }> } }
  expect([query, answer.error]).toEqual([query, undefined])
  const [, text] = answer.data.result[0]?.value ?? []
  return text === undefined ? undefined : Number(text)
}

async function freePort(): Promise<number> {
  const socket = createSocket()
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise((resolve) => socket.close(resolve))
  return port
}

// What the names above stand for must be in the text that the registry gives.
it('the names are those of the registry', async () => {
  const log = await Log.open(freshPath(), { backend: 'js' })
  const registry = new Registry()
  const unregister = register(registry, log)
  await log.append(bytes('x'))
  const text = await registry.metrics()
  for (const [name, type] of metrics) expect(text).toContain(`# TYPE ${name} ${type}\n`)
  unregister()
  await log.close()
})
