import type { ChunkEncoding, ChunkForm } from '../options.js'

/** A sealed chunk: an immutable file with the values of a finished range of records, ready to be served. */
export interface ChunkInfo {
  /** Number of the chunk in its log, from 0. */
  readonly sequence: number
  /** First and last offset, both inclusive. */
  readonly first: number
  readonly last: number
  /** Bytes of the content. */
  readonly bytes: number
  /** CRC-32C of the content, 8 hex digits. */
  readonly crc: string
  readonly form: ChunkForm
  readonly path: string
}

export type { ChunkEncoding }

/** A pre-compressed sibling of a chunk. */
export interface ChunkSibling {
  readonly encoding: ChunkEncoding
  readonly bytes: number
  readonly crc: string
  readonly path: string
}

/** A chunk whose content was verified in this process, with an open descriptor of it. Removing the chunk from the log breaks no open one. */
export interface OpenChunk extends ChunkInfo {
  readonly records: number
  /** Read-only descriptor of the content, valid until `close`. */
  readonly fd: number
  readonly siblings: readonly ChunkSibling[]
  /**
   * Where the element of the first record at or above `offset` begins in the content (first ≤ offset ≤ last). A number at once when it is known without
   * reading (the first element), else a promise.
   */
  position(offset: number): number | Promise<number>
  /** A verified descriptor of a sibling; undefined when it is missing or damaged. `close` it. */
  openSibling(encoding: ChunkEncoding): Promise<{ readonly fd: number; readonly bytes: number; readonly crc: string; close(): void } | undefined>
  /** Lets the descriptor go; call it exactly once, when the last byte has been read. */
  close(): void
}

/** Sealed chunks of a log that is open for reading: `log.chunks`. */
export interface Chunks {
  /** All sealed chunks, in order. */
  list(): Promise<readonly ChunkInfo[]>
  /** The sealed chunk that holds `offset`, verified and open; undefined when there is none. Call `close()` on it. */
  open(offset: number): Promise<OpenChunk | undefined>
  /** The same at once, when the chunk is open and verified already; undefined says nothing: ask `open`. */
  openNow(offset: number): OpenChunk | undefined
}

/** Of a log that is open for writing. */
export interface WriterChunks extends Chunks {
  /** Ends the present segment (its last chunk with it), seals everything that is not sealed yet, and lists all chunks. */
  seal(): Promise<readonly ChunkInfo[]>
}
