// Many writers at once share the syncs of the disk.   node examples/group-commit.mjs
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Log } from 'sealog'

const directory = mkdtempSync(join(tmpdir(), 'sealog-example-'))
const log = await Log.open(directory, { codec: 'json', durability: 'fsync' })
try {
  const writer = async (id) => {
    for (let i = 0; i < 20; i++) await log.append({ writer: id, i })
  }
  await Promise.all(Array.from({ length: 50 }, (_, id) => writer(id)))
  const { groups, syncs } = log.stats()
  console.log(`1000 durable appends by 50 writers: ${groups} groups, ${syncs} syncs`)
} finally {
  await log.close()
  rmSync(directory, { recursive: true })
}
