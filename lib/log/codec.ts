import { argumentError, describe, LogError } from '../errors.js'
import type { CodecName } from '../options.js'

const LINE_FEED = 10
const CARRIAGE_RETURN = 13
const SPACE = 32
const EMPTY = new Uint8Array(0)
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text of a value for codec json; a Uint8Array is not a value but ready text and does not come here. */
export function encodeJson(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw new LogError('ERR_SEALOG_VALUE', `the value cannot be encoded as JSON: ${(error as Error)?.message ?? error}`, {
      cause: error,
      field: 'value',
      value,
    })
  }
  if (text === undefined) throw new LogError('ERR_SEALOG_VALUE', `the value cannot be encoded as JSON: ${describe(value)}`, { field: 'value', value })
  return text
}

/** JSON text on one line, so that it can be a line of NDJSON: line breaks, which stand between tokens only, become spaces. */
export function onOneLine(text: Uint8Array): Uint8Array {
  if (!text.includes(LINE_FEED) && !text.includes(CARRIAGE_RETURN)) return text
  return text.map((byte) => (byte === LINE_FEED || byte === CARRIAGE_RETURN ? SPACE : byte))
}

/** Ready JSON text as it is stored: on one line. Refuses bytes that are not one JSON text in UTF-8. */
export function jsonText(bytes: Uint8Array): Uint8Array {
  try {
    JSON.parse(utf8.decode(bytes))
  } catch (error) {
    throw new LogError('ERR_SEALOG_VALUE', `the bytes are not JSON text: ${(error as Error).message}`, { cause: error, field: 'value' })
  }
  return onOneLine(bytes)
}

/** Bytes of a value of any codec; for batches and keyed records, which are measured before they are staged. */
export function encodeValue(codec: CodecName, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) {
    checkAttached(value)
    return codec === 'json' ? jsonText(value) : value
  }
  if (codec === 'bytes') throw new LogError('ERR_SEALOG_VALUE', `with codec bytes a value is a Uint8Array, not ${describe(value)}`, { field: 'value', value })
  return Buffer.from(encodeJson(value), 'utf8')
}

export function encodeKey(key: unknown): Uint8Array | undefined {
  if (key === undefined) return undefined
  if (typeof key === 'string') return key === '' ? EMPTY : Buffer.from(key, 'utf8')
  if (!(key instanceof Uint8Array)) throw argumentError('key', key, 'a string or Uint8Array')
  checkAttached(key)
  return key
}

/** A detached array looks empty; it must not be appended as such. */
export function checkAttached(bytes: Uint8Array): void {
  if (bytes.length > 0) return
  try {
    new Uint8Array(bytes.buffer)
  } catch (error) {
    throw new LogError('ERR_SEALOG_VALUE', 'the buffer of the value is detached', { cause: error, field: 'value' })
  }
}

/** The value of a record. `bytes` is the caller's own copy. */
export function decodeValue(codec: CodecName, bytes: Uint8Array): unknown {
  return codec === 'bytes' ? bytes : JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
}
