// Appends without waiting and ends the process. Arguments: backend, durability, directory, records, how.
import { Log } from '../../../dist/index.js'

const [backend, durability, directory, count, how] = process.argv.slice(2)
const log = await Log.open(directory, { backend, durability, segmentBytes: 65_536 })
for (let i = 0; i < Number(count); i++) {
  const value = Buffer.from(`record ${i}`)
  if (i % 2 === 0) log.enqueue(value)
  else log.append(value).catch(() => {})
  // Some are under way already when the rest is accepted.
  if (i === Math.floor(Number(count) / 2)) await new Promise((resolve) => setImmediate(resolve))
}
if (how === 'exit') process.exit(7)
if (how === 'throw') {
  process.on('uncaughtException', () => process.exit(7))
  throw new Error('on purpose')
}
if (how === 'listener') process.on('exit', () => log.closeSync())
process.exitCode = 7
// how === 'end': nothing more to do; appends keep the process alive until they are acknowledged.
