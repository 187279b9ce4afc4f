// Opens, uses and closes logs again and again. Arguments: backend, cycles, directory. Prints descriptors, threads and memory on the way.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Log } from '../../../dist/index.js'

const [backend, cycles, directory] = process.argv.slice(2)
const total = Number(cycles)
const AT_ONCE = 20
const samples = []
let done = 0
async function sample() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  samples.push({ done, fds: readdirSync('/proc/self/fd').length, threads: readdirSync('/proc/self/task').length, rss, heapUsed, arrayBuffers })
}

async function cycle(place, n) {
  const log = await Log.open(place, { backend, durability: n % 2 === 0 ? 'flush' : 'fsync' })
  if (n % 3 === 0) await log.append(Buffer.from('record'))
  if (n % 3 === 1 && log.endOffset > 0) log.getSync(log.endOffset - 1)
  if (n % 5 === 0) {
    const reader = await Log.openReader(place, { backend })
    for await (const record of reader.read({ from: Math.max(reader.startOffset, reader.endOffset - 3) }))
      if (record.value.length !== 6) throw new Error('wrong')
    await reader.close()
  }
  if (n % 2 === 0) await log.close()
  else log.closeSync()
}

const steps = 10
for (let s = 0; s <= steps; s++) {
  const until = Math.floor((total * s) / steps)
  await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, i) => {
      while (done < until) await cycle(join(directory, `log-${i}`), done++)
    }),
  )
  await sample()
}
console.log(JSON.stringify(samples))
