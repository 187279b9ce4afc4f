import type { ServerResponse } from 'node:http'
import { ClientProcess } from '../clients/client.js'
import type { PollingAnswer, PollingOrder } from '../clients/polling.js'
import type { Case, Contender, Run } from '../harness/case.js'
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import { serveReference } from '../servers/durable-streams.js'
import { serveLog } from '../servers/sealog.js'
import { listen } from '../servers/server.js'
import { settled } from '../servers/settled-memory.js'

const KIB = 1024
/** So many come and go before those that count: what the first ones allocate serves all. */
const FIRST_CLIENTS = 20
const FIRST_ROUNDS = 3
/** Requests that were sent have arrived after that. */
const ARRIVAL_MS = 300

interface WaitedFor {
  readonly port: number
  /** What asks for the next record and waits for it. */
  waitingPath(): string
  append(record: Buffer): Promise<unknown>
  close(): Promise<void>
}

async function sealog(run: Run): Promise<WaitedFor> {
  const { formatOffsetToken } = await import('sealog/http')
  const { log, port, close } = await serveLog(run.directory)
  const waitingPath = () => `/log?offset=${formatOffsetToken({ epoch: log.epoch, offset: log.endOffset })}&live=long-poll`
  return { port, waitingPath, append: (record) => log.append(record), close }
}

async function reference(): Promise<WaitedFor> {
  const server = await serveReference()
  const append = async (record: Buffer) => {
    end = await server.append(`[${record}]`)
  }
  let end = ''
  await append(makeRecords(RECORD_BYTES)[0])
  return { port: server.port, waitingPath: () => `${server.pathFrom(end)}&live=long-poll`, append, close: server.close }
}

/** The least that a server on node:http can hold: request and response. */
async function bare(): Promise<WaitedFor> {
  const waiting = new Set<ServerResponse>()
  const { port, close } = await listen((_req, res) => {
    waiting.add(res)
  }, '/')
  const append = async (record: Buffer) => {
    const body = `[${record}]`
    for (const res of waiting) res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
    waiting.clear()
  }
  return { port, waitingPath: () => '/', append, close }
}

function contender(name: string, kind: Contender['kind'], start: (run: Run) => Promise<WaitedFor>, packageName?: Contender['package']): Contender {
  return {
    name,
    kind,
    package: packageName,
    // A small young generation: what it grows by would be taken for memory of clients.
    nodeFlags: ['--expose-gc', '--max-semi-space-size=1'],
    measure: async (run) => {
      const server = await start(run)
      const clients = run.quick ? 200 : 1000
      const records = makeRecords(RECORD_BYTES)
      const target = { port: server.port, path: '' }
      const first = new ClientProcess<PollingOrder, PollingAnswer>('polling', { ...target, clients: FIRST_CLIENTS })
      const counted = new ClientProcess<PollingOrder, PollingAnswer>('polling', { ...target, clients })
      try {
        for (let i = 0; i < FIRST_ROUNDS; i++) {
          await wait(first, server)
          await server.append(records[i])
          await first.ask({ do: 'collect' })
        }
        const before = await memory()
        await wait(counted, server)
        const after = await memory()
        await server.append(records[FIRST_ROUNDS])
        const { times, bodies } = await counted.ask({ do: 'collect' })
        const per = (bytes: number) => bytes / clients / KIB
        return {
          values: { heapKib: per(after.heap - before.heap), residentKib: per(after.resident - before.resident), mib: after.resident / KIB / KIB },
          work: { answered: times.length, bodies: bodies.join() },
        }
      } finally {
        first.end()
        counted.end()
        await server.close()
      }
    },
  }
}

async function wait(clients: ClientProcess<PollingOrder, PollingAnswer>, server: WaitedFor): Promise<void> {
  await clients.ask({ do: 'ask', path: server.waitingPath() })
  await new Promise((resolve) => setTimeout(resolve, ARRIVAL_MS))
}

async function memory(): Promise<{ readonly heap: number; readonly resident: number }> {
  for (let i = 0; i < 4; i++) {
    globalThis.gc!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { last } = await settled([process.pid])
  return { heap: process.memoryUsage().heapUsed, resident: last }
}

const SEALOG = 'sealog createHandler'

export const httpIdle: Case = {
  name: 'http-idle',
  title: 'Memory of a client that waits by long-poll at the end of a log; 1,000 (--quick: 200) of them',
  roundsFactor: 0.34,
  quickRounds: 1,
  metrics: [
    { key: 'heapKib', label: 'KiB/client, JS heap', better: 'lower' },
    { key: 'residentKib', label: 'KiB/client, resident', better: 'lower' },
    { key: 'mib', label: 'MiB in all', better: 'lower' },
  ],
  contenders: [
    contender(SEALOG, 'sealog', sealog),
    contender('node:http, nothing else', 'limit', bare),
    contender('durable-streams/server', 'peer', reference, '@durable-streams/server'),
  ],
  targets: [],
  notes: () => [
    'After garbage collection, when memory does not change any more; JS heap is what is live; resident memory includes what the allocators keep. Then one record is appended and every client has it. The floor is what node:http holds for a connection with a request that waits.',
  ],
}
