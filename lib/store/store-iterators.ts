import { encodedKeyAt, type KeyIndex, keyAt, valueAt } from './key-index.js'
import type { EncodedRange } from './key-range.js'
import type { Key } from './keys.js'

/** Keys that are copied out of the index at a time: few at first, unless all that are asked for are no more than a page. */
const FIRST_KEYS = 16
const MOST_KEYS = 256

const firstKeys = ({ limit }: EncodedRange) => (limit <= MOST_KEYS ? limit : FIRST_KEYS)

/** What an iteration goes over. `check` throws when the store is closed. */
export interface Viewer {
  readonly range: EncodedRange
  /** A version of the index of the iteration's own. */
  readonly view: () => Promise<KeyIndex>
  readonly check: () => void
}

export async function* keysOf({ range, view, check }: Viewer): AsyncGenerator<Key, void, undefined> {
  const index = await view()
  try {
    const scan = index.scan(range)
    for (let limit = firstKeys(range); ; limit = MOST_KEYS) {
      // A page is overwritten by the next scan of anybody.
      const page = scan.next(limit)
      const keys = Array.from({ length: page.count }, (_, row) => keyAt(page, row))
      if (keys.length === 0) return
      for (const key of keys) {
        check()
        yield key
      }
    }
  } finally {
    index.close()
  }
}

/** `read` gives the values of the versions at offsets, which it checks against the encoded keys. */
export async function* entriesOf<V>(
  { range, view, check }: Viewer,
  read: (keys: readonly Uint8Array[], offsets: readonly number[]) => Promise<V[]>,
): AsyncGenerator<[Key, V], void, undefined> {
  const index = await view()
  try {
    const scan = index.scan(range)
    const readPage = async (limit: number): Promise<[Key, V][]> => {
      const page = scan.next(limit)
      const rows = Array.from({ length: page.count }, (_, row) => row)
      const keys = rows.map((row) => keyAt(page, row))
      const values = await read(
        rows.map((row) => encodedKeyAt(page, row).slice()),
        rows.map((row) => valueAt(page, row)),
      )
      return keys.map((key, row) => [key, values[row]])
    }
    let next = readPage(firstKeys(range))
    for (let first = true; ; first = false) {
      const entries = await next
      if (entries.length === 0) return
      // Whoever goes on behind the first page has the next one read meanwhile.
      if (!first) next = ahead(readPage(MOST_KEYS))
      for (const entry of entries) {
        check()
        yield entry
      }
      if (first) next = readPage(MOST_KEYS)
    }
  } finally {
    index.close()
  }
}

/** What fails is told when it is awaited; an iteration that ended before does not want it. */
function ahead<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
