import { ClientProcess } from '../clients/client.js'
import type { StalledAnswer, StalledOrder } from '../clients/stalled.js'
import type { Case, Contender } from '../harness/case.js'
import { NGINX } from '../servers/nginx.js'
import { BUFFER, PIPE, SEND } from '../servers/node.js'
import { CREATE_HANDLER, SEND_CHUNK } from '../servers/sealog.js'
import { makeServedChunk, servedChunk } from '../servers/served-chunk.js'
import type { ServerKind } from '../servers/server.js'
import { settled } from '../servers/settled-memory.js'

const CLIENTS = 500
const DRAINED = 8
const CHUNK_BYTES = 10 * 2 ** 20
const KIB = 1024
const WARM_UP = 20

function contender(kind: ServerKind): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    programs: kind.programs,
    // A small young generation: what it grows by would be taken for memory of clients.
    nodeFlags: ['--max-semi-space-size=1'],
    prepare: kind === CREATE_HANDLER ? (run) => makeServedChunk(run.directory, CHUNK_BYTES) : undefined,
    measure: async (run) => {
      const chunk = servedChunk(run.directoryOf(CREATE_HANDLER.name))
      const server = await kind.start(chunk, run.directory)
      const clients = new ClientProcess<StalledOrder, StalledAnswer>('stalled', { port: server.port, path: server.path, clients: CLIENTS })
      try {
        await clients.ask({ do: 'fetch', count: WARM_UP })
        const before = await settled(server.processes())
        await clients.ask({ do: 'ask' })
        const after = await settled(server.processes())
        // They wait, but they are not lost.
        const { bodies } = await clients.ask({ do: 'drain', count: DRAINED })
        return {
          values: { kibPerClient: (after.last - before.last) / CLIENTS / KIB, peakKib: (after.peak - before.last) / CLIENTS / KIB, mib: after.last / 2 ** 20 },
          work: { bodies: bodies.join(), same: bodies.length === 1 && bodies[0] === chunk.sha1 ? 'yes' : `no, ${kind.name} sent other bytes` },
        }
      } finally {
        clients.end()
        await server.close()
      }
    },
  }
}

export const httpStalled: Case = {
  name: 'http-stalled',
  roundsFactor: 0.34,
  title: `${CLIENTS} clients that ask for a sealed chunk of 10 MiB and read nothing: growth of the server's resident memory`,
  metrics: [
    { key: 'kibPerClient', label: 'KiB/client', better: 'lower' },
    { key: 'peakKib', label: 'KiB/client, peak', better: 'lower' },
    { key: 'mib', label: 'MiB in all', better: 'lower' },
  ],
  contenders: [CREATE_HANDLER, SEND_CHUNK, PIPE, BUFFER, SEND, NGINX].map(contender),
  targets: [CREATE_HANDLER, SEND_CHUNK].map(({ name }) => ({
    text: `${name}: ≤ 64 KiB of resident memory per stalled client`,
    needs: [name],
    judge: (results) => {
      const kib = results.median(name, 'kibPerClient')
      return { measured: `${kib.toFixed(1)} KiB`, reached: kib <= 64 }
    },
  })),
  notes: () => [
    `Measured when it does not change any more, without a forced garbage collection; ${DRAINED} of the clients then read all of it, and the bytes are compared. ` +
      'What the kernel holds for the sockets belongs to no process. res.end(buffer) sends one buffer to all.',
  ],
}
