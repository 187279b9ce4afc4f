import { join } from 'node:path'
import { loadPeer } from '../harness/contenders.js'
import type { Durability } from '../stores/store.js'
import type { Entry, KeyStore, KeyStoreKind } from './key-store.js'

interface Statement {
  run(...values: unknown[]): unknown
  get(...values: unknown[]): unknown
  iterate(...values: unknown[]): Iterable<unknown>
  pluck(): Statement
  raw(): Statement
}

interface Database {
  pragma(text: string): unknown
  exec(text: string): unknown
  prepare(text: string): Statement
  transaction(body: (entries: readonly Entry[]) => void): (entries: readonly Entry[]) => void
  close(): void
}

const TRANSACTION_ENTRIES = 1000

/**
 * As better-sqlite3's documentation recommends: WAL, prepared statements, many changes per transaction; `synchronous` NORMAL where committed is enough, FULL
 * (a sync per transaction) where every put is to be durable. It is synchronous.
 */
export const SQLITE_KEYS: KeyStoreKind = {
  name: 'better-sqlite3',
  kind: 'peer',
  package: 'better-sqlite3',
  open: async (directory, durability) =>
    new SqliteStore(new (loadPeer('better-sqlite3') as new (path: string) => Database)(join(directory, 'entries.db')), durability),
}

class SqliteStore implements KeyStore {
  readonly #database: Database
  readonly #put: Statement
  readonly #get: Statement
  readonly #range: Statement
  readonly #putMany: (entries: readonly Entry[]) => void
  #waiting: Entry[] = []

  constructor(database: Database, durability: Durability) {
    this.#database = database
    database.pragma('journal_mode = WAL')
    database.pragma(`synchronous = ${durability === 'fsync' ? 'FULL' : 'NORMAL'}`)
    database.exec('CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID')
    this.#put = database.prepare('INSERT INTO entries (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value')
    this.#get = database.prepare('SELECT value FROM entries WHERE key = ?').pluck()
    this.#range = database.prepare('SELECT key, value FROM entries WHERE key >= ? ORDER BY key LIMIT ?').raw()
    this.#putMany = database.transaction((entries) => {
      for (const { key, value } of entries) this.#put.run(key, value)
    })
  }

  put(key: string, value: Buffer): void {
    this.#waiting.push({ key, value })
    if (this.#waiting.length === TRANSACTION_ENTRIES) this.#commit()
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

  async putDurable(key: string, value: Buffer): Promise<void> {
    this.#put.run(key, value)
  }

  async putBatchDurable(entries: readonly Entry[]): Promise<void> {
    this.#putMany(entries)
  }

  read(keys: readonly string[], visit: (value: Uint8Array) => void): undefined {
    for (const key of keys) visit(this.#get.get(key) as Buffer)
  }

  async range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    for (const row of this.#range.iterate(from, Number.isFinite(limit) ? limit : -1)) {
      const [key, value] = row as [string, Buffer]
      visit(key, value)
    }
  }

  async close(): Promise<void> {
    this.#commit()
    this.#database.close()
  }

  #commit(): void {
    if (this.#waiting.length === 0) return
    this.#putMany(this.#waiting)
    this.#waiting = []
  }
}
