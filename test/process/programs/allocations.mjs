// How much memory operations allocate, once their code is warm: nothing is collected meanwhile (--max-semi-space-size), so what is there more was allocated.
// Arguments: backend, directory. Prints one line of JSON: bytes of heap and of array buffers per operation.
import { join } from 'node:path'
import { Log } from '../../../dist/index.js'
import { Store } from '../../../dist/store/index.js'

const [backend, directory] = process.argv.slice(2)
const COUNT = 5000
const VALUE = Buffer.alloc(256, 7)
const results = {}

/** `work(count)` does it `count` times. The least of three: what is compiled or resized in between is not the operation's. */
async function measure(name, work, warmUp = 20_000) {
  await work(warmUp)
  const costs = []
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    const before = process.memoryUsage()
    await work(COUNT)
    const after = process.memoryUsage()
    costs.push({ heap: (after.heapUsed - before.heapUsed) / COUNT, buffers: (after.arrayBuffers - before.arrayBuffers) / COUNT })
  }
  results[name] = { heap: Math.min(...costs.map(({ heap }) => heap)), buffers: Math.min(...costs.map(({ buffers }) => buffers)) }
}

const log = await Log.open(join(directory, 'log'), { backend, durability: 'flush' })
await measure('enqueue', async (count) => {
  for (let i = 0; i < count; i++) {
    log.enqueue(VALUE)
    if (log.writableNeedDrain) await log.drain()
  }
  await log.flush()
})
await measure('append', async (count) => {
  let last
  for (let i = 0; i < count; i++) last = log.append(VALUE)
  await last
})
await log.sync()
const { committedOffset } = log
await measure('getSync from disk', (count) => {
  for (let i = 0; i < count; i++) log.getSync((i * 7919) % (committedOffset - 2000))
})
await measure('getSync from the tail cache', (count) => {
  for (let i = 0; i < count; i++) log.getSync(committedOffset - 1 - (i % 500))
})
await measure('record of a scan', async (count) => {
  let sum = 0
  let seen = 0
  for await (const batch of log.batches({ from: 0 })) {
    for (let i = 0; i < batch.length && seen < count; i++, seen++) sum += batch.value(i)[0]
    if (seen === count) break
  }
  if (sum !== 7 * count) throw new Error('the scan did not see all')
})
await log.close()

const store = await Store.open(join(directory, 'store'), { backend, durability: 'flush', snapshotBytes: false })
const keys = Array.from({ length: 20_000 }, (_, i) => `key ${i}`)
await measure('store put of a new value', async (count) => {
  let last
  for (let i = 0; i < count; i++) last = store.put(keys[i], VALUE)
  await last
})
for (let i = 0; i < 5000; i++) store.getSync(keys[i])
await measure('store get, cached', (count) => {
  for (let i = 0; i < count; i++) store.getSync(keys[i % 1000])
})
await store.close()
console.log(JSON.stringify(results))
