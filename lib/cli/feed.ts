import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { inputError, readLines } from './input.js'

const MAX_LINE_BYTES = 16 * 1024 * 1024

/** One line of the input; `text` is its exact JSON text. */
export interface FeedRecord {
  readonly key?: string
  readonly value: Uint8Array
}

interface Change {
  readonly key?: unknown
  readonly headers?: { readonly tx?: unknown }
}

/**
 * The changes of a file (.ndjson, or .gz of it) by transaction: neighbouring lines with the same `headers.tx` belong together, a line without is a
 * transaction of its own.
 */
export async function* readTransactions(file: string): AsyncGenerator<FeedRecord[]> {
  let open: FeedRecord[] = []
  let openTx: unknown
  for await (const lines of readLines(readFile(file), MAX_LINE_BYTES)) {
    for (const { number, bytes } of lines) {
      const { key, headers } = parse(bytes, number)
      const tx = headers?.tx
      if (open.length > 0 && (tx === undefined || tx !== openTx)) {
        yield open
        open = []
      }
      openTx = tx
      open.push(typeof key === 'string' ? { key, value: bytes } : { value: bytes })
    }
  }
  if (open.length > 0) yield open
}

function parse(bytes: Uint8Array, line: number): Change {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
    return typeof value === 'object' && value !== null ? value : {}
  } catch (error) {
    throw inputError('line', line, error instanceof Error ? error.message : String(error), error)
  }
}

function readFile(file: string): AsyncIterable<Uint8Array> {
  const source = createReadStream(file, { highWaterMark: 1024 * 1024 })
  if (!file.endsWith('.gz')) return source
  const gunzip = createGunzip({ chunkSize: 1024 * 1024 })
  source.on('error', (error) => gunzip.destroy(error))
  return source.pipe(gunzip)
}
