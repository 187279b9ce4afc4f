import { readFileSync } from 'node:fs'
import path from 'node:path'
import { SNAPSHOT_FILE } from '../../lib/format/names.js'
import type { Backend } from '../../lib/kernels/kernels.js'
import { type Key, type RangeOptions, Store, type StoreOptions } from '../../lib/store/index.js'

export const snapshotPath = (directory: string): string => path.join(directory, SNAPSHOT_FILE)
export const readSnapshot = (directory: string): Buffer => readFileSync(snapshotPath(directory))

export function openJson<V = unknown>(directory: string, backend: Backend, options: StoreOptions = {}): Promise<Store<V>> {
  return Store.open<V>(directory, { ...options, backend, codec: 'json' })
}

/** Runs `use` with an open store and closes it whatever happens. */
export async function withStore<V, R>(directory: string, backend: Backend, options: StoreOptions, use: (store: Store<V>) => Promise<R>): Promise<R> {
  const store = await openJson<V>(directory, backend, options)
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}

export async function entriesOf<V>(store: Store<V>, range?: RangeOptions): Promise<[Key, V][]> {
  const entries: [Key, V][] = []
  for await (const entry of store.entries(range)) entries.push(entry)
  return entries
}

export async function keysOf(store: Store<unknown>, range?: RangeOptions): Promise<Key[]> {
  const keys: Key[] = []
  for await (const key of store.keys(range)) keys.push(key)
  return keys
}

type Change = { readonly key: string; readonly value: unknown } | { readonly key: string } | 'clear'

/** What a store should hold: changes by offset, replayed plainly. */
export class Changes {
  readonly #changes: Change[] = []

  put(offset: number, key: string, value: unknown): void {
    this.#at(offset, { key, value })
  }

  delete(offset: number, key: string): void {
    this.#at(offset, { key })
  }

  clear(offset: number): void {
    this.#at(offset, 'clear')
  }

  get length(): number {
    return this.#changes.length
  }

  /** Sorted entries when the records below `end` were the log. */
  entries(end: number): [string, unknown][] {
    const map = new Map<string, unknown>()
    for (const change of this.#changes.slice(0, end)) {
      if (change === 'clear') map.clear()
      else if ('value' in change) map.set(change.key, change.value)
      else map.delete(change.key)
    }
    return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  /** Sorted sums of the values' `n` since the last deletion of each key. */
  sums(end: number): [string, number][] {
    const map = new Map<string, number>()
    for (const change of this.#changes.slice(0, end)) {
      if (change === 'clear') map.clear()
      else if ('value' in change) map.set(change.key, (map.get(change.key) ?? 0) + (change.value as { n: number }).n)
      else map.delete(change.key)
    }
    return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  #at(offset: number, change: Change): void {
    this.#changes.length = offset
    this.#changes.push(change)
  }
}
