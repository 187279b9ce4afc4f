import { open, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { decodeChunkIndexHeader } from '../format/chunk-index.js'
import { CHUNK_INDEX_HEADER_BYTES } from '../format/constants.js'
import { type ChunkFileName, parseChunkFile } from '../format/names.js'
import { Log, type LogView } from '../index.js'
import type { ChunkInfo } from '../sealing/chunk.js'
import { type CommonOptions, withCommonOptions } from './arguments.js'
import { formatBytes, formatCount, printColumns, printJson } from './output.js'

interface ChunksOptions extends CommonOptions {
  readonly seal?: boolean
}

/** A chunk with what its neighbours in the folder tell, unverified. */
export interface ListedChunk extends ChunkInfo {
  readonly records: number
  readonly siblings: ReadonlyArray<{ readonly encoding: 'gzip' | 'zstd'; readonly bytes: number }>
}

export function addChunks(program: Command): void {
  withCommonOptions(program.command('chunks'))
    .argument('<dir>')
    .description('List the sealed chunks of the log. Works beside a live writer, unless --seal is given.')
    .option('--seal', 'first seal everything that is not sealed yet (opens the log for writing)')
    .action(chunks)
}

async function chunks(directory: string, { json, backend, seal }: ChunksOptions): Promise<void> {
  const listed = seal ? await sealAndList(directory, backend) : await list(directory, backend)
  if (json) printJson({ chunks: listed })
  else printChunks(listed, seal ? 'nothing to seal: no records, or a log without sealed chunks (option seal)' : 'no sealed chunks; --seal makes them')
}

async function list(directory: string, backend: CommonOptions['backend']): Promise<ListedChunk[]> {
  const reader = await Log.openReader(directory, { backend })
  try {
    return await describeChunks(reader, await reader.chunks.list())
  } finally {
    await reader.close()
  }
}

async function sealAndList(directory: string, backend: CommonOptions['backend']): Promise<ListedChunk[]> {
  const log = await Log.open<unknown>(directory, { backend, create: false })
  try {
    return await describeChunks(log, await log.chunks.seal())
  } finally {
    await log.close()
  }
}

/** Chunks that go away meanwhile are left out. */
export async function describeChunks({ environment }: LogView<unknown>, chunks: readonly ChunkInfo[]): Promise<ListedChunk[]> {
  if (chunks.length === 0) return []
  const { crc32c } = environment.kernels
  const folder = dirname(chunks[0].path)
  const names = new Map<number, Array<{ readonly name: string; readonly file: ChunkFileName }>>()
  for (const name of await readdir(folder)) {
    const file = parseChunkFile(name)
    if (file === undefined) continue
    const neighbours = names.get(file.sequence)
    if (neighbours === undefined) names.set(file.sequence, [{ name, file }])
    else neighbours.push({ name, file })
  }
  const described: ListedChunk[] = []
  for (const chunk of chunks) {
    const files = (names.get(chunk.sequence) ?? []).filter(({ file }) => file.crc === chunk.crc)
    try {
      const siblings: Array<{ encoding: 'gzip' | 'zstd'; bytes: number }> = []
      let records: number | undefined
      for (const { name, file } of files) {
        if (file.kind === 'gzip' || file.kind === 'zstd') siblings.push({ encoding: file.kind, bytes: (await stat(join(folder, name))).size })
        else if (file.kind === 'idx') records = decodeChunkIndexHeader(await readStart(join(folder, name), CHUNK_INDEX_HEADER_BYTES), crc32c)?.records
      }
      if (records !== undefined) described.push({ ...chunk, records, siblings: siblings.sort((a, b) => (a.encoding < b.encoding ? -1 : 1)) })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return described
}

async function readStart(path: string, length: number): Promise<Uint8Array> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

export function printChunks(chunks: readonly ListedChunk[], none: string): void {
  if (chunks.length === 0) {
    process.stdout.write(`${none}\n`)
    return
  }
  const rows = chunks.map(({ sequence, first, last, records, bytes, form, siblings, path }) => [
    String(sequence),
    `${first} to ${last}`,
    formatCount(records),
    formatBytes(bytes),
    form,
    siblings.map(({ encoding, bytes }) => `${encoding} ${formatBytes(bytes)}`).join(', ') || '–',
    basename(path),
  ])
  printColumns(['chunk', 'offsets', 'records', 'size', 'form', 'compressed', 'file'], rows)
  const total = (of: (chunk: ListedChunk) => number) => chunks.reduce((sum, chunk) => sum + of(chunk), 0)
  const count = `${formatCount(chunks.length)} ${chunks.length === 1 ? 'chunk' : 'chunks'}`
  process.stdout.write(`${count}, ${formatCount(total(({ records }) => records))} records, ${formatBytes(total(({ bytes }) => bytes))}\n`)
}
