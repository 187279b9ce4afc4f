// State is what a log says when it is read from the start: keys, tombstones, atomic batches, optimistic concurrency.
//   node examples/state-from-log.mjs
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLogError, Log } from 'sealog'

const directory = mkdtempSync(join(tmpdir(), 'sealog-example-'))
const log = await Log.open(directory, { codec: 'json' })
try {
  // Both accounts or none of them: one batch.
  await log.appendRecords([
    { key: 'alice', value: 100 },
    { key: 'bob', value: 20 },
    { key: 'carol', value: 5 },
  ])

  const accounts = new Map()
  let seen = 0
  const catchUp = async () => {
    for await (const { offset, key, value, tombstone } of log.read({ from: seen })) {
      const name = Buffer.from(key).toString()
      if (tombstone) accounts.delete(name)
      else accounts.set(name, value)
      seen = offset + 1
    }
  }
  await catchUp()

  /** Decides on the state it has seen; if somebody was faster, looks again. */
  const transfer = async (from, to, amount) => {
    for (;;) {
      const records = [
        { key: from, value: accounts.get(from) - amount },
        { key: to, value: accounts.get(to) + amount },
      ]
      try {
        return await log.appendRecords(records, { expectedOffset: seen })
      } catch (error) {
        if (!isLogError(error) || error.code !== 'ERR_SEALOG_CONFLICT') throw error
        await log.committed() // what was accepted before us can be read now
        await catchUp()
      }
    }
  }
  await Promise.all([transfer('alice', 'bob', 30), transfer('bob', 'carol', 10)])
  await log.appendRecords([{ key: 'carol', tombstone: true }])
  await catchUp()
  console.log(Object.fromEntries(accounts))
} finally {
  await log.close()
  rmSync(directory, { recursive: true })
}
