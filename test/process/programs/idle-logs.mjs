// What an open, idle log holds of the JavaScript heap. Nothing is optimized (--no-opt), so that little code is made between the measurements.
// Arguments: backend, directory. Prints one line of JSON: bytes per log.
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Log } from '../../../dist/index.js'
import { environmentFor } from '../../../dist/log/environment.js'

const [backend, directory] = process.argv.slice(2)
const COUNT = 120
const logs = []

async function open(number) {
  const log = await Log.open(join(directory, String(number)), { backend, idleMarkMs: 10 })
  await log.append(Buffer.alloc(256, 7))
  return log
}

/** Bytes in use when every log is idle, which is when it has let its files go, and nothing more is collected. */
async function usedAfterMore(count) {
  for (let i = 0; i < count; i += 40) {
    const first = logs.length
    logs.push(...(await Promise.all(Array.from({ length: 40 }, (_, k) => open(first + k)))))
  }
  while (environmentFor(backend).openFiles > 0) await setTimeout(10)
  for (let least = Number.POSITIVE_INFINITY; ; ) {
    globalThis.gc()
    await setTimeout(10)
    const { heapUsed } = process.memoryUsage()
    if (heapUsed >= least) return least
    least = heapUsed
  }
}

// The median of three: what all logs share, tables and code, grows now and then.
const used = [await usedAfterMore(COUNT)]
for (let round = 0; round < 3; round++) used.push(await usedAfterMore(COUNT))
for (const log of logs) await log.close()
const slopes = used.slice(1).map((bytes, i) => (bytes - used[i]) / COUNT)
console.log(JSON.stringify({ heap: slopes.sort((a, b) => a - b)[1], slopes }))
