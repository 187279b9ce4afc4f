import { constants } from 'node:fs'
import { LogError } from '../errors.js'
import { DICTIONARY_BYTES_LIMIT, DICTIONARY_HEADER_BYTES, decodeDictionary } from '../format/dictionary-file.js'
import * as k from '../kernels/kernels.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import type { ArchivedSegment } from './archived-segment.js'
import type { Segment } from './segment.js'

const NO_BYTES = new Uint8Array(0)
const CACHE_BYTES = 16 * 1024 * 1024
const DICTIONARIES = 16
/** As many as are verified at a time. */
const SPARE_BUFFERS = 3

/** Blocks of archives that were unpacked, and the dictionaries they need: both shared by all logs of an environment, least recently used ones go first. */
export class ArchivedBlocks {
  readonly #kernels: k.Kernels
  readonly #limit: number
  /** In order of use. */
  readonly #blocks = new Map<string, Uint8Array>()
  readonly #dictionaries = new Map<string, k.DictionaryHandle>()
  readonly #spare: Uint8Array[] = []
  #bytes = 0

  constructor(kernels: k.Kernels, limit = CACHE_BYTES) {
    this.#kernels = kernels
    this.#limit = limit
  }

  /** Bytes that are held. */
  get bytes(): number {
    return this.#bytes
  }

  /** The segment bytes of one block of an open segment. They stay in the cache: whatever is given to a user is a copy. */
  *block(segment: Segment, archive: ArchivedSegment, number: number): Procedure<Uint8Array> {
    const name = `${archive.id} ${number}`
    const cached = this.#blocks.get(name)
    if (cached !== undefined) {
      this.#blocks.delete(name)
      this.#blocks.set(name, cached)
      return cached
    }
    const bytes = new Uint8Array(archive.blocks[number].bytes)
    yield* this.unpack(segment, archive, number, bytes)
    if (!this.#blocks.has(name)) this.#keep(name, bytes)
    return bytes
  }

  /** The same of `count` blocks from `number` on into memory of the caller, as long as they are, past the cache. */
  *unpack(segment: Segment, archive: ArchivedSegment, number: number, bytes: Uint8Array, count = 1): Procedure<void> {
    if (!this.#kernels.can.compress)
      throw new LogError('ERR_SEALOG_UNSUPPORTED', `${archive.path}: this backend has no zstd; archives need the native one or Node 22.19`, {
        file: archive.path,
      })
    const blocks = archive.blocks.slice(number, number + count)
    const table = Float64Array.from(blocks.flatMap((block) => [block.bytes, block.archiveBytes]))
    const numbers = new Float64Array(k.UNPACK_LENGTH)
    numbers[k.UNPACK_SEED] = segment.seed
    numbers[k.UNPACK_DICTIONARY] = yield* this.dictionary(archive, segment.header?.logId)
    const status = yield { operation: k.FILE_UNPACK, fd: segment.fd, a: blocks[0].archivePosition, b: 0, bytes, numbers, table }
    if (io.check(status, k.FILE_UNPACK, archive.path) === 0) return
    throw archive.damaged('a block cannot be unpacked', blocks[numbers[k.UNPACK_COUNT]]?.archivePosition)
  }

  /** A buffer that nobody uses, of any length, to be given back: one per archive that is verified would be left to the garbage collector, tens of MiB together. */
  borrow(): Uint8Array {
    return this.#spare.pop() ?? NO_BYTES
  }

  giveBack(buffer: Uint8Array): void {
    if (this.#spare.length < SPARE_BUFFERS) this.#spare.push(buffer)
  }

  /** The dictionary that the archive needs is on disk, whatever is in memory. ERR_SEALOG_ARCHIVE when it is missing, damaged or of another log. */
  *checkDictionary(archive: ArchivedSegment, logId: Uint8Array): Procedure<void> {
    if (archive.dictionary !== 0) yield* readDictionary(archive.dictionaryPath, archive.dictionary, logId, this.#kernels)
  }

  /** The handle of the archive's dictionary, −1: it needs none. ERR_SEALOG_ARCHIVE when it is missing, damaged or of another log. */
  *dictionary(archive: ArchivedSegment, logId: Uint8Array | undefined): Procedure<k.DictionaryHandle> {
    if (archive.dictionary === 0) return -1
    const file = archive.dictionaryPath
    const known = this.#dictionaries.get(file)
    if (known !== undefined) {
      this.#dictionaries.delete(file)
      this.#dictionaries.set(file, known)
      return known
    }
    const content = yield* readDictionary(file, archive.dictionary, logId, this.#kernels)
    // Another read may have been faster.
    const other = this.#dictionaries.get(file)
    if (other !== undefined) return other
    const handle = this.#kernels.createDictionary(content)
    this.#dictionaries.set(file, handle)
    if (this.#dictionaries.size > DICTIONARIES) {
      for (const [oldest, unused] of this.#dictionaries) {
        this.#dictionaries.delete(oldest)
        this.#kernels.destroyDictionary(unused)
        break
      }
    }
    return handle
  }

  #keep(name: string, bytes: Uint8Array): void {
    if (bytes.length > this.#limit) return
    this.#blocks.set(name, bytes)
    this.#bytes += bytes.length
    for (const [oldest, { length }] of this.#blocks) {
      if (this.#bytes <= this.#limit) return
      this.#blocks.delete(oldest)
      this.#bytes -= length
    }
  }
}

/** The content of a dictionary. ERR_SEALOG_ARCHIVE unless it is the one that `id` names, of this log, and undamaged. */
export function* readDictionary(file: string, id: number, logId: Uint8Array | undefined, kernels: k.Kernels): Procedure<Uint8Array> {
  const bytes = yield* io.readFile(file, constants.O_RDONLY, DICTIONARY_HEADER_BYTES + DICTIONARY_BYTES_LIMIT + 1)
  if (bytes === undefined) throw new LogError('ERR_SEALOG_ARCHIVE', `the dictionary ${file} is missing`, { file })
  const dictionary = decodeDictionary(bytes, kernels.crc32c)
  if (typeof dictionary === 'string') throw new LogError('ERR_SEALOG_ARCHIVE', `the dictionary ${file} is damaged (${dictionary})`, { file, position: 0 })
  if (dictionary.id !== id || (logId !== undefined && Buffer.compare(dictionary.logId, logId) !== 0))
    throw new LogError('ERR_SEALOG_ARCHIVE', `${file} is the dictionary of another log or place`, { file, position: 0 })
  return dictionary.content
}
