import { join } from 'node:path'
import { loadPeer } from '../harness/contenders.js'
import type { Durability, Store, StoreKind } from './store.js'

interface Statement {
  run(...values: unknown[]): unknown
  get(...values: unknown[]): unknown
  iterate(): Iterable<unknown>
  pluck(): Statement
}

interface Database {
  pragma(text: string): unknown
  exec(text: string): unknown
  prepare(text: string): Statement
  transaction(body: (records: readonly Buffer[]) => void): (records: readonly Buffer[]) => void
  close(): void
}

type Sqlite = new (path: string) => Database

const TRANSACTION_RECORDS = 1000
const TRANSACTION_BYTES = 4 * 2 ** 20

/**
 * As better-sqlite3's documentation recommends: WAL, prepared statements, many inserts per transaction; `synchronous` NORMAL where
 * committed is enough, FULL (a sync per transaction) where every append is to be durable. It has no asynchronous interface, so concurrent
 * writers come one after the other.
 */
export const SQLITE: StoreKind = {
  name: 'better-sqlite3',
  kind: 'peer',
  package: 'better-sqlite3',
  open: async (directory, durability) => new SqliteStore(new (loadPeer('better-sqlite3') as Sqlite)(join(directory, 'records.db')), durability),
}

class SqliteStore implements Store {
  readonly #database: Database
  readonly #insert: Statement
  readonly #select: Statement
  readonly #insertMany: (records: readonly Buffer[]) => void
  #waiting: Buffer[] = []
  #waitingBytes = 0

  constructor(database: Database, durability: Durability) {
    this.#database = database
    database.pragma('journal_mode = WAL')
    database.pragma(`synchronous = ${durability === 'fsync' ? 'FULL' : 'NORMAL'}`)
    database.exec('CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, value BLOB NOT NULL)')
    this.#insert = database.prepare('INSERT INTO records (value) VALUES (?)')
    this.#select = database.prepare('SELECT value FROM records WHERE id = ?').pluck()
    this.#insertMany = database.transaction((records) => {
      for (const record of records) this.#insert.run(record)
    })
  }

  write(record: Buffer): void {
    this.#waiting.push(record)
    this.#waitingBytes += record.length
    if (this.#waiting.length === TRANSACTION_RECORDS || this.#waitingBytes >= TRANSACTION_BYTES) this.#commit()
  }

  get full(): boolean {
    return false
  }

  async drain(): Promise<void> {}

  async committed(): Promise<void> {
    this.#commit()
  }

  /** A checkpoint syncs the WAL and the database. */
  async durable(): Promise<void> {
    this.#commit()
    this.#database.pragma('wal_checkpoint(FULL)')
  }

  async append(record: Buffer): Promise<void> {
    this.#insert.run(record)
  }

  async appendDurable(record: Buffer): Promise<void> {
    this.#insert.run(record)
  }

  appendDurableSync(record: Buffer): void {
    this.#insert.run(record)
  }

  get(n: number): Uint8Array {
    return this.#select.get(n + 1) as Buffer
  }

  async scan(visit: (value: Uint8Array) => void): Promise<void> {
    const all = this.#database.prepare('SELECT value FROM records ORDER BY id').pluck()
    for (const value of all.iterate()) visit(value as Buffer)
  }

  get groups(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    this.#commit()
    this.#database.close()
  }

  #commit(): void {
    if (this.#waiting.length === 0) return
    this.#insertMany(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
  }
}
