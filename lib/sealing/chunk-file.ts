import path from 'node:path'
import { CHUNKS_DIRECTORY, type ChunkName, chunkSiblingFile, chunkStem } from '../format/names.js'
import type { ChunkForm } from '../options.js'
import type { ChunkEncoding } from './chunk.js'

/** The files of one sealed chunk of a log. */
export class ChunkFile implements ChunkName {
  readonly directory: string
  readonly sequence: number
  readonly first: number
  readonly last: number
  readonly crc: string
  readonly form: ChunkForm
  /** CRC of each compressed sibling that is there. */
  readonly siblings: ReadonlyMap<ChunkEncoding, string>
  readonly path: string
  /** Bytes of the content; −1: not looked at yet. */
  bytes = -1
  /** Content and positions matched their checksums in this process. */
  verified = false

  constructor(directory: string, name: ChunkName, form: ChunkForm, siblings: ReadonlyMap<ChunkEncoding, string> = new Map()) {
    this.directory = directory
    this.sequence = name.sequence
    this.first = name.first
    this.last = name.last
    this.crc = name.crc
    this.form = form
    this.siblings = siblings
    this.path = this.#path(`${chunkStem(this)}.${this.form}`)
  }

  get indexPath(): string {
    return this.#path(`${chunkStem(this)}.idx`)
  }

  siblingPath(encoding: ChunkEncoding, crc: string): string {
    return this.#path(chunkSiblingFile(this, this.form, encoding, crc))
  }

  get paths(): string[] {
    return [this.path, this.indexPath, ...[...this.siblings].map(([encoding, crc]) => this.siblingPath(encoding, crc))]
  }

  withSibling(encoding: ChunkEncoding, crc: string): ChunkFile {
    const next = new ChunkFile(this.directory, this, this.form, new Map(this.siblings).set(encoding, crc))
    next.bytes = this.bytes
    next.verified = this.verified
    return next
  }

  #path(name: string): string {
    return path.join(this.directory, CHUNKS_DIRECTORY, name)
  }
}
