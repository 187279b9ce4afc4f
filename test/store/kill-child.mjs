// Changes a store until it is killed, and says on stdout what was acknowledged: `open <end>`, `ack <end>`. Arguments: directory, backend, durability, session.
// What the record at an offset is follows from the offset alone, so that the parent can tell what the store must hold.
import { writeSync } from 'node:fs'
import { Store } from '../../dist/store/index.js'
import { changeAt } from './kill-changes.mjs'

const [directory, backend, durability, session] = process.argv.slice(2)
const say = (line) => writeSync(1, `${line}\n`)
let seed = Number(session) + 1
const below = (limit) => (seed = (seed * 48271 + 11) % 2147483647) % limit

const recordCache = { hot: { records: 5 }, warm: { records: 10 } }
const times = { syncIntervalMs: 20, idleMarkMs: 10 }
const options = { codec: 'json', backend, durability, segmentBytes: 8192, ...times, snapshotBytes: 2000, recordCache, compaction: false }
const store = await Store.open(directory, options)
say(`open ${store.committedOffset}`)
let next = store.committedOffset
for (;;) {
  const going = []
  for (let i = 1 + below(6); i > 0; i--) {
    const count = 1 + below(4)
    const entries = Array.from({ length: count }, (_, j) => changeAt(next + j))
    next += count
    const end = next
    going.push((count === 1 ? store.put(entries[0].key, entries[0].value) : store.putBatch(entries)).then(() => end))
  }
  if (durability === 'none') {
    await Promise.all(going)
    await store.flush()
    say(`ack ${next}`)
  } else for (const end of going) say(`ack ${await end}`)
  if (below(10) === 0) await store.snapshot()
  if (below(6) === 0) await store.compact({ keepCompleteChunks: 0, tombstoneMs: 0 })
  for (let i = 0; i < 10; i++) {
    const { key } = changeAt(below(next))
    const value = await store.get(key)
    if (JSON.stringify(changeAt(value.offset)) !== JSON.stringify({ key, value })) throw new Error(`${key} has the value ${JSON.stringify(value)}`)
  }
  await new Promise((resolve) => setImmediate(resolve))
}
