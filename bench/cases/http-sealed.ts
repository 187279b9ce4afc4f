import type { Case, Contender, Metric, Results, Target } from '../harness/case.js'
import { fetchBody } from '../harness/fetch.js'
import { runLoad } from '../harness/load.js'
import { cpuSeconds } from '../harness/usage.js'
import { NGINX } from '../servers/nginx.js'
import { BUFFER, PIPE, SEND } from '../servers/node.js'
import { CREATE_HANDLER, SEND_CHUNK } from '../servers/sealog.js'
import { makeServedChunk, servedChunk } from '../servers/served-chunk.js'
import { HOST, type ServerKind } from '../servers/server.js'

const CONNECTIONS = 16
const GB = 1e9

function contender(kind: ServerKind, bytes: number): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    programs: ['wrk', ...(kind.programs ?? [])],
    prepare: kind === CREATE_HANDLER ? (run) => makeServedChunk(run.directory, bytes) : undefined,
    measure: async (run) => {
      const chunk = servedChunk(run.directoryOf(CREATE_HANDLER.name))
      const server = await kind.start(chunk, run.directory)
      try {
        const url = `http://${HOST}:${server.port}${server.path}`
        const load = (seconds: number) => runLoad({ url, connections: CONNECTIONS, seconds, directory: run.directory })
        await load(run.quick ? 0.3 : 1.5)
        const before = cpuSeconds(server.processes())
        const result = await load(run.quick ? 0.6 : 4)
        const cpu = cpuSeconds(server.processes()) - before
        const { bytes, sha1 } = await fetchBody(server.port, server.path)
        return {
          values: {
            cpuMsPerGb: (cpu * 1000 * GB) / result.bytes,
            mbPerSecond: result.bytes / 1e6 / result.seconds,
            requestsPerSecond: result.requests / result.seconds,
            p50Us: result.p50Us,
            p99Us: result.p99Us,
          },
          work: { bytes, sha1, fileSha1: chunk.sha1, same: sha1 === chunk.sha1 ? 'yes' : `no, ${kind.name} sent other bytes` },
        }
      } finally {
        await server.close()
      }
    },
  }
}

const CPU: Metric = { key: 'cpuMsPerGb', label: 'server CPU ms/GB', better: 'lower' }
const REQUESTS: Metric = { key: 'requestsPerSecond', label: 'requests/s', better: 'higher' }
const OTHERS: readonly Metric[] = [
  { key: 'mbPerSecond', label: 'MB/s', better: 'higher' },
  { key: 'p50Us', label: 'µs p50', better: 'lower' },
  { key: 'p99Us', label: 'µs p99', better: 'lower' },
]

/** The contender of sealog that a program would take for a protocol of its own is held to the same figures. */
function targets(metric: Metric, bounds: readonly { readonly peer: ServerKind; readonly bound: number }[]): readonly Target[] {
  const lower = metric.better === 'lower'
  return [CREATE_HANDLER, SEND_CHUNK].flatMap(({ name }) =>
    bounds.map(({ peer, bound }) => ({
      text: `${name}: ${lower ? 'CPU-seconds per GB ≤' : 'requests/s ≥'} ${bound} × ${peer.name}`,
      needs: [name, peer.name],
      judge: (results: Results) => {
        const ratio = results.ratio(metric.key, name, peer.name)
        return { measured: `${ratio.toFixed(2)} ×`, reached: lower ? ratio <= bound : ratio >= bound }
      },
    })),
  )
}

function sealedCase(label: string, bytes: number): Case {
  const small = bytes < 2 ** 20
  return {
    name: `http-sealed-${label.toLowerCase()}`,
    title: `A sealed chunk of ${label.replace('K', ' K').replace('M', ' M')} over HTTP, ${CONNECTIONS} connections, load by wrk`,
    roundsFactor: 0.6,
    metrics: small ? [REQUESTS, CPU, ...OTHERS] : [CPU, REQUESTS, ...OTHERS],
    contenders: [CREATE_HANDLER, SEND_CHUNK, PIPE, BUFFER, SEND, NGINX].map((kind) => contender(kind, bytes)),
    targets: small
      ? targets(REQUESTS, [
          { peer: PIPE, bound: 2.2 },
          { peer: NGINX, bound: 0.75 },
        ])
      : targets(CPU, [
          { peer: PIPE, bound: 0.35 },
          { peer: NGINX, bound: 1.3 },
        ]),
    notes: () => [
      'CPU: user and system time of the server’s process (of nginx: of all its processes), not that of wrk, which has one thread. GB: 10⁹ bytes, as received.',
    ],
  }
}

export const httpSealed: readonly Case[] = [sealedCase('64KiB', 2 ** 16), sealedCase('1MiB', 2 ** 20), sealedCase('10MiB', 10 * 2 ** 20)]
