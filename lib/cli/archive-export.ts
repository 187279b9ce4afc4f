import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Writable } from 'node:stream'
import { Log, LogError } from '../index.js'
import { archivedBatches, archivesOf } from './archived-records.js'
import type { CommonOptions } from './arguments.js'
import { formatCount, Output } from './output.js'
import { showProgress } from './progress.js'
import { jsonWriter, type Writer } from './read.js'

export interface ExportOptions extends CommonOptions {
  readonly format: 'ndjson' | 'msgpack'
  readonly from?: number
  readonly to?: number
  readonly output?: string
  readonly archiveDirectory?: string
}

/** Writes the records of archives to standard output or a new file; they are read and verified from the archives, without the lock of the log. */
export async function runExport(
  directory: string,
  { backend, format, from = 0, to = Number.POSITIVE_INFINITY, output, archiveDirectory }: ExportOptions,
): Promise<void> {
  const reader = await Log.openReader<unknown>(directory, { backend, archive: { directory: archiveDirectory } })
  try {
    const write = format === 'msgpack' ? await messagePackWriter(reader.codec) : jsonWriter(reader.codec)
    const { archived } = await archivesOf(reader)
    const wanted = archived.filter(({ base, end }) => end > from && base < to)
    const total = wanted.reduce((sum, { base, end }) => sum + Math.min(end, to) - Math.max(base, from), 0)
    const progress = showProgress('export', 'records', total)
    const stream = output === undefined ? process.stdout : await newFile(output)
    const out = new Output(stream)
    let records = 0
    try {
      for await (const batch of archivedBatches(reader, wanted, from, to)) {
        for (let i = 0; i < batch.length; i++) if (write(out, batch, i)) await out.flush()
        records += batch.length
        progress.update(records, records)
      }
      await out.flush()
    } finally {
      progress.stop()
      if (output !== undefined) await ended(stream)
    }
    if (output !== undefined) process.stderr.write(`${formatCount(records)} ${records === 1 ? 'record' : 'records'} exported to ${output}\n`)
  } finally {
    await reader.close()
  }
}

/** Never overwrites a file. */
async function newFile(path: string): Promise<Writable> {
  const stream = createWriteStream(path, { flags: 'wx' })
  await once(stream, 'open')
  return stream
}

async function ended(stream: Writable): Promise<void> {
  if (stream.destroyed) return
  stream.end()
  await once(stream, 'close')
}

/** One map per record: offset, timestamp, key (bytes, if any), and value (of codec json what it holds, else bytes) or tombstone. */
async function messagePackWriter(codec: 'json' | 'bytes'): Promise<Writer> {
  const { encode } = await loadMessagePack()
  return (output, batch, i) => {
    const key = batch.key(i)
    const value = batch.tombstone(i) ? { tombstone: true } : { value: codec === 'json' ? batch.value(i) : batch.bytes(i) }
    return output.write(encode({ offset: batch.offset(i), timestamp: batch.timestamp(i), ...(key === undefined ? {} : { key }), ...value }))
  }
}

async function loadMessagePack(): Promise<typeof import('@msgpack/msgpack')> {
  try {
    return await import('@msgpack/msgpack')
  } catch (error) {
    throw new LogError('ERR_SEALOG_UNSUPPORTED', 'MessagePack needs the package @msgpack/msgpack beside sealog: npm install @msgpack/msgpack', { cause: error })
  }
}
