import type { Store, StoreOptions } from 'sealog/store'
import type { Durability } from '../stores/store.js'
import type { Entry, KeyStore, KeyStoreKind } from './key-store.js'

const KEYS_PER_CALL = 1000

function kind(name: string, contender: KeyStoreKind['kind'], options: StoreOptions, read: 'single' | 'many' = 'single'): KeyStoreKind {
  return {
    name,
    kind: contender,
    open: async (directory, durability) => {
      const { Store } = await import('sealog/store') // here, so that processes of peers do not load it
      const store = await Store.open(directory, { ...options, durability: durability satisfies Durability })
      return read === 'many' ? new SealogManyStore(store) : new SealogStore(store)
    },
  }
}

export const SEALOG_STORE = kind('sealog Store', 'sealog', { backend: 'native' })
/** Every value from the log. */
export const SEALOG_UNCACHED = kind('sealog Store, no record cache', 'sealog', { backend: 'native', recordCache: false })
export const SEALOG_GET_MANY = kind('sealog Store, no record cache, getMany', 'baseline', { backend: 'native', recordCache: false }, 'many')
/** The pure-JavaScript twin. */
export const SEALOG_STORE_JS = kind('sealog Store js', 'baseline', { backend: 'js' })
export const SEALOG_UNCACHED_JS = kind('sealog Store js, no record cache', 'baseline', { backend: 'js', recordCache: false })

class SealogStore implements KeyStore {
  protected readonly store: Store
  #last: Promise<unknown> = Promise.resolve()

  constructor(store: Store) {
    this.store = store
  }

  put(key: string, value: Buffer): void {
    this.#last = this.store.put(key, value)
  }

  get full(): boolean {
    return this.store.writableNeedDrain
  }

  drain(): Promise<void> {
    return this.store.drain()
  }

  async committed(): Promise<void> {
    await this.#last
  }

  durable(): Promise<void> {
    return this.store.flush()
  }

  async putDurable(key: string, value: Buffer): Promise<void> {
    await this.store.put(key, value)
  }

  async putBatchDurable(entries: readonly Entry[]): Promise<void> {
    await this.store.putBatch(entries)
  }

  read(keys: readonly string[], visit: (value: Uint8Array) => void): Promise<void> | undefined {
    for (const key of keys) visit(this.store.getSync(key)!)
    return undefined
  }

  async range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    const options = { ...(from === '' ? {} : { gte: from }), ...(Number.isFinite(limit) ? { limit } : {}) }
    for await (const [key, value] of this.store.entries(options)) visit(key as string, value)
  }

  close(): Promise<void> {
    return this.store.close()
  }
}

/** Asynchronous, many keys a call. */
class SealogManyStore extends SealogStore {
  override async read(keys: readonly string[], visit: (value: Uint8Array) => void): Promise<void> {
    for (let at = 0; at < keys.length; at += KEYS_PER_CALL) {
      for (const value of await this.store.getMany(keys.slice(at, at + KEYS_PER_CALL))) visit(value!)
    }
  }
}
