/** Ways to give records to a store: record i of the work is `records[i % records.length]`. */
import type { Store } from './store.js'

/** Writes `count` records; resolves when all of them are committed (mode flush) or durable (mode fsync). */
export type Write = (store: Store, records: readonly Buffer[], count: number) => Promise<void>

/** One writer that waits for nothing but room. */
export const stream: Write = async (store, records, count) => {
  for (let i = 0, at = 0; i < count; i++) {
    store.write(records[at])
    if (++at === records.length) at = 0
    if (store.full) await store.drain()
  }
  await store.committed()
}

export const durableSync: Write = async (store, records, count) => {
  for (let i = 0; i < count; i++) store.appendDurableSync(records[i % records.length])
}

/** So many writers, each of which waits for its own record before the next one. */
export function concurrent(writers: number, append: 'append' | 'appendDurable'): Write {
  return async (store, records, count) => {
    let next = 0
    const writer = async () => {
      while (next < count) {
        while (store.full) await store.drain()
        // Numbered when it goes out, so that records stand in the order of their numbers whoever waited for room.
        if (next < count) await store[append](records[next++ % records.length])
      }
    }
    await Promise.all(Array.from({ length: writers }, writer))
  }
}

/** Numbers 0 to `count` − 1, so many under way at a time. */
export async function concurrently(most: number, count: number, one: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await one(next++)
  }
  await Promise.all(Array.from({ length: most }, worker))
}
