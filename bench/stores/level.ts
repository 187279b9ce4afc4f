import { loadPeer } from '../harness/contenders.js'
import type { Store, StoreKind } from './store.js'

interface Operation {
  readonly type: 'put'
  readonly key: Buffer
  readonly value: Buffer
}

interface Database {
  open(): Promise<void>
  batch(operations: readonly Operation[], options?: { sync: boolean }): Promise<void>
  put(key: Buffer, value: Buffer, options?: { sync: boolean }): Promise<void>
  getSync(key: Buffer): Buffer | undefined
  values(options: object): { nextv(count: number): Promise<Buffer[]>; close(): Promise<void> }
  close(): Promise<void>
}

interface ClassicLevel {
  readonly ClassicLevel: new (path: string, options: object) => Database
}

const BATCH_RECORDS = 1000
const BATCH_BYTES = 4 * 2 ** 20
const MOST_BATCHES = 8
/** So that `nextv` is not cut short: its documentation asks for at least entries × their length. */
const READ_BYTES = 1024 * 1024

/**
 * As classic-level's documentation recommends: batches for many writes, `sync: true` where durability matters, binary keys and values without
 * conversion, getSync for cached data, nextv for iteration. Keys are big-endian numbers, so that the order of bytes is that of numbers.
 */
export const LEVEL: StoreKind = {
  name: 'classic-level',
  kind: 'peer',
  package: 'classic-level',
  open: async (directory) => {
    const { ClassicLevel } = loadPeer('classic-level') as ClassicLevel
    const database = new ClassicLevel(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await database.open()
    return new LevelStore(database)
  },
}

class LevelStore implements Store {
  readonly #database: Database
  readonly #lookup = Buffer.alloc(4)
  #count = 0
  #gathered: Operation[] = []
  #gatheredBytes = 0
  #batches = 0
  #last: Promise<void> = Promise.resolve()

  constructor(database: Database) {
    this.#database = database
  }

  write(record: Buffer): void {
    this.#gathered.push({ type: 'put', key: this.#nextKey(), value: record })
    this.#gatheredBytes += record.length
    if (this.#gathered.length === BATCH_RECORDS || this.#gatheredBytes >= BATCH_BYTES) this.#send()
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

  /** An empty batch would not reach the disk: the last record again, synced, syncs the log before it. */
  async durable(): Promise<void> {
    await this.committed()
    if (this.#count === 0) return
    const key = this.#keyOf(this.#count - 1)
    const value = this.#database.getSync(key)
    if (value) await this.#database.put(key, value, { sync: true })
  }

  append(record: Buffer): Promise<unknown> {
    return this.#database.put(this.#nextKey(), record)
  }

  async appendDurable(record: Buffer): Promise<void> {
    await this.#database.put(this.#nextKey(), record, { sync: true })
  }

  appendDurableSync(): never {
    throw new Error('classic-level has no synchronous put')
  }

  get(n: number): Uint8Array {
    this.#lookup.writeUInt32BE(n)
    return this.#database.getSync(this.#lookup)!
  }

  async scan(visit: (value: Uint8Array) => void): Promise<void> {
    const values = this.#database.values({ highWaterMarkBytes: READ_BYTES })
    for (let some = await values.nextv(BATCH_RECORDS); some.length > 0; some = await values.nextv(BATCH_RECORDS)) {
      for (const value of some) visit(value)
    }
    await values.close()
  }

  get groups(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    await this.committed()
    await this.#database.close()
  }

  #send(): void {
    if (this.#gathered.length === 0) return
    this.#batches++
    const batch = this.#database.batch(this.#gathered)
    this.#gathered = []
    this.#gatheredBytes = 0
    this.#last = Promise.all([this.#last, batch]).then(() => {
      this.#batches--
    })
  }

  #nextKey(): Buffer {
    return this.#keyOf(this.#count++)
  }

  #keyOf(n: number): Buffer {
    const key = Buffer.allocUnsafe(4)
    key.writeUInt32BE(n)
    return key
  }
}
