import type { Log, LogOptions } from 'sealog'
import type { Store, StoreKind } from './store.js'

export const SEALOG: StoreKind = {
  name: 'sealog',
  kind: 'sealog',
  open: (directory, durability) => openStore(directory, { durability, backend: 'native' }),
}

/** Records gathered into batches of 1,000 (at most 4 MiB), as peers with batches do. */
export const SEALOG_BATCHES: StoreKind = {
  name: 'sealog appendBatch',
  kind: 'sealog',
  open: async (directory, durability) => new SealogBatchStore(await openLog(directory, { durability, backend: 'native' })),
}

/** The pure-JavaScript twin. */
export const SEALOG_JS: StoreKind = {
  name: 'sealog js',
  kind: 'baseline',
  open: (directory, durability) => openStore(directory, { durability, backend: 'js' }),
}

export async function openStore(directory: string, options: LogOptions): Promise<Store> {
  return new SealogStore(await openLog(directory, options))
}

async function openLog(directory: string, options: LogOptions): Promise<Log> {
  const { Log } = await import('sealog') // here, so that processes of peers do not load it
  return Log.open(directory, options)
}

class SealogStore implements Store {
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  write(record: Buffer): void {
    this.#log.enqueue(record)
  }

  get full(): boolean {
    return this.#log.writableNeedDrain
  }

  async drain(): Promise<void> {
    await this.#log.drain()
  }

  async committed(): Promise<void> {
    await this.#log.committed()
  }

  async durable(): Promise<void> {
    await this.#log.sync()
  }

  append(record: Buffer): Promise<unknown> {
    return this.#log.append(record)
  }

  async appendDurable(record: Buffer): Promise<void> {
    await this.#log.append(record)
  }

  appendDurableSync(record: Buffer): void {
    this.#log.appendSync(record)
  }

  get(n: number): Uint8Array {
    return this.#log.getSync(n)!.value!
  }

  async scan(visit: (value: Uint8Array) => void): Promise<void> {
    for await (const batch of this.#log.batches({ from: this.#log.startOffset, reuseBuffers: true })) {
      for (let i = 0; i < batch.length; i++) visit(batch.value(i))
    }
  }

  get groups(): number {
    return this.#log.stats().groups
  }

  async close(): Promise<void> {
    await this.#log.close()
  }
}

const BATCH_RECORDS = 1000
const BATCH_BYTES = 4 * 2 ** 20

class SealogBatchStore extends SealogStore {
  readonly #log: Log
  #gathered: Buffer[] = []
  #gatheredBytes = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(log: Log) {
    super(log)
    this.#log = log
  }

  override write(record: Buffer): void {
    this.#gathered.push(record)
    this.#gatheredBytes += record.length
    if (this.#gathered.length === BATCH_RECORDS || this.#gatheredBytes >= BATCH_BYTES) this.#send()
  }

  override async committed(): Promise<void> {
    this.#send()
    await this.#last
  }

  override async durable(): Promise<void> {
    this.#send()
    await super.durable()
  }

  #send(): void {
    if (this.#gathered.length === 0) return
    this.#last = this.#log.appendBatch(this.#gathered)
    this.#gathered = []
    this.#gatheredBytes = 0
  }
}
