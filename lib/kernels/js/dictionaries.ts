import type { DictionaryHandle } from '../kernels.js'
import { asRawDictionary, hasZstd } from './zstd.js'

/** The dictionaries of one set of kernels; handles are not used again. */
export class Dictionaries {
  readonly #contents = new Map<DictionaryHandle, Uint8Array>()
  #last = 0

  create(content: Uint8Array): DictionaryHandle {
    if (!hasZstd) throw new Error('these kernels cannot compress')
    this.#contents.set(++this.#last, asRawDictionary(content))
    return this.#last
  }

  /** undefined for −1: none. */
  get(handle: DictionaryHandle): Uint8Array | undefined {
    const content = this.#contents.get(handle)
    if (content === undefined && handle !== -1) throw new RangeError('there is no such dictionary')
    return content
  }

  destroy(handle: DictionaryHandle): void {
    if (!this.#contents.delete(handle)) throw new RangeError('there is no such dictionary')
  }
}
