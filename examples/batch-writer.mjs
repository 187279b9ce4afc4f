// Half a million sensor readings into a log, with flat memory; then single readings with backpressure.   node examples/batch-writer.mjs
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Log } from 'sealog'

function* readings(count) {
  for (let i = 0; i < count; i++) yield { key: `sensor-${i % 100}`, value: { i, celsius: 20 + Math.sin(i / 1000) } }
}

const directory = mkdtempSync(join(tmpdir(), 'sealog-example-'))
const log = await Log.open(directory, { codec: 'json', durability: 'flush' })
const writer = log.batchWriter({ maxInFlight: 10, maxBytes: 4 * 1024 * 1024 })
try {
  // Takes the next reading only when there is room for it.
  const { written } = await writer.writeAll(readings(500_000))
  console.log(`${written} readings written`)

  // A result for each item, in their order: a bad one does not fail the others.
  const results = await writer.writeBatch([{ value: { ok: 1 } }, { value: undefined }, { value: { ok: 2 } }])
  for (const { status, value, reason } of results) console.log(status, value ?? reason.message)

  // At most ten calls are under way; the others wait, in order.
  const offsets = await Promise.all(Array.from({ length: 100 }, (_, n) => writer.writeOne({ key: 'single', value: n })))
  console.log(`100 single readings at offsets ${offsets[0]} to ${offsets.at(-1)}`)
  console.log(writer.stats())
} finally {
  await writer.close()
  await log.close()
  rmSync(directory, { recursive: true })
}
