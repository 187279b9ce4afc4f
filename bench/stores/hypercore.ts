import { loadPeer } from '../harness/contenders.js'
import type { Store, StoreKind } from './store.js'

interface Core {
  ready(): Promise<void>
  append(blocks: readonly Buffer[]): Promise<unknown>
  readonly length: number
  createReadStream(): AsyncIterable<Buffer>
  close(): Promise<void>
}

const BATCH_RECORDS = 1000
const MOST_BATCHES = 8

/**
 * An append-only log that can be replicated without trusting anybody: every batch is signed, every block hashed into a Merkle tree. Batches, as its documentation
 * recommends for many blocks. It has no call that syncs.
 */
export const HYPERCORE: StoreKind = {
  name: 'hypercore',
  kind: 'peer',
  package: 'hypercore',
  open: async (directory) => {
    const core = new (loadPeer('hypercore') as new (path: string) => Core)(`${directory}/core`)
    await core.ready()
    return new HypercoreStore(core)
  },
}

class HypercoreStore implements Store {
  readonly #core: Core
  #gathered: Buffer[] = []
  #batches = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(core: Core) {
    this.#core = core
  }

  write(record: Buffer): void {
    this.#gathered.push(record)
    if (this.#gathered.length === BATCH_RECORDS) this.#send()
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

  durable(): Promise<void> {
    return this.committed()
  }

  append(record: Buffer): Promise<unknown> {
    return this.#core.append([record])
  }

  appendDurable(): never {
    throw new Error('hypercore has no call that syncs')
  }

  appendDurableSync(): never {
    throw new Error('hypercore has no call that syncs')
  }

  get(): never {
    throw new Error('hypercore reads asynchronously')
  }

  async scan(visit: (value: Uint8Array) => void): Promise<void> {
    for await (const block of this.#core.createReadStream()) visit(block)
  }

  get groups(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    await this.committed()
    await this.#core.close()
  }

  #send(): void {
    if (this.#gathered.length === 0) return
    this.#batches++
    const appended = this.#core.append(this.#gathered)
    this.#gathered = []
    this.#last = Promise.all([this.#last, appended]).then(() => {
      this.#batches--
    })
  }
}
