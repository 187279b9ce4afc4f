/**
 * Keys as bytes whose order is the order of the keys: a tag, then what depends on the type.
 *
 * - Integers, `number` (safe) or `bigint` (below 2^64 in magnitude): tag 32 + n for positive ones, 32 − n for negative ones, n being the bytes of the magnitude
 *   (0 to 8, most significant first, no leading zero), in negative ones inverted. `5` and `5n` are the same key. 0 → `20`; 5 → `21 05`; 256 → `22 01 00`; −1 → `1f fe`.
 * - Strings: tag 64, UTF-8. `'ab'` → `40 61 62`. Ordered by code points, which is not JavaScript's order beyond U+FFFF.
 * - Uint8Array: tag 96, the bytes. `Uint8Array [1, 2]` → `60 01 02`.
 *
 * So integers come before strings, and strings before bytes. A key takes at most KEY_BYTES with its tag.
 */
import { argumentError, LogError } from '../errors.js'
import { KEY_BYTES } from '../kernels/kernels.js'

export type Key = string | number | bigint | Uint8Array

const TAG_ZERO = 0x20
const TAG_STRING = 0x40
const TAG_BYTES = 0x60
const LARGEST_MAGNITUDE = 2n ** 64n - 1n
/** Longer texts are encoded faster by Node. */
const SHORT_TEXT = 32
/** Bytes of the longest text or byte string. */
const CONTENT_BYTES = KEY_BYTES - 1
const WORD = 2 ** 32

/** Writes the encoding of `key` to `into`, where KEY_BYTES fit behind `at`, and returns its length. Throws ERR_SEALOG_ARGUMENT for what is no key. */
export function writeKey(key: Key, into: Buffer, at: number): number {
  const length = writeBound(key, into, at)
  if (length === 1 && into[at] !== TAG_ZERO) throw argumentError('key', key, 'not empty')
  return length
}

/** The same for an end of a range, where strings and bytes may be empty: `''` lies before all other strings. */
export function writeBound(key: Key, into: Buffer, at: number): number {
  if (typeof key === 'string') return writeText(key, into, at)
  if (typeof key === 'number') return writeNumber(key, into, at)
  if (key instanceof Uint8Array) return writeBytes(key, into, at)
  if (typeof key === 'bigint') return writeBigInt(key, into, at)
  throw argumentError('key', key, 'a string, a Uint8Array, a safe integer or a bigint')
}

/** The encoding of `key` in memory of its own. Throws ERR_SEALOG_ARGUMENT for what is no key. */
export function encodeKey(key: Key): Uint8Array {
  return new Uint8Array(scratch.subarray(0, writeKey(key, scratch, 0)))
}

const scratch = Buffer.from(new ArrayBuffer(KEY_BYTES))

/** Where writers encode a key that is copied on before anything else runs. */
export const keyScratch = Buffer.from(new ArrayBuffer(KEY_BYTES))

/** Whether `bytes` are the encoding of `key`. */
export function isKey(bytes: Uint8Array, key: Key): boolean {
  const length = writeKey(key, scratch, 0)
  return bytes.length === length && scratch.compare(bytes, 0, length, 0, length) === 0
}

/**
 * The key that `bytes` from `start` to `end` encode; bytes are copied. Integers come as `number` where that is safe, else as `bigint`.
 * Throws ERR_SEALOG_FORMAT for bytes that `writeKey` does not write; that text is UTF-8 is checked by `isEncodedKey` alone.
 */
export function readKey(bytes: Buffer, start: number, end: number): Key {
  const tag = bytes[start]
  if (tag === TAG_STRING && end - start > 1) return bytes.toString('utf8', start + 1, end)
  if (tag === TAG_BYTES && end - start > 1) return new Uint8Array(bytes.subarray(start + 1, end))
  if (tag >= TAG_ZERO - 8 && tag <= TAG_ZERO + 8) return readInteger(bytes, start, end)
  throw notAKey()
}

/** The key that `bytes` encode, see `readKey`. */
export function decodeKey(bytes: Uint8Array): Key {
  return readKey(bufferOf(bytes), 0, bytes.length)
}

/** Whether `bytes` are what `encodeKey` gives for some key. */
export function isEncodedKey(bytes: Uint8Array): boolean {
  try {
    return Buffer.compare(encodeKey(decodeKey(bytes)), bytes) === 0
  } catch (error) {
    if (error instanceof LogError) return false
    throw error
  }
}

/** The same memory as a Buffer. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function writeText(text: string, into: Buffer, at: number): number {
  const length = text.length
  into[at] = TAG_STRING
  if (length <= SHORT_TEXT) {
    let i = 0
    for (; i < length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0x7f) break
      into[at + 1 + i] = unit
    }
    if (i === length) return 1 + length
  }
  if (length > CONTENT_BYTES || (length > CONTENT_BYTES / 3 && Buffer.byteLength(text) > CONTENT_BYTES)) {
    throw argumentError('key', text, `at most ${CONTENT_BYTES} bytes of UTF-8`)
  }
  const written = into.write(text, at + 1, 'utf8')
  // Each lone surrogate would become U+FFFD: another key.
  if (written !== length && /\p{Surrogate}/u.test(text)) throw argumentError('key', text, 'a well-formed string, without lone surrogates')
  return 1 + written
}

function writeBytes(bytes: Uint8Array, into: Buffer, at: number): number {
  if (bytes.length > CONTENT_BYTES) throw argumentError('key', bytes, `at most ${CONTENT_BYTES} bytes`)
  into[at] = TAG_BYTES
  // Those of a detached buffer cannot be set, not even none.
  if (bytes.length > 0) into.set(bytes, at + 1)
  return 1 + bytes.length
}

function writeNumber(key: number, into: Buffer, at: number): number {
  if (!Number.isSafeInteger(key)) throw argumentError('key', key, 'a safe integer; other numbers can be strings, larger integers bigints')
  const magnitude = Math.abs(key)
  return writeInteger(key < 0, Math.floor(magnitude / WORD), magnitude % WORD, into, at)
}

function writeBigInt(key: bigint, into: Buffer, at: number): number {
  const magnitude = key < 0n ? -key : key
  if (magnitude > LARGEST_MAGNITUDE) throw argumentError('key', key, 'below 2^64 in magnitude')
  return writeInteger(key < 0n, Number(magnitude >> 32n), Number(magnitude & 0xffffffffn), into, at)
}

function writeInteger(negative: boolean, high: number, low: number, into: Buffer, at: number): number {
  const bits = high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(low)
  const length = (bits + 7) >>> 3
  const mask = negative ? 0xff : 0
  into[at] = TAG_ZERO + (negative ? -length : length)
  for (let i = 1, shift = 8 * (length - 1); i <= length; i++, shift -= 8) {
    const byte = shift >= 32 ? high >>> (shift - 32) : low >>> shift
    into[at + i] = (byte ^ mask) & 0xff
  }
  return 1 + length
}

function readInteger(bytes: Buffer, start: number, end: number): number | bigint {
  const size = bytes[start] - TAG_ZERO
  const negative = size < 0
  if (end - start - 1 !== Math.abs(size)) throw notAKey()
  const mask = negative ? 0xff : 0
  let high = 0
  let low = 0
  for (let i = start + 1; i < end; i++) {
    high = ((high << 8) | (low >>> 24)) >>> 0
    low = ((low << 8) | (bytes[i] ^ mask)) >>> 0
  }
  const magnitude = high * WORD + low
  if (magnitude <= Number.MAX_SAFE_INTEGER) return negative ? -magnitude : magnitude
  const exact = (BigInt(high) << 32n) | BigInt(low)
  return negative ? -exact : exact
}

function notAKey(): LogError {
  return new LogError('ERR_SEALOG_FORMAT', 'the bytes are not a key of a store')
}
