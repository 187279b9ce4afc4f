import type { ChunkFile } from './chunk-file.js'

/** The sealed chunks of a log that are known, in order of their offsets. */
export class ChunkSet {
  #chunks: ChunkFile[] = []

  get all(): readonly ChunkFile[] {
    return this.#chunks
  }

  reset(chunks: readonly ChunkFile[]): void {
    this.#chunks = [...chunks]
  }

  /** The chunk that holds `offset`. */
  find(offset: number): ChunkFile | undefined {
    const chunk = this.#chunks[this.#firstEndingAt(offset)]
    return chunk !== undefined && chunk.first <= offset ? chunk : undefined
  }

  /** The chunks of the records from `from` to `to` (exclusive), in order. */
  within(from: number, to: number): ChunkFile[] {
    const chunks: ChunkFile[] = []
    for (let i = this.#firstEndingAt(from); i < this.#chunks.length && this.#chunks[i].last < to; i++) chunks.push(this.#chunks[i])
    return chunks
  }

  /** Takes the place of a chunk with the same number, if there is one. */
  add(chunk: ChunkFile): void {
    const at = this.#firstEndingAt(chunk.first)
    const same = this.#chunks[at]?.sequence === chunk.sequence
    this.#chunks.splice(at, same ? 1 : 0, chunk)
  }

  remove(goes: (chunk: ChunkFile) => boolean): ChunkFile[] {
    const removed = this.#chunks.filter(goes)
    if (removed.length > 0) this.#chunks = this.#chunks.filter((chunk) => !goes(chunk))
    return removed
  }

  /** Place of the first chunk whose last offset is not below `offset`. */
  #firstEndingAt(offset: number): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#chunks[middle].last < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
