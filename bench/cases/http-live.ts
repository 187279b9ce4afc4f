import { ClientProcess, monotonicMs } from '../clients/client.js'
import type { PollingAnswer, PollingOrder } from '../clients/polling.js'
import type { Case, Contender, Run } from '../harness/case.js'
import { fetchBody } from '../harness/fetch.js'
import { runLoad } from '../harness/load.js'
import { median, percentile } from '../harness/statistics.js'
import { cpuSeconds } from '../harness/usage.js'
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import { serveReference } from '../servers/durable-streams.js'
import { serveLog } from '../servers/sealog.js'
import { HOST } from '../servers/server.js'

const RECORDS = 100_000
const NEWEST = 100
const CONNECTIONS = 16
const WAITING = 1000
const PER_POST = 1000
/** Requests that were sent have arrived after that. */
const ARRIVAL_MS = 400

const SEALOG = 'sealog createHandler'
const REFERENCE = 'durable-streams/server'

/** A server of a long log of JSON records. */
interface LongLog {
  readonly port: number
  /** What asks for the newest records. */
  readonly tailPath: string
  append(record: Buffer): Promise<unknown>
  /** What asks for the next record and waits for it. */
  waitingPath(): string
  close(): Promise<void>
}

async function sealog(run: Run): Promise<LongLog> {
  const { formatOffsetToken } = await import('sealog/http')
  const { Log } = await import('sealog')
  const filling = await Log.open<unknown>(run.directory, { codec: 'json' })
  const records = [...sequence(RECORDS)]
  for (const record of records.slice(0, -NEWEST)) {
    filling.enqueue(record)
    if (filling.writableNeedDrain) await filling.drain()
  }
  await filling.close()
  const { log, path, port, close } = await serveLog(run.directory, RECORDS - NEWEST)
  // Appended since it was opened, as in a server that runs for long.
  await log.appendBatch(records.slice(-NEWEST))
  const pathFrom = (offset: number) => `/log?offset=${formatOffsetToken({ epoch: log.epoch, offset })}`
  return { port, tailPath: path, append: (record) => log.append(record), waitingPath: () => `${pathFrom(log.endOffset)}&live=long-poll`, close }
}

async function reference(): Promise<LongLog> {
  const server = await serveReference()
  let end = ''
  const append = async (records: readonly Buffer[]) => {
    end = await server.append(`[${records.join(',')}]`)
  }
  const records = [...sequence(RECORDS)]
  for (let at = 0; at < RECORDS - NEWEST; at += PER_POST) await append(records.slice(at, Math.min(at + PER_POST, RECORDS - NEWEST)))
  const tailPath = server.pathFrom(end)
  await append(records.slice(-NEWEST))
  return {
    port: server.port,
    tailPath,
    append: (record) => append([record]),
    waitingPath: () => `${server.pathFrom(end)}&live=long-poll`,
    close: server.close,
  }
}

function* sequence(count: number): Generator<Buffer> {
  const records = makeRecords(RECORD_BYTES)
  for (let i = 0; i < count; i++) yield records[i % records.length]
}

function contenders(measure: (run: Run, server: LongLog) => ReturnType<Contender['measure']>, programs: Contender['programs']): readonly Contender[] {
  const each = (start: (run: Run) => Promise<LongLog>) => async (run: Run) => {
    const server = await start(run)
    try {
      return await measure(run, server)
    } finally {
      await server.close()
    }
  }
  return [
    { name: SEALOG, kind: 'sealog', programs, measure: each(sealog) },
    { name: REFERENCE, kind: 'peer', package: '@durable-streams/server', programs, measure: each(reference) },
  ]
}

async function measureTail(run: Run, { port, tailPath }: LongLog) {
  const load = (seconds: number) => runLoad({ url: `http://${HOST}:${port}${tailPath}`, connections: CONNECTIONS, seconds, directory: run.directory })
  await load(run.quick ? 0.3 : 1.5)
  const before = cpuSeconds([process.pid])
  const { requests, seconds, p50Us, p99Us } = await load(run.quick ? 0.6 : 4)
  const cpu = cpuSeconds([process.pid]) - before
  const { bytes, sha1 } = await fetchBody(port, tailPath)
  return { values: { requestsPerSecond: requests / seconds, cpuUs: (cpu * 1e6) / requests, p50Us, p99Us }, work: { bytes, sha1 } }
}

export const httpTail: Case = {
  name: 'http-tail',
  roundsFactor: 0.34,
  title: `The newest ${NEWEST} records of a log of ${RECORDS.toLocaleString('en')} over HTTP, not sealed yet, ${CONNECTIONS} connections, load by wrk`,
  metrics: [
    { key: 'requestsPerSecond', label: 'requests/s', better: 'higher' },
    { key: 'cpuUs', label: 'server CPU µs/request', better: 'lower' },
    { key: 'p50Us', label: 'µs p50', better: 'lower' },
    { key: 'p99Us', label: 'µs p99', better: 'lower' },
  ],
  contenders: contenders(measureTail, ['wrk']),
  targets: [],
  notes: () => ['sealog: from the tail cache and its rendered answers; the reference server keeps everything in memory (its files mode is slower).'],
}

async function measureFanOut(run: Run, server: LongLog) {
  const clients = new ClientProcess<PollingOrder, PollingAnswer>('polling', { port: server.port, path: server.tailPath, clients: WAITING })
  const rounds = run.quick ? 3 : 8
  const lasts: number[] = []
  const halves: number[] = []
  const cpus: number[] = []
  const work: Record<string, string> = {}
  try {
    // The first one makes the connections.
    for (let round = 0; round <= rounds; round++) {
      const record = Buffer.from(JSON.stringify(`record ${round}`.padEnd(RECORD_BYTES - 2, '.')))
      await clients.ask({ do: 'ask', path: server.waitingPath() })
      await new Promise((resolve) => setTimeout(resolve, ARRIVAL_MS))
      const cpu = cpuSeconds([process.pid])
      const start = monotonicMs()
      await server.append(record)
      const { times, bodies } = await clients.ask({ do: 'collect' })
      if (bodies.length !== 1 || bodies[0] !== `[${record}]`) throw new Error(`the clients got ${bodies.join(' and ')}`)
      if (Math.min(...times) < start) throw new Error('a client had its answer before the record was appended')
      work[`body${round}`] = bodies[0]
      if (round === 0) continue
      lasts.push(Math.max(...times) - start)
      halves.push(percentile(times, 0.5) - start)
      cpus.push(((cpuSeconds([process.pid]) - cpu) * 1e6) / WAITING)
    }
  } finally {
    clients.end()
  }
  return { values: { lastMs: median(lasts), halfMs: median(halves), cpuUs: median(cpus) }, work }
}

export const httpFanOut: Case = {
  name: 'http-fan-out',
  roundsFactor: 0.34,
  title: `${WAITING.toLocaleString('en')} clients wait by long-poll at the end of a log, one record is appended: time until the last one has it`,
  metrics: [
    { key: 'lastMs', label: 'ms, last client', better: 'lower' },
    { key: 'halfMs', label: 'ms, half of the clients', better: 'lower' },
    { key: 'cpuUs', label: 'server CPU µs/client', better: 'lower' },
  ],
  contenders: contenders(measureFanOut, undefined),
  targets: [],
  notes: () => [
    'From the call of append (sealog: durable by fsync before it is told; the reference server by HTTP) to the last byte of the answer at the last client; the clients share one process, whose part is in it.',
  ],
}
