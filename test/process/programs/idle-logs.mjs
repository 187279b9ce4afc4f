// What an open, idle log holds of the JavaScript heap. Nothing is optimized (--no-opt), so that no code is made between the two measurements.
// Arguments: backend, directory. Prints one line of JSON: bytes per log.
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Log } from '../../../dist/index.js'
import { environmentFor } from '../../../dist/log/environment.js'

const [backend, directory] = process.argv.slice(2)
const COUNT = 200
const logs = []

async function open(number) {
  const log = await Log.open(join(directory, String(number)), { backend, idleMarkMs: 10 })
  await log.append(Buffer.alloc(256, 7))
  return log
}

/** Bytes in use when every log is idle: it has let its files go. */
async function usedAfterMore(count) {
  for (let i = 0; i < count; i += 50) {
    const first = logs.length
    logs.push(...(await Promise.all(Array.from({ length: 50 }, (_, k) => open(first + k)))))
  }
  while (environmentFor(backend).openFiles > 0) await setTimeout(10)
  for (let i = 0; i < 4; i++) {
    globalThis.gc()
    await setTimeout(1)
  }
  return process.memoryUsage().heapUsed
}

const before = await usedAfterMore(COUNT)
const heap = ((await usedAfterMore(COUNT)) - before) / COUNT
for (const log of logs) await log.close()
console.log(JSON.stringify({ heap }))
