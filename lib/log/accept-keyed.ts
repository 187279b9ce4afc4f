import type { AppendQueue } from './append-queue.js'
import type { RecordEncoder } from './record-encoder.js'

const NO_VALUE = new Uint8Array(0)

/** Accepts one record without making an object for it. The key is the first `keyLength` bytes of `key`; a value of undefined: a tombstone. Its offset is returned. */
export function acceptKeyed(
  queue: AppendQueue,
  encoder: RecordEncoder,
  stagingBytes: number,
  key: Uint8Array,
  keyLength: number,
  value: string | Uint8Array | undefined,
): number {
  const limit = encoder.keyedLimit - keyLength
  if (typeof value === 'string' && value.length * 3 + 2 + keyLength <= stagingBytes) {
    const offset = queue.acceptKeyedText(key, keyLength, value, limit)
    if (offset < 0) throw encoder.tooLarge(keyLength + Buffer.byteLength(value))
    return offset
  }
  const bytes = typeof value === 'string' ? Buffer.from(value) : (value ?? NO_VALUE)
  if (bytes.length > limit) throw encoder.tooLarge(keyLength + bytes.length)
  return queue.acceptKeyed(key, keyLength, bytes, value === undefined)
}
