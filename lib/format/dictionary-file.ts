import { allZero, type Checksum, viewOf } from './bytes.js'

/** A dictionary of archives: a header of 64 bytes, then raw content that zstd refers to. */
export const DICTIONARY_MAGIC = 'SEALOGD1'
export const DICTIONARY_HEADER_BYTES = 64
export const DICTIONARY_VERSION = 1
/** Largest content. */
export const DICTIONARY_BYTES_LIMIT = 112 * 1024

export interface Dictionary {
  /** CRC-32C of the content, never 0. */
  readonly id: number
  /** 16 bytes. */
  readonly logId: Uint8Array
  readonly content: Uint8Array
}

export function encodeDictionary({ id, logId, content }: Dictionary, crc32c: Checksum): Uint8Array {
  const bytes = new Uint8Array(DICTIONARY_HEADER_BYTES + content.length)
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) bytes[i] = DICTIONARY_MAGIC.charCodeAt(i)
  view.setUint16(8, DICTIONARY_VERSION, true)
  view.setUint16(10, DICTIONARY_HEADER_BYTES, true)
  view.setUint32(12, id, true)
  bytes.set(logId, 16)
  view.setUint32(32, content.length, true)
  view.setUint32(60, crc32c(bytes.subarray(0, 60), 0), true)
  bytes.set(content, DICTIONARY_HEADER_BYTES)
  return bytes
}

/** Why the bytes are no dictionary, in words, instead of one. */
export function decodeDictionary(bytes: Uint8Array, crc32c: Checksum): Dictionary | string {
  if (bytes.length < DICTIONARY_HEADER_BYTES) return 'it is too short'
  const view = viewOf(bytes)
  for (let i = 0; i < 8; i++) if (bytes[i] !== DICTIONARY_MAGIC.charCodeAt(i)) return 'it is no dictionary'
  if (crc32c(bytes.subarray(0, 60), 0) !== view.getUint32(60, true)) return 'checksum of the header'
  if (view.getUint16(8, true) !== DICTIONARY_VERSION || view.getUint16(10, true) !== DICTIONARY_HEADER_BYTES)
    return `unknown version ${view.getUint16(8, true)}`
  const id = view.getUint32(12, true)
  const content = bytes.slice(DICTIONARY_HEADER_BYTES)
  if (!allZero(bytes.subarray(36, 60)) || content.length !== view.getUint32(32, true) || content.length > DICTIONARY_BYTES_LIMIT) return 'fields of the header'
  return crc32c(content, 0) === id ? { id, logId: bytes.slice(16, 32), content } : 'checksum of the content'
}
