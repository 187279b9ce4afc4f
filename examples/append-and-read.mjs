// The smallest useful program: open, append durably, read back, close.   node examples/append-and-read.mjs [directory]
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Log } from 'sealog'

const directory = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'sealog-example-'))
const log = await Log.open(directory, { codec: 'json' })
try {
  const offset = await log.append({ event: 'started', at: new Date().toISOString() })
  console.log(`record ${offset} is on the disk`)
  for await (const record of log.read({ from: Math.max(log.startOffset, offset - 2) })) console.log(record.offset, record.value)
} finally {
  await log.close()
}
