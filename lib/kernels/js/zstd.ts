import * as zlib from 'node:zlib'

/** Room for what `dictionary` and `params` of Node's zstd are; its types know neither on the oldest Node that sealog runs on. */
interface Options {
  readonly params?: Readonly<Record<number, number>>
  readonly dictionary?: Uint8Array
  readonly maxOutputLength?: number
}

interface NodeZstd {
  zstdCompressSync(bytes: Uint8Array, options: Options): Buffer
  zstdDecompressSync(bytes: Uint8Array, options: Options): Buffer
}

/** Numbers of zstd's own interface, the same in every version. */
const COMPRESSION_LEVEL = 100
const CHECKSUM_FLAG = 201

const BLOCK_HEADER_BYTES = 3
const CHECKSUM_BYTES = 4
const MAGIC = 0xfd2fb528
const DICTIONARY_MAGIC = 0xec30a437
/** zstd's own blocks, of which a frame consists, have at most so many bytes. */
const BLOCK_BYTES = 128 * 1024
/** The smallest window that zstd compresses with. */
const MIN_WINDOW_BYTES = 1024

/** Node's zstd where it is complete: the first versions that had it ignored dictionaries. */
const nodeZstd: NodeZstd | undefined = detect()

export const hasZstd = nodeZstd !== undefined

function detect(): NodeZstd | undefined {
  const candidate = zlib as Partial<NodeZstd>
  if (candidate.zstdCompressSync === undefined || candidate.zstdDecompressSync === undefined) return undefined
  const dictionary = Buffer.from('what a dictionary holds need not be compressed')
  return candidate.zstdCompressSync(dictionary, { dictionary }).length < dictionary.length ? (candidate as NodeZstd) : undefined
}

function zstd(): NodeZstd {
  if (nodeZstd === undefined) throw new Error('this Node has no zstd with dictionaries')
  return nodeZstd
}

/** One frame with content size and checksum. */
export function compress(content: Uint8Array, level: number, dictionary: Uint8Array | undefined): Uint8Array {
  return zstd().zstdCompressSync(content, { params: { [COMPRESSION_LEVEL]: level, [CHECKSUM_FLAG]: 1 }, dictionary })
}

/** Most bytes that a frame of so many has, as zstd's own function says. */
export function compressBound(length: number): number {
  return length + Math.floor(length / 256) + (length < BLOCK_BYTES ? Math.floor((BLOCK_BYTES - length) / 2048) : 0)
}

/** The content of one frame, which has been found to have `contentBytes`; undefined when there is none, or anything besides it. */
export function decompress(frame: Uint8Array, contentBytes: number, dictionary: Uint8Array | undefined): Uint8Array | undefined {
  try {
    const content = zstd().zstdDecompressSync(frame, { dictionary, maxOutputLength: Math.max(contentBytes, 1) })
    return content.length === contentBytes ? content : undefined
  } catch {
    // Whatever the reason: it is no frame of these bytes.
    return undefined
  }
}

/**
 * Bytes of the content that a frame promises; undefined when `frame` is not one frame as `compress` makes them (with content size and checksum,
 * without the number of a dictionary), or when it would have a window larger than such content needs, and so more memory.
 */
export function contentBytes(frame: Uint8Array): number | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (view.byteLength < 6 || view.getUint32(0, true) !== MAGIC) return undefined
  const descriptor = view.getUint8(4)
  const single = (descriptor & 0x20) !== 0
  const form = descriptor >>> 6
  // The reserved bit is not set, the checksum bit is, and no dictionary has a number.
  if ((descriptor & 0x0f) !== 0x04 || (form === 0 && !single)) return undefined
  const at = single ? 5 : 6
  const sizeBytes = 2 ** form
  if (view.byteLength < at + sizeBytes || !endsWith(view, at + sizeBytes)) return undefined
  const size = contentSize(view, at, form)
  return single || windowBytes(view.getUint8(5)) <= Math.max(MIN_WINDOW_BYTES, 2 * size) ? size : undefined
}

/** Whether the blocks from `at` on, with the checksum behind the last, are all there is: Node does not look at what follows a frame. */
function endsWith(view: DataView, at: number): boolean {
  let last = false
  while (!last) {
    if (at + BLOCK_HEADER_BYTES > view.byteLength) return false
    const header = view.getUint16(at, true) + view.getUint8(at + 2) * 2 ** 16
    last = (header & 1) !== 0
    const repeated = ((header >>> 1) & 3) === 1
    at += BLOCK_HEADER_BYTES + (repeated ? 1 : header >>> 3)
  }
  return at + CHECKSUM_BYTES === view.byteLength
}

function contentSize(view: DataView, at: number, form: number): number {
  if (form === 0) return view.getUint8(at)
  if (form === 1) return view.getUint16(at, true) + 256
  if (form === 2) return view.getUint32(at, true)
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
}

function windowBytes(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3))
  return base + (base / 8) * (descriptor & 7)
}

/** zstd would read bytes that begin like a trained dictionary as one; behind the first byte they do not. Both sides of the seam leave it out then. */
export function asRawDictionary(content: Uint8Array): Uint8Array {
  if (content.length < 8) throw new RangeError('a dictionary has at least 8 bytes')
  const trained = new DataView(content.buffer, content.byteOffset).getUint32(0, true) === DICTIONARY_MAGIC
  return new Uint8Array(trained ? content.subarray(1) : content)
}
