// Owns a consumer of a log that is open elsewhere: reads and acknowledges batch by batch up to an offset. Arguments: backend, directory, name, end.
import { Log } from '../../../dist/index.js'

const [backend, directory, name, end] = process.argv.slice(2)
const reader = await Log.openReader(directory, { backend })
const consumer = await reader.consumer(name)
for await (const batch of reader.batches({ from: consumer.offset, maxBytes: 256, follow: true })) {
  await consumer.acknowledge(batch.nextOffset)
  if (consumer.offset >= Number(end)) break
}
await consumer.close()
await reader.close()
