import { loadPeer } from '../harness/contenders.js'
import type { Entry, KeyStore, KeyStoreKind } from './key-store.js'

interface Operation {
  readonly type: 'put'
  readonly key: string
  readonly value: Buffer
}

interface Database {
  open(): Promise<void>
  batch(operations: readonly Operation[], options?: { sync: boolean }): Promise<void>
  put(key: string, value: Buffer, options: { sync: boolean }): Promise<void>
  getSync(key: string): Buffer | undefined
  iterator(options: object): { nextv(count: number): Promise<[string, Buffer][]>; close(): Promise<void> }
  close(): Promise<void>
}

const BATCH_ENTRIES = 1000
const MOST_BATCHES = 8
/** So that `nextv` is not cut short: its documentation asks for at least entries × their length. */
const READ_BYTES = 1024 * 1024

/** As classic-level's documentation recommends: batches for many writes, `sync: true` where durability matters, getSync for cached data, nextv for iteration. */
export const LEVEL_KEYS: KeyStoreKind = {
  name: 'classic-level',
  kind: 'peer',
  package: 'classic-level',
  open: async (directory) => {
    const { ClassicLevel } = loadPeer('classic-level') as { readonly ClassicLevel: new (path: string, options: object) => Database }
    const database = new ClassicLevel(directory, { keyEncoding: 'utf8', valueEncoding: 'buffer' })
    await database.open()
    return new LevelStore(database)
  },
}

class LevelStore implements KeyStore {
  readonly #database: Database
  #gathered: Operation[] = []
  #batches = 0
  #last: Promise<void> = Promise.resolve()

  constructor(database: Database) {
    this.#database = database
  }

  put(key: string, value: Buffer): void {
    this.#gathered.push({ type: 'put', key, value })
    if (this.#gathered.length === BATCH_ENTRIES) this.#send()
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

  /** A synced batch syncs the log before it; there must be something in it. */
  async durable(): Promise<void> {
    await this.committed()
    const [[key, value] = []] = await this.#some({ limit: 1 })
    if (key !== undefined && value !== undefined) await this.#database.put(key, value, { sync: true })
  }

  async putDurable(key: string, value: Buffer): Promise<void> {
    await this.#database.put(key, value, { sync: true })
  }

  async putBatchDurable(entries: readonly Entry[]): Promise<void> {
    await this.#database.batch(
      entries.map(({ key, value }) => ({ type: 'put', key, value })),
      { sync: true },
    )
  }

  read(keys: readonly string[], visit: (value: Uint8Array) => void): undefined {
    for (const key of keys) visit(this.#database.getSync(key)!)
  }

  async range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    const iterator = this.#database.iterator({
      highWaterMarkBytes: READ_BYTES,
      ...(from === '' ? {} : { gte: from }),
      ...(Number.isFinite(limit) ? { limit } : {}),
    })
    const size = Math.min(limit, BATCH_ENTRIES)
    for (let some = await iterator.nextv(size); some.length > 0; some = await iterator.nextv(size)) {
      for (const [key, value] of some) visit(key, value)
    }
    await iterator.close()
  }

  async close(): Promise<void> {
    await this.committed()
    await this.#database.close()
  }

  async #some(options: object): Promise<[string, Buffer][]> {
    const iterator = this.#database.iterator(options)
    const entries = await iterator.nextv(1)
    await iterator.close()
    return entries
  }

  #send(): void {
    if (this.#gathered.length === 0) return
    this.#batches++
    const batch = this.#database.batch(this.#gathered)
    this.#gathered = []
    this.#last = Promise.all([this.#last, batch]).then(() => {
      this.#batches--
    })
  }
}
