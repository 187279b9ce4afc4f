import { once } from 'node:events'
import { createWriteStream, existsSync, fdatasync, readFileSync, type WriteStream } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Entry, KeyStore, KeyStoreKind } from './key-store.js'

const BUFFER_BYTES = 1024 * 1024
const NEWLINE = 10
/** `["user:00000000123",` in front of the value, `]` behind it. */
const KEY_START = 2
const VALUE_START = 20

/**
 * All values in a Map, every change a line of JSON: what many programs begin with. No checksum, no recovery, no bound on memory, never compacted; order by sorting
 * the keys when it is asked for.
 */
export const MAP: KeyStoreKind = {
  name: 'Map + NDJSON',
  kind: 'peer',
  open: async (directory) => {
    const path = join(directory, 'entries.ndjson')
    const values = existsSync(path) ? load(readFileSync(path)) : new Map<string, Buffer>()
    const stream = createWriteStream(path, { flags: 'a', highWaterMark: BUFFER_BYTES })
    await once(stream, 'open')
    return new MapStore(values, stream)
  },
}

/** Values are JSON text already: they stay views of the file's bytes, which is less than JSON.parse would cost. */
function load(bytes: Buffer): Map<string, Buffer> {
  const values = new Map<string, Buffer>()
  for (let start = 0, end = bytes.indexOf(NEWLINE); end !== -1; start = end + 1, end = bytes.indexOf(NEWLINE, start)) {
    values.set(bytes.toString('latin1', start + KEY_START, start + VALUE_START - 2), bytes.subarray(start + VALUE_START, end - 1))
  }
  return values
}

class MapStore implements KeyStore {
  readonly #values: Map<string, Buffer>
  readonly #stream: WriteStream & { fd?: number }
  #sorted: string[] | undefined

  constructor(values: Map<string, Buffer>, stream: WriteStream) {
    this.#values = values
    this.#stream = stream
  }

  put(key: string, value: Buffer): void {
    const { size } = this.#values
    this.#values.set(key, value)
    if (this.#values.size !== size) this.#sorted = undefined
    this.#stream.write(`["${key}",${value.toString('latin1')}]\n`, 'latin1')
  }

  get full(): boolean {
    return this.#stream.writableNeedDrain
  }

  async drain(): Promise<void> {
    await once(this.#stream, 'drain')
  }

  async committed(): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#stream.write('', (error) => (error ? reject(error) : resolve())))
  }

  async durable(): Promise<void> {
    await this.committed()
    await promisify(fdatasync)(this.#stream.fd!)
  }

  async putDurable(key: string, value: Buffer): Promise<void> {
    this.put(key, value)
    await this.durable()
  }

  /** Not atomic: it has no way to be. */
  async putBatchDurable(entries: readonly Entry[]): Promise<void> {
    for (const { key, value } of entries) this.put(key, value)
    await this.durable()
  }

  read(keys: readonly string[], visit: (value: Uint8Array) => void): undefined {
    for (const key of keys) visit(this.#values.get(key)!)
  }

  async range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    this.#sorted ??= [...this.#values.keys()].sort()
    const sorted = this.#sorted
    let low = 0
    for (let high = sorted.length; low < high; ) {
      const middle = (low + high) >>> 1
      if (sorted[middle] < from) low = middle + 1
      else high = middle
    }
    for (const end = Math.min(sorted.length, low + limit); low < end; low++) visit(sorted[low], this.#values.get(sorted[low])!)
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.end(resolve))
  }
}
