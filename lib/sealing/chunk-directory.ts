import path from 'node:path'
import { CHUNKS_DIRECTORY, type ChunkFileName, parseChunkFile } from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { ChunkEncoding } from './chunk.js'
import { ChunkFile } from './chunk-file.js'

/** What lies in the folder of sealed chunks: whole chunks in order, and the names of all that is none (unfinished, without its index, doubled). */
export interface ChunkListing {
  readonly chunks: readonly ChunkFile[]
  readonly strays: readonly string[]
}

export function chunksFolder(directory: string): string {
  return path.join(directory, CHUNKS_DIRECTORY)
}

export function* listChunks(directory: string): Procedure<ChunkListing> {
  const names = (yield* io.list(chunksFolder(directory))) ?? []
  const strays: string[] = []
  const bySequence = new Map<number, Array<{ readonly name: string; readonly parsed: ChunkFileName }>>()
  for (const name of names) {
    const parsed = parseChunkFile(name)
    if (parsed === undefined) {
      if (name.endsWith('.tmp')) strays.push(name)
      continue
    }
    const files = bySequence.get(parsed.sequence)
    if (files === undefined) bySequence.set(parsed.sequence, [{ name, parsed }])
    else files.push({ name, parsed })
  }
  const chunks: ChunkFile[] = []
  for (const files of bySequence.values()) {
    const chunk = wholeChunk(
      directory,
      files.map((file) => file.parsed),
    )
    if (chunk === undefined) strays.push(...files.map((file) => file.name))
    else chunks.push(chunk)
  }
  chunks.sort((a, b) => a.sequence - b.sequence)
  return { chunks, strays }
}

/** The chunk that the files of one sequence number make: one content, its index, siblings of that content. */
function wholeChunk(directory: string, files: readonly ChunkFileName[]): ChunkFile | undefined {
  const [{ first, last, crc }] = files
  if (files.some((file) => file.first !== first || file.last !== last || file.crc !== crc)) return undefined
  const siblings = new Map<ChunkEncoding, string>()
  let form: ChunkFile['form'] | undefined
  let indexed = false
  for (const { kind, siblingCrc } of files) {
    if (kind === 'idx') indexed = true
    else if (kind === 'gzip' || kind === 'zstd') siblings.set(kind, siblingCrc ?? '')
    else if (form === undefined) form = kind
    else return undefined
  }
  return form === undefined || !indexed ? undefined : new ChunkFile(directory, files[0], form, siblings)
}

/** Paths of the chunk files for which `wanted` holds. */
export function* findChunks(directory: string, wanted: (chunk: { readonly first: number; readonly last: number }) => boolean): Procedure<string[]> {
  const folder = chunksFolder(directory)
  const names = (yield* io.list(folder)) ?? []
  const matches = names.filter((name) => {
    const chunk = parseChunkFile(name)
    return chunk !== undefined && wanted(chunk)
  })
  return matches.map((name) => path.join(folder, name))
}

/** Removes the chunk files for which `goes` holds; they are derived, so a power loss may bring them back until the folder is synced. */
export function* removeChunks(directory: string, goes: (chunk: { readonly first: number; readonly last: number }) => boolean): Procedure<void> {
  const files = yield* findChunks(directory, goes)
  for (const file of files) yield* io.unlink(file)
  if (files.length > 0) yield* io.syncDirectory(chunksFolder(directory))
}
