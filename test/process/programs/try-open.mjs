// Tries to open a log for writing, here or in a worker; prints what happened. Arguments: backend, directory, 'hold' to keep it open, 'worker'.
import { isMainThread, Worker } from 'node:worker_threads'
import { Log } from '../../../dist/index.js'

const [backend, directory, what] = process.argv.slice(2)
if (what === 'worker' && isMainThread) {
  new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) })
} else {
  try {
    const log = await Log.open(directory, { backend })
    const { threadId } = await import('node:worker_threads')
    console.log(JSON.stringify({ pid: process.pid, thread: threadId, end: log.endOffset }))
    if (what === 'hold') {
      process.stdin.resume()
      await new Promise((resolve) => process.stdin.once('end', resolve))
    }
    await log.close()
  } catch (error) {
    console.log(JSON.stringify({ code: error.code, pid: error.pid, thread: error.thread, directory: error.directory, message: error.message }))
  }
}
