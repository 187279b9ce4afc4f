// Holds many logs open. Arguments: backend, count, directory. Prints what an idle log costs.
import { createHook } from 'node:async_hooks'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Log } from '../../../dist/index.js'

const [backend, count, directory] = process.argv.slice(2)
const total = Number(count)
// All timers, also those that do not keep the process alive.
const timers = new Set()
createHook({
  init: (id, type) => {
    if (type === 'Timeout') timers.add(id)
  },
  destroy: (id) => timers.delete(id),
}).enable()
const facts = () => {
  globalThis.gc()
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  return {
    rss,
    heapUsed,
    arrayBuffers,
    fds: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    timers: timers.size,
  }
}
const first = await Log.open(join(directory, 'first'), { backend, durability: 'flush', idleMarkMs: 20, syncIntervalMs: 20 })
await first.append(Buffer.from('x'))
const idle = async () => {
  // Idle logs let their files and the one timer of the environment go; this waits for it, two minutes at most.
  for (let i = 0; i < 1200; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    if (timers.size === 0) return
  }
}
await idle()
const before = facts()
const logs = [first]
for (let i = 0; i < total; i += 100) {
  logs.push(
    ...(await Promise.all(
      Array.from({ length: Math.min(100, total - i) }, (_, n) =>
        Log.open(join(directory, `log-${i + n}`), { backend, durability: 'flush', idleMarkMs: 20, syncIntervalMs: 20 }),
      ),
    )),
  )
}
for (let i = 0; i < 1000; i++) await logs[(i * 7919) % logs.length].append(Buffer.from('record'))
await idle()
const after = facts()
const open = logs.reduce((sum, log) => sum + (log.closed ? 0 : 1), 0)
for (let i = 0; i < logs.length; i += 100) await Promise.all(logs.slice(i, i + 100).map((log) => log.close()))
logs.length = 0
console.log(JSON.stringify({ open, before, after, end: facts() }))
