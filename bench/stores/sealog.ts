import type { Log } from 'sealog'
import type { Durability, Store, StoreKind } from './store.js'

export const SEALOG: StoreKind = {
  name: 'sealog',
  kind: 'sealog',
  open: (directory, durability) => SealogStore.open(directory, durability, 'native'),
}

/** The pure-JavaScript twin. */
export const SEALOG_JS: StoreKind = {
  name: 'sealog js',
  kind: 'baseline',
  open: (directory, durability) => SealogStore.open(directory, durability, 'js'),
}

class SealogStore implements Store {
  readonly #log: Log

  static async open(directory: string, durability: Durability, backend: 'native' | 'js'): Promise<SealogStore> {
    const { Log } = await import('sealog') // here, so that processes of peers do not load it
    return new SealogStore(await Log.open(directory, { durability, backend }))
  }

  private constructor(log: Log) {
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
    for await (const batch of this.#log.batches({ from: this.#log.startOffset })) {
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
