import { loadPeer } from '../harness/contenders.js'
import type { Entry, KeyStore, KeyStoreKind } from './key-store.js'

interface Put extends Promise<boolean> {
  /** Resolves when the commit was synced (option separateFlushed). */
  readonly flushed: Promise<boolean>
}

interface Database {
  put(key: string, value: Buffer): Put
  transaction<T>(action: () => T): Promise<T>
  readonly flushed: Promise<boolean>
  getBinary(key: string): Buffer | undefined
  getRange(options: object): Iterable<{ readonly key: string; readonly value: Buffer }>
  close(): Promise<void>
}

interface Lmdb {
  open(options: object): Database
}

const MOST_WAITING = 32 * 1024

/**
 * As the README of lmdb-js recommends: asynchronous puts, which it gathers into transactions itself; binary values, ordered keys, which is the default; getBinary, whose
 * result may be kept, like sealog's. `separateFlushed` tells committed and durable apart, as `flush` and `fsync` do.
 */
export const LMDB_KEYS: KeyStoreKind = {
  name: 'lmdb',
  kind: 'peer',
  package: 'lmdb',
  open: async (directory) => new LmdbStore((loadPeer('lmdb') as Lmdb).open({ path: directory, encoding: 'binary', separateFlushed: true })),
}

class LmdbStore implements KeyStore {
  readonly #database: Database
  #waiting = 0
  #last: Put | undefined

  constructor(database: Database) {
    this.#database = database
  }

  put(key: string, value: Buffer): void {
    this.#last = this.#database.put(key, value)
    this.#waiting++
  }

  get full(): boolean {
    return this.#waiting >= MOST_WAITING
  }

  drain(): Promise<void> {
    return this.committed()
  }

  async committed(): Promise<void> {
    await this.#last
    this.#waiting = 0
  }

  async durable(): Promise<void> {
    await this.#last?.flushed
    this.#waiting = 0
  }

  async putDurable(key: string, value: Buffer): Promise<void> {
    await this.#database.put(key, value).flushed
  }

  async putBatchDurable(entries: readonly Entry[]): Promise<void> {
    let last: Put | undefined
    await this.#database.transaction(() => {
      for (const { key, value } of entries) last = this.#database.put(key, value)
    })
    await (last?.flushed ?? this.#database.flushed)
  }

  read(keys: readonly string[], visit: (value: Uint8Array) => void): undefined {
    for (const key of keys) visit(this.#database.getBinary(key)!)
  }

  async range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    const options = { ...(from === '' ? {} : { start: from }), ...(Number.isFinite(limit) ? { limit } : {}) }
    for (const { key, value } of this.#database.getRange(options)) visit(key, value)
  }

  close(): Promise<void> {
    return this.#database.close()
  }
}
