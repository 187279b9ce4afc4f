// Appends batches until it is killed, and says on stdout what was acknowledged: `opening`, `open <start> <end>`, `ack <end>`. Arguments: directory, backend,
// durability, session. Every record says where it belongs: session, offset, first offset and size of its batch.
import { writeSync } from 'node:fs'
import { Log } from '../../dist/index.js'

const [directory, backend, durability, session] = process.argv.slice(2)
const say = (line) => writeSync(1, `${line}\n`)
let seed = Number(session)
const below = (limit) => (seed = (seed * 48271 + 11) % 2147483647) % limit

const bodyOf = (offset, first, count) => Buffer.from(`${session} ${offset} ${first} ${count} ${'x'.repeat(below(200))}`)

async function append(log) {
  const first = log.endOffset
  const count = 1 + below(4)
  const values = Array.from({ length: count }, (_, i) => bodyOf(first + i, first, count))
  if (count === 1) await log.append(values[0])
  else if (count === 2) await log.appendRecords(values.map((value, i) => ({ value, key: `key ${i}` })))
  else await log.appendBatch(values)
  return first + count
}

say('opening')
const log = await Log.open(directory, { backend, durability, segmentBytes: 8192, syncIntervalMs: 20, idleMarkMs: 10 })
say(`open ${log.startOffset} ${log.endOffset}`)
for (;;) {
  const ends = Array.from({ length: 1 + below(8) }, () => append(log))
  if (below(10) === 0) {
    log.flushSync()
    say(`ack ${log.committedOffset}`)
  }
  if (durability === 'none') {
    const end = Math.max(...(await Promise.all(ends)))
    await log.flush()
    say(`ack ${end}`)
  } else await Promise.all(ends.map(async (end) => say(`ack ${await end}`)))
  if (below(20) === 0) await log.sync()
  await new Promise((resolve) => setImmediate(resolve))
}
