import type { Contender, PeerPackage } from '../harness/case.js'

/**
 * What the cases do to a log-shaped store: append values, read value number n, read them all in order. One class per store; a store that has
 * no good way to do something says so by throwing, and is no contender in the cases that need it. Only one class is used in a process,
 * so that calls through this interface are inlined like direct ones.
 */
export interface Store {
  /** Accepts a record; it may wait in memory. */
  write(record: Buffer): void
  /** Too much waits: `drain` before the next write. */
  readonly full: boolean
  drain(): Promise<void>
  /** All that was written is visible to readers and survives the end of this process. */
  committed(): Promise<void>
  /** All that was written survives power loss. */
  durable(): Promise<void>
  /** Resolves when this record is committed. */
  append(record: Buffer): Promise<unknown>
  /** Resolves when this record survives power loss. */
  appendDurable(record: Buffer): Promise<void>
  appendDurableSync(record: Buffer): void
  /** Value number n; may be overwritten by the next call, and its buffer be longer than its `length`: see `bytesOf`. */
  get(n: number): Uint8Array
  /** All values in order; they may be overwritten when `visit` returns. */
  scan(visit: (value: Uint8Array) => void): Promise<void>
  /** Groups that were written so far; undefined where the store does not tell. */
  readonly groups: number | undefined
  close(): Promise<void>
}

/** `flush`: committed is enough, `durable` is called when it matters. `fsync`: every append is to be durable. */
export type Durability = 'flush' | 'fsync'

export interface StoreKind {
  readonly name: string
  readonly kind: Contender['kind']
  readonly package?: PeerPackage
  open(directory: string, durability: Durability): Promise<Store>
}

/** A value of `get` as what it is: lmdb sets the length of a larger buffer, which copying and comparing do not know of. */
export function bytesOf(value: Uint8Array): Uint8Array {
  return value.subarray(0, value.length)
}

/** Appends records in the order of the work, without measuring. */
export async function load(store: Store, records: readonly Buffer[], count: number): Promise<void> {
  for (let i = 0, at = 0; i < count; i++) {
    store.write(records[at])
    if (++at === records.length) at = 0
    if (store.full) await store.drain()
  }
  await store.durable()
}
