// Replays a store's log again and again while it is compacted, until a key `last` is there; looks records up one by one too. Prints one line when it has begun and one at the
// end. Arguments: backend, directory, maxOpenFiles.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { configure, Log } from '../../../dist/index.js'

const [backend, directory, maxOpenFiles] = process.argv.slice(2)
configure({ maxOpenFiles: Number(maxOpenFiles) })
const reader = await Log.openReader(directory, { backend, pollIntervalMs: 20 })
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
for (let round = 0; ; round++) {
  const content = new Map()
  const offsets = []
  for await (const batch of reader.batches({ maxBytes: 4096 })) {
    for (let i = 0; i < batch.length; i++) {
      const key = Buffer.from(batch.key(i)).subarray(1).toString()
      if (batch.tombstone(i)) content.delete(key)
      else content.set(key, JSON.parse(Buffer.from(batch.bytes(i)).toString()))
      offsets.push(batch.offset(i))
    }
    await nextTurn()
  }
  for (let i = 0; i < 40; i++) {
    const offset = offsets[(i * 7919) % offsets.length]
    const record = i % 2 === 0 ? reader.getSync(offset) : await reader.get(offset)
    // It may have been compacted away since.
    if (record !== undefined && record.offset !== offset) throw new Error(`offset ${record.offset} instead of ${offset}`)
  }
  await reader.offsetAt(Date.now() - 1)
  if (round === 0) print({ begun: offsets.length })
  if (content.has('last')) {
    print({ rounds: round, records: offsets.length, content: [...content].sort(([a], [b]) => (a < b ? -1 : 1)) })
    break
  }
  await reader.refresh()
}
await reader.close()
