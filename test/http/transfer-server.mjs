// Serves one file, whole, to whoever asks; a process of its own, so that its system calls, memory and descriptors can be looked at.
import { openSync, readdirSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { newTransferCounters, sendFileBody } from '../../dist/http/transfer.js'
import { environmentFor } from '../../dist/log/environment.js'

const [file, backend, stallMs] = process.argv.slice(2)
const fd = openSync(file, 'r')
const { size } = statSync(file)
const counters = newTransferCounters()
const environment = environmentFor(backend)

const server = createServer((req, res) => {
  if (req.url === '/facts') {
    globalThis.gc?.()
    res.end(JSON.stringify({ rss: process.memoryUsage.rss(), descriptors: readdirSync('/proc/self/fd').length, counters }))
    return
  }
  const body = { fd, position: 0, length: size, prefix: '' }
  void sendFileBody(req, res, 200, {}, body, { environment, log: 'log', chunk: 0, offset: 0, stallMs: Number(stallMs), counters })
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit()).resume()
