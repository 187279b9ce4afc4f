// Follows a log and prints every record; survives truncation and new epochs by beginning again. Arguments: backend, directory, last value, 'worker'.
import { isMainThread, Worker } from 'node:worker_threads'
import { Log } from '../../../dist/index.js'

const [backend, directory, last, what] = process.argv.slice(2)
if (what === 'worker' && isMainThread) {
  new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) })
} else {
  const reader = await Log.openReader(directory, { backend, pollIntervalMs: 20 })
  const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
  print({ opened: reader.endOffset })
  for (let from = reader.startOffset, over = false; !over; ) {
    try {
      for await (const record of reader.read({ from, follow: true })) {
        const value = Buffer.from(record.value).toString()
        print({ offset: record.offset, value, epoch: reader.epoch, below: record.offset < reader.committedOffset })
        from = record.offset + 1
        if (value === last) {
          over = true
          break
        }
      }
    } catch (error) {
      print({ code: error.code, end: error.endOffset, start: error.startOffset })
      if (error.code === 'ERR_SEALOG_EPOCH') from = Math.min(from, error.endOffset)
      else if (error.code === 'ERR_SEALOG_OFFSET_TRUNCATED') from = error.startOffset
      else throw error
    }
  }
  await reader.close()
}
