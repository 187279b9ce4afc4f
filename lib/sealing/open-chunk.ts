import { constants } from 'node:fs'
import { warn } from '../errors.js'
import { getU64, toHex, viewOf } from '../format/bytes.js'
import { type ChunkIndexHeader, chunkIndexBytes, decodeChunkIndexHeader } from '../format/chunk-index.js'
import { CHUNK_INDEX_HEADER_BYTES, CHUNK_POSITION_BYTES, CHUNK_SPARSE_POSITION_BYTES } from '../format/constants.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { TaskRunner } from '../kernels/task.js'
import type { ChunkForm } from '../options.js'
import type { ChunkEncoding, ChunkSibling, OpenChunk } from './chunk.js'
import type { ChunkFile } from './chunk-file.js'

/** What a chunk must be true to. */
export interface ChunkOwner {
  readonly logId: Uint8Array
  /** Seed of the segment that the chunk was rendered from; undefined when that segment is not local. */
  readonly seed: number | undefined
}

interface OpenSibling {
  readonly fd: number
  readonly bytes: number
  readonly crc: string
}

/** Descriptors of a verified chunk, shared by all who read it; closed when the last of them and the pool have let go. */
export class ChunkHandle {
  readonly file: ChunkFile
  readonly header: ChunkIndexHeader
  readonly fd: number
  readonly indexFd: number
  readonly siblings: readonly ChunkSibling[]
  readonly #runner: TaskRunner
  readonly #openSiblings = new Map<ChunkEncoding, Promise<OpenSibling | undefined>>()
  #users = 1

  constructor(file: ChunkFile, header: ChunkIndexHeader, fd: number, indexFd: number, siblings: readonly ChunkSibling[], runner: TaskRunner) {
    this.file = file
    this.header = header
    this.fd = fd
    this.indexFd = indexFd
    this.siblings = siblings
    this.#runner = runner
  }

  retain(): this {
    this.#users++
    return this
  }

  release(): void {
    if (--this.#users > 0) return
    // A failed close of a read-only descriptor loses nothing, and nobody is left to be told.
    const close = (fd: number) => this.#runner.run(io.close(fd)).catch(() => {})
    void close(this.fd)
    void close(this.indexFd)
    for (const sibling of this.#openSiblings.values()) void sibling.then((open) => open && close(open.fd)).catch(() => {})
  }

  /** Opened and verified once. */
  sibling(encoding: ChunkEncoding): Promise<OpenSibling | undefined> {
    const known = this.siblings.find((sibling) => sibling.encoding === encoding)
    if (known === undefined) return Promise.resolve(undefined)
    let open = this.#openSiblings.get(encoding)
    if (open === undefined) {
      open = this.#runner.run(openSibling(known))
      this.#openSiblings.set(encoding, open)
    }
    return open
  }
}

/** Chunks are derived: anybody may delete one, and the writer does when it cuts the log. */
/** What is wrong with a chunk of a file that replaced the segment, or that was replaced. */
export const OF_ANOTHER_SEGMENT = 'the chunk was made of another segment'
export const MISSING = 'missing'

/** Opens a chunk and checks it: names, index, and on the first time in this process every byte. A string says what is wrong, MISSING that a file is gone. */
export function* openChunk(file: ChunkFile, owner: ChunkOwner, kernels: k.Kernels, runner: TaskRunner): Procedure<ChunkHandle | string> {
  const indexFd = yield* io.openExisting(file.indexPath, constants.O_RDONLY)
  if (indexFd === undefined) return MISSING
  let fd: number | undefined
  let problem: string | undefined
  let header: ChunkIndexHeader | undefined
  try {
    fd = yield* io.openExisting(file.path, constants.O_RDONLY)
    if (fd === undefined) problem = MISSING
    else {
      const bytes = new Uint8Array(CHUNK_INDEX_HEADER_BYTES)
      const length = yield* io.read(indexFd, 0, bytes, file.indexPath)
      header = decodeChunkIndexHeader(bytes.subarray(0, length), kernels.crc32c)
      problem = header === undefined ? 'the index is damaged' : (headerProblem(header, file, owner) ?? (yield* contentProblem(header, file, fd, indexFd)))
    }
    if (problem === undefined && header !== undefined && fd !== undefined) {
      file.verified = true
      file.bytes = header.bytes
      return new ChunkHandle(file, header, fd, indexFd, yield* presentSiblings(file), runner)
    }
  } catch (error) {
    if (fd !== undefined) yield* io.close(fd)
    yield* io.close(indexFd)
    throw error
  }
  if (fd !== undefined) yield* io.close(fd)
  yield* io.close(indexFd)
  return problem ?? 'the index is damaged'
}

function headerProblem(header: ChunkIndexHeader, file: ChunkFile, owner: ChunkOwner): string | undefined {
  const same = header.sequence === file.sequence && header.first === file.first && header.last === file.last && toHex(header.crc) === file.crc
  if (!same || header.form !== file.form) return 'the index is that of another chunk'
  if (Buffer.compare(header.logId, owner.logId) !== 0) return 'the chunk is of another log'
  if (owner.seed !== undefined && header.seed !== owner.seed) return OF_ANOTHER_SEGMENT
  return undefined
}

function* contentProblem(header: ChunkIndexHeader, file: ChunkFile, fd: number, indexFd: number): Procedure<string | undefined> {
  const { size } = yield* io.stat(fd, file.path)
  const index = yield* io.stat(indexFd, file.indexPath)
  if (size !== header.bytes) return `the content has ${size} bytes instead of ${header.bytes}`
  if (index.size !== chunkIndexBytes(header)) return 'the index has another size'
  if (file.verified) return undefined
  if ((yield* checksum(fd, 0, size, file.path)) !== header.crc) return 'the content does not match its checksum'
  if ((yield* checksum(indexFd, CHUNK_INDEX_HEADER_BYTES, index.size, file.indexPath)) !== header.positionsCrc)
    return 'the positions do not match their checksum'
  return undefined
}

export function* checksum(fd: number, from: number, to: number, file: string): Procedure<number> {
  const numbers = new Float64Array(2)
  io.check(yield { operation: k.FILE_CHECKSUM, fd, a: from, b: to, numbers }, k.FILE_CHECKSUM, file)
  return numbers[1] === to - from ? numbers[0] : -1
}

/** One user's hold on a chunk. */
export class ChunkLease implements OpenChunk {
  readonly #handle: ChunkHandle
  readonly #runner: TaskRunner
  #closed = false

  /** Takes over one `retain` of the handle. */
  constructor(handle: ChunkHandle, runner: TaskRunner) {
    this.#handle = handle
    this.#runner = runner
  }

  get sequence(): number {
    return this.#handle.file.sequence
  }

  get first(): number {
    return this.#handle.file.first
  }

  get last(): number {
    return this.#handle.file.last
  }

  get bytes(): number {
    return this.#handle.header.bytes
  }

  get crc(): string {
    return this.#handle.file.crc
  }

  get form(): ChunkForm {
    return this.#handle.file.form
  }

  get path(): string {
    return this.#handle.file.path
  }

  get records(): number {
    return this.#handle.header.records
  }

  get fd(): number {
    return this.#handle.fd
  }

  get siblings(): readonly ChunkSibling[] {
    return this.#handle.siblings
  }

  position(offset: number): number | Promise<number> {
    const { header } = this.#handle
    if (offset <= header.first) return header.form === 'json' ? 1 : 0
    return this.#runner.run(header.sparse ? this.#search(offset) : this.#entry(offset - header.first))
  }

  async openSibling(encoding: ChunkEncoding): Promise<(OpenSibling & { close(): void }) | undefined> {
    const handle = this.#handle.retain()
    let sibling: OpenSibling | undefined
    try {
      sibling = await handle.sibling(encoding)
    } finally {
      if (sibling === undefined) handle.release()
    }
    return sibling === undefined ? undefined : { ...sibling, close: () => handle.release() }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#handle.release()
  }

  *#entry(i: number): Procedure<number> {
    const { header, file, indexFd } = this.#handle
    const bytes = new Uint8Array(8)
    const width = header.sparse ? CHUNK_SPARSE_POSITION_BYTES : CHUNK_POSITION_BYTES
    yield* io.read(indexFd, CHUNK_INDEX_HEADER_BYTES + i * width, bytes, file.indexPath)
    return getU64(viewOf(bytes), 0)
  }

  /** Sparse: the first entry whose offset is not below. */
  *#search(offset: number): Procedure<number> {
    const { header, file, indexFd } = this.#handle
    const bytes = new Uint8Array(CHUNK_SPARSE_POSITION_BYTES)
    const view = viewOf(bytes)
    let low = 0
    let high = header.records - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      yield* io.read(indexFd, CHUNK_INDEX_HEADER_BYTES + middle * CHUNK_SPARSE_POSITION_BYTES, bytes, file.indexPath)
      if (getU64(view, 8) < offset) low = middle + 1
      else high = middle
    }
    return yield* this.#entry(low)
  }
}

function* presentSiblings(file: ChunkFile): Procedure<ChunkSibling[]> {
  const present: ChunkSibling[] = []
  for (const [encoding, crc] of file.siblings) {
    const place = file.siblingPath(encoding, crc)
    const facts = yield* io.statPath(place)
    if (facts !== undefined) present.push({ encoding, crc, bytes: facts.size, path: place })
  }
  return present
}

function* openSibling({ path, bytes, crc }: ChunkSibling): Procedure<OpenSibling | undefined> {
  const fd = yield* io.openExisting(path, constants.O_RDONLY)
  if (fd === undefined) return undefined
  let good = false
  try {
    good = toHex(yield* checksum(fd, 0, bytes, path)) === crc
  } finally {
    if (!good) yield* io.close(fd)
  }
  if (good) return { fd, bytes, crc }
  warn('SEALOG_CHUNK_DAMAGED', `${path} does not match its checksum and is not served`)
  return undefined
}
