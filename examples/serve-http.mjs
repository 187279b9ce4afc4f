// Serves a log over HTTP: catch-up from any offset, long-poll, server-sent events; sealed chunks go by sendfile.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Log } from 'sealog'
import { createHandler } from 'sealog/http'

const directory = await mkdtemp(join(tmpdir(), 'sealog-example-'))
const log = await Log.open(directory, { codec: 'json', chunkBytes: 16 * 1024 })
for (let i = 0; i < 2000; i++) log.enqueue({ i })
await log.flush()
const chunks = await log.chunks.seal()
console.log(`${chunks.length} sealed chunks, up to offset ${chunks.at(-1)?.last}`)

const handler = createHandler(log)
const server = createServer(handler).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address()
console.log('serving at', `http://127.0.0.1:${port}/?offset=-1`)

// A client that catches up, answer by answer.
let offset = '-1'
let records = 0
for (let done = false; !done; ) {
  const response = await fetch(`http://127.0.0.1:${port}/?offset=${offset}`)
  records += (await response.json()).length
  offset = response.headers.get('stream-next-offset')
  done = response.headers.get('stream-up-to-date') === 'true'
}
console.log('the client has', records, 'records; next:', offset)

handler.close()
server.close()
server.closeAllConnections()
await log.close()
await rm(directory, { recursive: true })
