// Appends and reads in every way, in rounds of equal work. Arguments: backend, rounds, directory. Prints memory after each round.
import { join } from 'node:path'
import { Log } from '../../../dist/index.js'

const [backend, rounds, directory] = process.argv.slice(2)
const log = await Log.open(join(directory, 'log'), { backend, durability: 'flush', segmentBytes: 262_144, idleMarkMs: 5 })
const samples = []
for (let round = 0; round < Number(rounds); round++) {
  for (let i = 0; i < 2000; i++) {
    if (log.writableNeedDrain) await log.drain()
    log.enqueue(new Uint8Array(200), i % 4 === 0 ? { key: `key ${i}` } : undefined)
  }
  await Promise.all(Array.from({ length: 200 }, () => log.append(new Uint8Array(100))))
  await log.appendBatch(Array.from({ length: 50 }, () => new Uint8Array(100)))
  log.appendSync(new Uint8Array(10))
  const controller = new AbortController()
  const follower = log.read({ from: log.endOffset, follow: true, signal: controller.signal }).next()
  controller.abort()
  await follower.catch(() => {})
  const other = log.read({ from: log.endOffset, follow: true })
  const waiting = other.next()
  await other.return()
  await waiting
  let seen = 0
  for await (const batch of log.batches({ from: log.startOffset })) seen += batch.length
  for (let i = 0; i < 500; i++) log.getSync(log.startOffset + ((i * 7) % seen))
  for (let i = 0; i < 50; i++) await log.get(log.startOffset + ((i * 13) % seen))
  await log.append(1).catch(() => {})
  await log.truncateBefore(log.endOffset)
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage()
  samples.push({ rss, heapUsed, external, arrayBuffers })
}
await log.close()
console.log(JSON.stringify(samples))
