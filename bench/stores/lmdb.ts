import { loadPeer } from '../harness/contenders.js'
import type { Store, StoreKind } from './store.js'

interface Put extends Promise<boolean> {
  /** Resolves when the commit was synced (option separateFlushed). */
  readonly flushed: Promise<boolean>
}

interface Database {
  put(key: number, value: Buffer): Put
  putSync(key: number, value: Buffer): boolean
  getBinaryFast(key: number): Buffer | undefined
  getRange(options: object): Iterable<{ key: number; value: Buffer }>
  close(): Promise<void>
}

interface Lmdb {
  open(options: object): Database
}

const MOST_WAITING = 32 * 1024
const MOST_WAITING_BYTES = 64 * 2 ** 20

/**
 * As the README of lmdb-js recommends: asynchronous puts, which it gathers into transactions itself; binary values; integer keys in ascending
 * order; getBinaryFast for synchronous reads. `separateFlushed` tells committed and durable apart, as sealog's `committed` and `durable` do.
 * putSync is synced before it returns.
 */
export const LMDB: StoreKind = { name: 'lmdb', kind: 'peer', package: 'lmdb', open: async (directory) => openLmdb(directory, {}) }

/** For random reads of a database that does not fit into memory, says the README: the kernel does not read around what is asked for. */
export const LMDB_NO_READ_AHEAD: StoreKind = {
  name: 'lmdb, noReadAhead',
  kind: 'peer',
  package: 'lmdb',
  open: async (directory) => openLmdb(directory, { noReadAhead: true }),
}

function openLmdb(directory: string, options: object): Store {
  return new LmdbStore((loadPeer('lmdb') as Lmdb).open({ path: directory, encoding: 'binary', keyEncoding: 'uint32', separateFlushed: true, ...options }))
}

class LmdbStore implements Store {
  readonly #database: Database
  #count = 0
  #waiting = 0
  #waitingBytes = 0
  #last: Put | undefined

  constructor(database: Database) {
    this.#database = database
  }

  write(record: Buffer): void {
    this.#last = this.#database.put(this.#count++, record)
    this.#waiting++
    this.#waitingBytes += record.length
  }

  get full(): boolean {
    return this.#waiting >= MOST_WAITING || this.#waitingBytes >= MOST_WAITING_BYTES
  }

  async drain(): Promise<void> {
    await this.committed()
  }

  async committed(): Promise<void> {
    await this.#last
    this.#clearWaiting()
  }

  async durable(): Promise<void> {
    await this.#last?.flushed
    this.#clearWaiting()
  }

  #clearWaiting(): void {
    this.#waiting = 0
    this.#waitingBytes = 0
  }

  append(record: Buffer): Promise<unknown> {
    return this.#database.put(this.#count++, record)
  }

  async appendDurable(record: Buffer): Promise<void> {
    await this.#database.put(this.#count++, record).flushed
  }

  appendDurableSync(record: Buffer): void {
    this.#database.putSync(this.#count++, record)
  }

  get(n: number): Uint8Array {
    return this.#database.getBinaryFast(n)!
  }

  async scan(visit: (value: Uint8Array) => void): Promise<void> {
    for (const { value } of this.#database.getRange({})) visit(value)
  }

  get groups(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    await this.#database.close()
  }
}
