import { loadPeer } from '../harness/contenders.js'
import type { KeyStore, KeyStoreKind } from './key-store.js'

interface Batch {
  tryPut(key: string, value: Buffer): void
  get(key: string): Promise<Uint8Array | null>
  flush(): Promise<void>
  tryFlush(): void
  destroy(): void
}

interface Database {
  ready(): Promise<void>
  write(options: { capacity: number }): Batch
  read(options: { capacity: number }): Batch
  flush(): Promise<void>
  iterator(range: object, options: object): AsyncIterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>
  close(): Promise<void>
}

const BATCH_ENTRIES = 1000
const READ_BATCH_KEYS = 64
const MOST_BATCHES = 8

/**
 * Batches for writes and for reads, as rocksdb-native is made for. It has no way to sync its log: durable is a flush of the memtable, for which it is no contender
 * where every put is to be durable.
 */
export const ROCKSDB: KeyStoreKind = {
  name: 'rocksdb-native',
  kind: 'peer',
  package: 'rocksdb-native',
  open: async (directory) => {
    const database = new (loadPeer('rocksdb-native') as new (path: string) => Database)(`${directory}/rocksdb`)
    await database.ready()
    return new RocksStore(database)
  },
}

class RocksStore implements KeyStore {
  readonly #database: Database
  #gathering: Batch | undefined
  #gathered = 0
  #batches = 0
  #last: Promise<void> = Promise.resolve()

  constructor(database: Database) {
    this.#database = database
  }

  put(key: string, value: Buffer): void {
    this.#gathering ??= this.#database.write({ capacity: BATCH_ENTRIES })
    this.#gathering.tryPut(key, value)
    if (++this.#gathered === BATCH_ENTRIES) this.#send()
  }

  get full(): boolean {
    return this.#batches >= MOST_BATCHES
  }

  async drain(): Promise<void> {
    await this.#last
  }

  async committed(): Promise<void> {
    this.#send()
    await this.#last
  }

  async durable(): Promise<void> {
    await this.committed()
    await this.#database.flush()
  }

  putDurable(): never {
    throw new Error('rocksdb-native cannot sync its log')
  }

  putBatchDurable(): never {
    throw new Error('rocksdb-native cannot sync its log')
  }

  async read(keys: readonly string[], visit: (value: Uint8Array) => void): Promise<void> {
    for (let at = 0; at < keys.length; at += READ_BATCH_KEYS) {
      const batch = this.#database.read({ capacity: READ_BATCH_KEYS })
      const values = keys.slice(at, at + READ_BATCH_KEYS).map((key) => batch.get(key))
      await batch.flush()
      for (const value of values) visit((await value)!)
      batch.destroy()
    }
  }

  async range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    const range = { ...(from === '' ? {} : { gte: from }), ...(Number.isFinite(limit) ? { limit } : {}) }
    for await (const { key, value } of this.#database.iterator(range, { capacity: Math.min(limit, BATCH_ENTRIES) })) {
      visit(Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1'), value)
    }
  }

  async close(): Promise<void> {
    await this.committed()
    await this.#database.close()
  }

  #send(): void {
    const batch = this.#gathering
    if (batch === undefined) return
    this.#gathering = undefined
    this.#gathered = 0
    this.#batches++
    const written = batch.flush().then(() => batch.destroy())
    this.#last = Promise.all([this.#last, written]).then(() => {
      this.#batches--
    })
  }
}
