// A worker follows what the main thread appends.   node examples/follow-in-worker.mjs
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Log } from 'sealog'

if (isMainThread) {
  const directory = mkdtempSync(join(tmpdir(), 'sealog-example-'))
  const log = await Log.open(directory, { codec: 'json' })
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: directory })
  await once(worker, 'message')
  for (const word of ['one', 'two', 'three', 'end']) await log.append(word)
  await once(worker, 'exit')
  await log.close()
  rmSync(directory, { recursive: true })
} else {
  const reader = await Log.openReader(workerData)
  parentPort.postMessage('ready')
  for await (const { offset, value } of reader.read({ follow: true })) {
    console.log(`worker: ${offset} ${value}`)
    if (value === 'end') break
  }
  await reader.close()
}
