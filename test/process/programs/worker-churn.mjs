// Workers append and are terminated at random moments, also while they open and close; nothing acknowledged is lost, nothing crashes or hangs.
// Arguments: backend, number of workers, directory. Prints one line of JSON.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Log } from '../../../dist/index.js'

const AT_ONCE = 8
const MODES = ['fsync', 'flush', 'none']

if (isMainThread) {
  const [backend, count, directory] = process.argv.slice(2)
  let acknowledged = 0
  let recovered = 0
  let terminated = 0
  const one = async (n) => {
    const place = join(directory, `worker-${n}`)
    mkdirSync(place)
    const durability = MODES[n % 3]
    // Acknowledged end, and how far it has come: 0 loading, 1 opened, 2 closed.
    const state = new Int32Array(new SharedArrayBuffer(8))
    const worker = new Worker(new URL(import.meta.url), { workerData: { place, backend, durability, state, n } })
    let failure
    worker.on('error', (error) => (failure = error))
    await new Promise((resolve) => worker.once('message', resolve))
    await new Promise((resolve) => setTimeout(resolve, (n * 37) % 50))
    terminated++
    await worker.terminate()
    if (failure !== undefined) throw failure
    const acked = Atomics.load(state, 0)
    const log = await Log.open(place, { backend: n % 2 === 0 ? backend : undefined, segmentBytes: 8192 })
    if (durability !== 'none' && log.endOffset < acked) throw new Error(`${place}: ${acked} acknowledged, ${log.endOffset} there`)
    let next = 0
    for await (const record of log.read()) {
      if (record.offset !== next || Buffer.from(record.value).toString() !== `${n}:${next}`) throw new Error(`${place}: record ${next} is wrong`)
      next++
    }
    if (next !== log.endOffset) throw new Error(`${place}: ${next} read of ${log.endOffset}`)
    await log.append(Buffer.from('again'))
    await log.close()
    acknowledged += acked
    recovered += next
    rmSync(place, { recursive: true })
  }
  let n = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (n < Number(count)) await one(n++)
    }),
  )
  console.log(JSON.stringify({ terminated, acknowledged, recovered }))
} else {
  const { place, backend, durability, state, n } = workerData
  if (n % 10 === 0) parentPort.postMessage('loading')
  const log = await Log.open(place, { backend, durability, segmentBytes: 8192 })
  if (n % 10 !== 0) parentPort.postMessage('open')
  for (let i = 0; ; i++) {
    const offset = log.endOffset
    const value = (at) => Buffer.from(`${n}:${at}`)
    if (i % 7 === 3) {
      log.appendSync(value(offset))
      Atomics.store(state, 0, offset + 1)
    } else if (i % 5 === 4) {
      for (let k = 0; k < 20; k++) log.enqueue(value(offset + k))
    } else {
      void log.append(value(offset)).then((acked) => Atomics.store(state, 0, Math.max(Atomics.load(state, 0), acked + 1)))
    }
    if (i % 3 === 0) await log.committed()
    if (n % 4 === 1 && i % 20 === 19) log.getSync(i)
  }
}
