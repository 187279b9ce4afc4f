import { execFile } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Counter, type OpenMetricsContentType, Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import { Log, type LogOptions, type LogView } from '../../lib/index.js'
import { type MetricsRegistry, register } from '../../lib/prometheus/index.js'
// @ts-expect-error: a script, without types
import * as script from '../../scripts/check-metrics.mjs'
import { start, until } from '../cli/command.js'
import { backends, testingOf } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { bytes, codeOf, readAll } from '../support/logs.js'

interface Family {
  readonly type: string
  readonly samples: ReadonlyArray<{ readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }>
}
const checkPage = script.checkPage as (text: string) => string[]
const parsePage = script.parsePage as (text: string) => Map<string, Family>
const documented = (script.documentedMetrics as () => Map<string, { reader: boolean }>)()

const undo: Array<() => unknown> = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

async function openLog(backend: LogOptions['backend'], options: LogOptions = {}): Promise<Log> {
  const log = await Log.open(freshPath(), { backend, ...options })
  undo.push(() => log.close().catch(() => {}))
  return log
}

/** The page as a scrape over HTTP gives it. */
async function serve(registry: MetricsRegistry): Promise<string> {
  const server = createServer(async (_, res) => {
    res.writeHead(200, { 'content-type': registry.contentType })
    res.end(await registry.metrics())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`
}

async function scrape(url: string): Promise<string> {
  const response = await fetch(url)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0.0.4/)
  return response.text()
}

/** The value of the one sample with these labels (`log` apart); undefined: there is none. */
function sampleOf(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
  const family = name.replace(/_(count|sum|bucket)$/, '')
  const samples = (parsePage(text).get(family) ?? parsePage(text).get(name))?.samples ?? []
  const found = samples.filter((sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
  expect(found.length).toBeLessThanOrEqual(1)
  return found[0]?.value
}

function runScript(url: string): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['scripts/check-metrics.mjs', url], (error, stdout) => resolve({ code: Number(error?.code ?? 0), stdout }))
  })
}

const CHANNELS = ['sealog:read', 'sealog:commit', 'sealog:error', 'sealog:cache:hit', 'sealog:seal:done', 'sealog:sendfile:serve']
const subscribed = () => [...CHANNELS, 'sealog:sendfile:fallback', 'sealog:sendfile:error'].filter((name) => channel(name).hasSubscribers)

describe.each(backends)('metrics (%s)', (backend) => {
  it('a scrape has every documented metric and no other, with the figures of the log', async () => {
    const log = await openLog(backend, { cache: { records: 50 } })
    const registry = new Registry()
    undo.push(register(registry, log))
    const url = await serve(registry)
    for (let i = 0; i < 100; i++) await log.append(bytes(`record ${i}`))
    await log.appendBatch(Array.from({ length: 20 }, () => bytes('batch')))
    for (let i = 0; i < 120; i += 10) log.getSync(i)
    await log.get(3)
    expect((await readAll(log)).length).toBe(120)
    const text = await scrape(url)
    expect(checkPage(text)).toEqual([])
    const stats = log.stats()
    const expected = {
      sealog_start_offset: 0,
      sealog_committed_offset: 120,
      sealog_durable_offset: 120,
      sealog_end_offset: 120,
      sealog_epoch: log.epoch,
      sealog_failed: 0,
      sealog_segments: 1,
      sealog_queued_bytes: 0,
      sealog_committed_records_total: 120,
      sealog_groups_total: stats.groups,
      sealog_syncs_total: stats.syncs,
      sealog_commit_duration_seconds_count: stats.groups,
      sealog_cache_hits_total: stats.tailCache?.hitCount,
      sealog_cache_misses_total: stats.tailCache?.missCount,
      sealog_cache_records: stats.tailCache?.size,
      sealog_cache_bytes: stats.tailCache?.bytes,
      sealog_cache_depth_records_count: stats.tailCache?.hitCount,
      sealog_environment_queued_bytes: 0,
    }
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, sampleOf(text, name)]))).toEqual(expected)
    expect(stats.tailCache?.hitCount).toBeGreaterThan(0)
    expect(sampleOf(text, 'sealog_cache_evictions_total', { reason: 'records' })).toBe(stats.tailCache?.evictions.records)
    const reads = (operation: string, source: string) => sampleOf(text, 'sealog_read_duration_seconds_count', { operation, source }) ?? 0
    expect(reads('getSync', 'cache') + reads('getSync', 'segment')).toBe(12)
    expect(reads('get', 'segment')).toBe(1)
    const read = parsePage(text).get('sealog_read_records_total')?.samples ?? []
    expect(read.reduce((sum, { value }) => sum + value, 0)).toBe(12 + 1 + 120)
    expect(parsePage(text).get('sealog_cache_hits_total')?.samples[0].labels).toEqual({ log: log.directory })
  })

  it('T48: failures are counted by operation and code', async () => {
    const log = await openLog(backend)
    const registry = new Registry()
    undo.push(register(registry, log))
    await log.append(bytes('good'))
    testingOf(backend).fault('datasync', 1, 5, false, 0)
    undo.push(() => testingOf(backend).clearFaults())
    expect(await codeOf(() => log.append(bytes('lost')))).toBe('ERR_SEALOG_FAILED')
    const text = await registry.metrics()
    expect(sampleOf(text, 'sealog_errors_total', { operation: 'append', code: 'ERR_SEALOG_FAILED' })).toBe(1)
    expect([sampleOf(text, 'sealog_failed'), sampleOf(text, 'sealog_committed_records_total')]).toEqual([1, 1])
  })

  it('sealing and serving are counted from their events', async () => {
    const log = await openLog(backend, { codec: 'json', seal: 'json' } as LogOptions)
    const registry = new Registry()
    undo.push(register(registry, [log], { label: () => 'orders "1"\n' }))
    await (log as unknown as Log<number>).appendBatch([1, 2, 3] as number[])
    const chunks = await log.chunks.seal()
    const directory = log.directory
    channel('sealog:sendfile:serve').publish({ log: directory, duration: 0.02, bytes: 1000, chunk: 0 })
    channel('sealog:sendfile:serve').publish({ log: `${directory}-other`, duration: 0.02, bytes: 1000, chunk: 0 })
    channel('sealog:sendfile:error').publish({ log: directory, code: 'EPIPE', bytes: 10, chunk: 0 })
    channel('sealog:sendfile:fallback').publish({ log: directory, reason: 'tls', offset: 0 })
    channel('sealog:sendfile:fallback').publish({ log: directory, reason: 'tls', offset: 4 })
    const text = await registry.metrics()
    expect(checkPage(text)).toEqual([])
    const labels = { log: 'orders "1"\n' }
    expect(sampleOf(text, 'sealog_sealed_chunks_total', labels)).toBe(1)
    expect(sampleOf(text, 'sealog_sealed_bytes_total', labels)).toBe(chunks[0].bytes)
    expect(sampleOf(text, 'sealog_seal_duration_seconds_count', labels)).toBe(1)
    expect(sampleOf(text, 'sealog_sendfile_bytes_total', labels)).toBe(1010)
    expect(sampleOf(text, 'sealog_sendfile_duration_seconds_bucket', { ...labels, le: '0.025' })).toBe(1)
    expect(sampleOf(text, 'sealog_sendfile_duration_seconds_bucket', { ...labels, le: '0.01' })).toBe(0)
    expect(sampleOf(text, 'sealog_sendfile_errors_total', { ...labels, code: 'EPIPE' })).toBe(1)
    expect(sampleOf(text, 'sealog_sendfile_fallbacks_total', { ...labels, reason: 'tls' })).toBe(2)
  })

  it('logs come and go, and leave nothing behind', async () => {
    const registry = new Registry()
    const mine = new Counter({ name: 'mine_total', help: 'x', registers: [registry] })
    const [first, second] = [await openLog(backend), await openLog(backend)]
    const logsOf = async () => {
      const families = [...parsePage(await registry.metrics()).values()]
      return new Set(families.flatMap(({ samples }) => samples.flatMap(({ labels }) => labels.log ?? [])))
    }
    const before = subscribed()
    const unregisterFirst = register(registry, first)
    const unregisterSecond = register(registry, second)
    expect(await codeOf(() => register(registry, second))).toBe('ERR_SEALOG_CONFLICT')
    for (const log of [first, second]) {
      await log.append(bytes('x'))
      log.getSync(0)
    }
    expect(await logsOf()).toEqual(new Set([first.directory, second.directory]))
    unregisterFirst()
    unregisterFirst()
    expect(await logsOf()).toEqual(new Set([second.directory]))
    expect(await codeOf(() => register(registry, [first, second]))).toBe('ERR_SEALOG_CONFLICT')
    expect(await logsOf()).toEqual(new Set([second.directory]))
    expect(subscribed().length).toBe(8)
    await second.close()
    expect(checkPage(await registry.metrics())).toEqual([])
    const again = await Log.open(second.directory, { backend })
    undo.push(() => again.close())
    const unregisterAgain = register(registry, again)
    unregisterSecond()
    expect(sampleOf(await registry.metrics(), 'sealog_committed_offset')).toBe(1)
    unregisterAgain()
    expect([registry.getMetricsAsArray(), subscribed()]).toEqual([[mine], before])
  })

  it('a reader has offsets, reads and serving, and no figures of a writer', async () => {
    const log = await openLog(backend)
    await log.appendBatch([bytes('a'), bytes('b')])
    const reader: LogView<unknown> = await Log.openReader(log.directory, { backend })
    undo.push(() => (reader as unknown as Log).close())
    const registry = new Registry()
    undo.push(register(registry, reader))
    reader.getSync(1)
    for (const name of ['serve', 'fallback', 'error']) {
      channel(`sealog:sendfile:${name}`).publish({ log: log.directory, duration: 1, bytes: 1, chunk: 0, reason: 'tls', offset: 0, code: 'EPIPE' })
    }
    channel('sealog:error').publish({ log: log.directory, operation: 'serve', code: 'ERR_SEALOG_IO' })
    const text = await registry.metrics()
    expect(checkPage(text)).toEqual([])
    const given = [...parsePage(text)].filter(([, { samples }]) => samples.length > 0).map(([name]) => name)
    expect(given.sort()).toEqual([...documented].flatMap(([name, { reader: has }]) => (has ? [name] : [])).sort())
  })
})

it('names in use, options and other things than logs are refused, and nothing stays registered', async () => {
  const registry = new Registry()
  const log = await openLog('js')
  const taken = new Counter({ name: 'sealog_syncs_total', help: 'x', registers: [registry] })
  expect(() => register(registry, log)).toThrow('sealog_syncs_total')
  expect([registry.getMetricsAsArray(), subscribed()]).toEqual([[taken], []])
  registry.clear()
  expect(await codeOf(() => register(registry, {} as LogView<unknown>))).toBe('ERR_SEALOG_ARGUMENT')
  expect(await codeOf(() => register(registry, [log], { lable: () => '' } as object))).toBe('ERR_SEALOG_OPTION')
  expect(registry.getMetricsAsArray()).toEqual([])
})

it('registries of the OpenMetrics format, default labels and JSON are served too', async () => {
  const log = await openLog('js')
  const registry = new Registry<OpenMetricsContentType>()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
  registry.setDefaultLabels({ host: 'a' })
  const unregister = register(registry, log)
  await log.append(bytes('x'))
  for (const text of [await registry.metrics(), await registry.metrics()]) {
    expect(text).toContain('# TYPE sealog_groups counter\nsealog_groups_total{')
    expect(text).toMatch(/\nsealog_commit_duration_seconds_count\{.*host="a".*\} 1\n/)
    expect(text.endsWith('# EOF\n')).toBe(true)
  }
  const json = await registry.getMetricsAsJSON()
  expect(json.find(({ name }) => name === 'sealog_durable_offset')).toMatchObject({ values: [{ labels: { log: log.directory, host: 'a' }, value: 1 }] })
  registry.resetMetrics()
  unregister()
  expect(registry.getMetricsAsArray()).toEqual([])
})

it('the script accepts a good page and names what is wrong with a bad one', async () => {
  const log = await openLog('js')
  const registry = new Registry()
  undo.push(register(registry, log))
  await log.append(bytes('x'))
  const url = await serve(registry)
  const good = await runScript(url)
  expect(good).toMatchObject({ code: 0, stdout: `${documented.size} metrics of 1 log, all as documented\n` })
  const text = await registry.metrics()
  const spoil: Array<[RegExp, string, string]> = [
    [/# TYPE sealog_epoch gauge\n/, '# TYPE sealog_epoch counter\n', 'sealog_epoch is a counter, not a gauge'],
    [/sealog_segments\{log/, 'sealog_segments{path', 'sealog_segments has the labels path, not log'],
    [/# HELP sealog_failed [\s\S]*?\n\n/, '', 'sealog_failed is missing'],
    [/(sealog_commit_duration_seconds_count\{.*\}) 1/, '$1 2', 'the last bucket does not hold all'],
    [/$/, '\n# HELP sealog_new x\n# TYPE sealog_new gauge\n', 'sealog_new is not documented'],
  ]
  for (const [pattern, replacement, problem] of spoil) {
    expect(pattern.test(text)).toBe(true)
    expect(checkPage(text.replace(pattern, replacement)).join('\n')).toContain(problem)
  }
  expect(() => checkPage('sealog_x 1 2 3\n')).toThrow('not a line of the format')
  registry.clear()
  expect(await runScript(url)).toMatchObject({ code: 1 })
})

it('the script accepts what sealog serve --metrics gives', async () => {
  const log = await openLog('js')
  await log.append(bytes('x'))
  const command = start(['serve', log.directory, '--port', '0', '--json', '--metrics'])
  undo.push(async () => {
    command.child.kill('SIGKILL')
    await command.result
  })
  await until(() => command.stdout().includes('\n'), 'the server listens')
  const { url } = JSON.parse(command.stdout()) as { url: string }
  const [{ code, stdout }, page] = await Promise.all([runScript(`${url}/metrics`), scrape(`${url}/metrics`)])
  expect([code, stdout]).toEqual([0, `${documented.size} metrics of 1 log, all as documented\n`])
  expect(sampleOf(page, 'sealog_durable_offset')).toBe(1)
})

it('the document says of every metric what the registry says, and names channels that exist', () => {
  const document = readFileSync('docs/metrics.md', 'utf8')
  const channels = readFileSync('lib/telemetry/channels.ts', 'utf8')
  const named = [...document.matchAll(/^\| `(sealog:[\w:]+)`/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual([...new Set([...channels.matchAll(/^ {2}'(sealog:[\w:]+)'/gm)].map(([, name]) => name))].sort())
})
