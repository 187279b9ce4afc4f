import { encodedKeyAt, type KeyIndex, keyAt, valueAt } from './key-index.js'
import type { EncodedRange } from './key-range.js'
import type { Key } from './keys.js'

/** Keys that are copied out of the index at a time: few at first. */
const FIRST_KEYS = 16
const MOST_KEYS = 256
/** Values that are read at a time. */
const VALUES_AHEAD = 16

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
    for (let limit = FIRST_KEYS; ; limit = MOST_KEYS) {
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

/** `read` gives the value of the version at an offset, which it checks against the encoded key. */
export async function* entriesOf<V>(
  { range, view, check }: Viewer,
  read: (key: Uint8Array, offset: number) => Promise<V>,
): AsyncGenerator<[Key, V], void, undefined> {
  const index = await view()
  try {
    const scan = index.scan(range)
    for (;;) {
      const page = scan.next(VALUES_AHEAD)
      const keys = Array.from({ length: page.count }, (_, row) => keyAt(page, row))
      if (keys.length === 0) return
      const values = await Promise.all(keys.map((_, row) => read(encodedKeyAt(page, row).slice(), valueAt(page, row))))
      for (const [row, key] of keys.entries()) {
        check()
        yield [key, values[row]]
      }
    }
  } finally {
    index.close()
  }
}
