import { LogError } from '../errors.js'

/** One record of the input and where it stands: its line (from 1), or its number (from 1) in binary input. */
export interface InputRecord {
  readonly number: number
  readonly bytes: Uint8Array
}

type Chunks = AsyncIterable<Uint8Array>

const LINE_FEED = 10
const CARRIAGE_RETURN = 13

export function inputError(what: string, number: number, message: string, cause?: unknown): LogError {
  return new LogError('ERR_SEALOG_VALUE', `${what} ${number}: ${message}`, { [what]: number, cause })
}

/**
 * Lines of a stream, as many as a chunk completes at a time; bytes are views of chunks, valid until the next step. Empty lines are passed over
 * (and counted), a last line needs no end. No more than one line of `maxBytes` is ever held.
 */
export async function* readLines(chunks: Chunks, maxBytes: number): AsyncGenerator<InputRecord[]> {
  let number = 0
  let rest: Uint8Array[] = []
  let restBytes = 0
  const finishLine = (end: Uint8Array): InputRecord => {
    const line = withoutReturn(restBytes === 0 ? end : Buffer.concat([...rest, end]))
    rest = []
    restBytes = 0
    return { number: ++number, bytes: line }
  }
  for await (const chunk of chunks) {
    const records: InputRecord[] = []
    let start = 0
    let tooLong = false
    for (let end = chunk.indexOf(LINE_FEED); end >= 0 && !tooLong; end = chunk.indexOf(LINE_FEED, start)) {
      const line = finishLine(chunk.subarray(start, end))
      tooLong = line.bytes.length > maxBytes
      if (line.bytes.length > 0 && !tooLong) records.push(line)
      start = end + 1
    }
    if (!tooLong && start < chunk.length) {
      rest.push(chunk.subarray(start))
      restBytes += chunk.length - start
      if (restBytes > maxBytes + 1) {
        tooLong = true
        number++
      }
    }
    // what came before a bad line is good
    if (records.length > 0) yield records
    if (tooLong) throw inputError('line', number, `longer than ${maxBytes} bytes`)
  }
  const last = finishLine(new Uint8Array(0))
  if (last.bytes.length > 0) yield [last]
}

const withoutReturn = (line: Uint8Array) => (line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line)

/** Records of a stream of u32 little-endian length, bytes, length, bytes …; otherwise as `readLines`. */
export async function* readLengthPrefixed(chunks: Chunks, maxBytes: number): AsyncGenerator<InputRecord[]> {
  let number = 1
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  let wanted = 4
  for await (const chunk of chunks) {
    pending.push(chunk)
    pendingBytes += chunk.length
    if (pendingBytes < wanted) continue
    const buffer = pending.length === 1 ? chunk : Buffer.concat(pending)
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    const records: InputRecord[] = []
    let at = 0
    while (buffer.length - at >= 4) {
      const length = view.getUint32(at, true)
      if (length > maxBytes) {
        if (records.length > 0) yield records
        throw inputError('record', number, `${length} bytes, longer than ${maxBytes}`)
      }
      wanted = 4 + length
      if (buffer.length - at < wanted) break
      records.push({ number: number++, bytes: buffer.subarray(at + 4, at + wanted) })
      at += wanted
      wanted = 4
    }
    const left = buffer.subarray(at)
    pending = left.length > 0 ? [left] : []
    pendingBytes = left.length
    if (records.length > 0) yield records
  }
  if (pendingBytes > 0) throw inputError('record', number, 'the input ends in the middle of it')
}
