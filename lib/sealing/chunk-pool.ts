import type { ChunkFile } from './chunk-file.js'
import type { ChunkHandle } from './open-chunk.js'

/**
 * Keeps the descriptors of recently read chunks open, of all logs of an environment together; those not used for longest go first. A chunk in use stays
 * usable when it leaves the pool.
 */
export class ChunkPool {
  readonly #limit: number
  /** In order of use. */
  readonly #handles = new Map<ChunkFile, ChunkHandle>()

  /** `limit`: most chunks that are kept open, two descriptors each. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Retained for the caller. */
  get(file: ChunkFile): ChunkHandle | undefined {
    const handle = this.#handles.get(file)
    if (handle === undefined) return undefined
    this.#handles.delete(file)
    this.#handles.set(file, handle)
    return handle.retain()
  }

  /** Takes the creator's hold over. The handle that is to be used, retained: another may have been opened meanwhile. */
  put(file: ChunkFile, handle: ChunkHandle): ChunkHandle {
    const present = this.get(file)
    if (present !== undefined) {
      handle.release()
      return present
    }
    this.#handles.set(file, handle)
    for (const [oldest, unused] of this.#handles) {
      if (this.#handles.size <= this.#limit) break
      this.#handles.delete(oldest)
      unused.release()
    }
    return handle.retain()
  }

  forget(file: ChunkFile): void {
    const handle = this.#handles.get(file)
    if (handle === undefined) return
    this.#handles.delete(file)
    handle.release()
  }
}
