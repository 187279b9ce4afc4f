/** A log whose chunks are sealed once, to be sealed again: what derived files are for. */
import { createHash } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Log } from 'sealog'
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import type { Durability } from './store.js'

export const CHUNK_BYTES = 10 * 2 ** 20
const FACTS = 'sealed.json'

export interface SealedFacts {
  readonly chunks: number
  readonly bytes: number
  /** Of all elements: where one chunk ends and the next begins depends on the groups that were written. */
  readonly sha1: string
}

export type Backend = 'native' | 'js'

export async function openSealed(directory: string, durability: Durability, backend: Backend): Promise<Log<unknown>> {
  const { Log } = await import('sealog')
  return Log.open<unknown>(directory, { codec: 'json', seal: 'json', chunkBytes: CHUNK_BYTES, durability, backend })
}

/** Appends `payloadBytes` of records and seals them all. */
export async function makeSealed(directory: string, payloadBytes: number, backend: Backend): Promise<void> {
  const log = await openSealed(directory, 'flush', backend)
  const records = makeRecords(RECORD_BYTES)
  const count = Math.ceil(payloadBytes / RECORD_BYTES)
  for (let i = 0; i < count; i++) {
    log.enqueue(records[i % records.length])
    if (log.writableNeedDrain) await log.drain()
  }
  const facts = await sealedFacts(log)
  await log.close()
  writeFileSync(join(directory, FACTS), JSON.stringify(facts))
}

/** Seals what is left and describes all chunks. */
export async function sealedFacts(log: Log<unknown>): Promise<SealedFacts> {
  const chunks = await log.chunks.seal()
  const hash = createHash('sha1')
  for (const { path } of chunks) hash.update(readFileSync(path).subarray(1, -1)).update(',')
  return { chunks: chunks.length, bytes: chunks.reduce((sum, { bytes }) => sum + bytes, 0), sha1: hash.digest('hex') }
}

export function madeFacts(directory: string): SealedFacts {
  return JSON.parse(readFileSync(join(directory, FACTS), 'utf8')) as SealedFacts
}

/** Nothing is sealed afterwards; the log must be closed. Its next opening begins to seal everything again. */
export function removeChunks(directory: string): void {
  rmSync(join(directory, 'chunks'), { recursive: true })
}
