import type { Contender, PeerPackage, Run } from '../harness/case.js'
import { makeRecords, RECORD_BYTES, WorkCheck } from '../harness/work.js'
import type { Durability } from '../stores/store.js'

export interface Entry {
  readonly key: string
  readonly value: Buffer
}

/**
 * What the cases do to a store of values by key; keys are ASCII strings of 16 characters. One class per store; what a store has no good way to do it leaves out,
 * and is no contender in the cases that need it. Only one class is used in a process, so that calls through this interface are inlined like direct ones.
 */
export interface KeyStore {
  /** Accepts a change; it may wait in memory. */
  put(key: string, value: Buffer): void
  /** Too much waits: `drain` before the next put. */
  readonly full: boolean
  drain(): Promise<void>
  /** All that was put is what readers see, and survives the end of this process. */
  committed(): Promise<void>
  /** All that was put survives power loss. */
  durable(): Promise<void>
  /** Resolves when this value survives power loss. */
  putDurable(key: string, value: Buffer): Promise<void>
  /** All of them or none; resolves when they survive power loss. */
  putBatchDurable(entries: readonly Entry[]): Promise<void>
  /** The values of keys that are there, one after the other; they may be overwritten when `visit` returns. Synchronously where the store can. */
  read(keys: readonly string[], visit: (value: Uint8Array) => void): Promise<void> | undefined
  /** Up to `limit` keys in order from one on, with their values. */
  range(from: string, limit: number, visit: (key: string, value: Uint8Array) => void): Promise<void>
  close(): Promise<void>
}

export interface KeyStoreKind {
  readonly name: string
  readonly kind: Contender['kind']
  readonly package?: PeerPackage
  open(directory: string, durability: Durability): Promise<KeyStore>
}

/** Coprime to all numbers of keys here: visits all of them, scattered. */
const STRIDE = 61_803

export const keyOf = (number: number) => Buffer.from(`user:${String(number).padStart(11, '0')}`).toString()

/** All of `count` keys, in an order that is not theirs. */
export function scatteredKeys(count: number): string[] {
  return Array.from({ length: count }, (_, i) => keyOf((i * STRIDE) % count))
}

/** Entry i of the work: the keys in their order, values in turn. */
export function makeEntries(keys: readonly string[]): Entry[] {
  const values = makeRecords(RECORD_BYTES)
  return keys.map((key, i) => ({ key, value: values[i % values.length] }))
}

/** Puts all of them, without measuring. */
export async function fill(store: KeyStore, entries: Iterable<Entry>): Promise<void> {
  for (const { key, value } of entries) {
    store.put(key, value)
    if (store.full) await store.drain()
  }
  await store.durable()
}

/** Keys in order with their values, read back from a newly opened store. */
export async function checkKeys(kind: KeyStoreKind, { directory }: Pick<Run, 'directory'>): Promise<Record<string, string | number>> {
  const store = await kind.open(directory, 'flush')
  const check = new WorkCheck()
  await store.range('', Number.POSITIVE_INFINITY, (key, value) => {
    check.add(Buffer.from(key))
    check.add(value)
  })
  await store.close()
  return check.result()
}

/** A contender that fills a store once and measures what `measure` does to it, opened anew in every round. */
export function filled(kind: KeyStoreKind, count: (run: Run) => number, measure: (store: KeyStore, run: Run) => ReturnType<Contender['measure']>): Contender {
  return {
    name: kind.name,
    kind: kind.kind,
    package: kind.package,
    prepare: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      await fill(store, makeEntries(scatteredKeys(count(run))))
      await store.close()
    },
    measure: async (run) => {
      const store = await kind.open(run.directory, 'flush')
      try {
        return await measure(store, run)
      } finally {
        await store.close()
      }
    },
  }
}
