/** Makes the chunk that all servers of a case serve: sealed by sealog, a JSON array of 256-byte records. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import type { ServedChunk } from './server.js'

const FILE = 'served.json'

/** The array has about `bytes`: a comma stands between two records, and nothing is sealed but whole records. */
export async function makeServedChunk(directory: string, bytes: number): Promise<void> {
  const { Log } = await import('sealog')
  const perChunk = Math.floor((bytes - 1) / (RECORD_BYTES + 1))
  const log = await Log.open<unknown>(directory, { codec: 'json', durability: 'flush', chunkBytes: perChunk * RECORD_BYTES })
  const records = makeRecords(RECORD_BYTES)
  // Two chunks: an answer that ends in front of more is the same for ever.
  for (let i = 0; i < 2 * perChunk; i++) {
    log.enqueue(records[i % records.length])
    if (log.writableNeedDrain) await log.drain()
    if (i === perChunk - 1) await log.committed()
  }
  const [chunk] = await log.chunks.seal()
  await log.close()
  const content = readFileSync(chunk.path)
  if (content.length !== chunk.bytes || JSON.parse(content.toString()).length !== perChunk) throw new Error(`${chunk.path} is not what was appended`)
  const served: ServedChunk = { log: directory, file: chunk.path, bytes: content.length, sha1: createHash('sha1').update(content).digest('hex') }
  writeFileSync(join(directory, FILE), JSON.stringify(served))
}

export function servedChunk(directory: string): ServedChunk {
  return JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as ServedChunk
}
