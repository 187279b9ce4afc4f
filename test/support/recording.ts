/** A recording of the Io table (see `Testing.takeRecording`) as typed events, with paths relative to the directory it was made in. */
import { constants } from 'node:fs'
import path from 'node:path'

export type DiskEvent =
  | { readonly kind: 'open'; readonly fd: number; readonly path: string; readonly create: boolean; readonly truncate: boolean }
  | { readonly kind: 'close'; readonly fd: number }
  | { readonly kind: 'write'; readonly fd: number; readonly position: number; readonly data: Uint8Array }
  | { readonly kind: 'syncBegin' | 'syncEnd'; readonly fd: number; readonly good: boolean }
  | { readonly kind: 'truncate'; readonly fd: number; readonly size: number }
  | { readonly kind: 'allocate'; readonly fd: number; readonly end: number }
  | { readonly kind: 'rename'; readonly path: string; readonly to: string }
  | { readonly kind: 'unlink' | 'mkdir'; readonly path: string }
  | { readonly kind: 'syncDirectoryBegin' | 'syncDirectoryEnd'; readonly path: string; readonly good: boolean }
  | { readonly kind: 'note'; readonly number: number }

const FIXED_BYTES = 36

export function parseRecording(bytes: Uint8Array, base: string): DiskEvent[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const events: DiskEvent[] = []
  for (let at = 0; at < buffer.length; ) {
    const end = at + buffer.readUInt32LE(at)
    const event = parseEntry(buffer.subarray(at, end), base)
    if (event !== undefined) events.push(event)
    at = end
  }
  return events
}

/** undefined for what happens outside of `base` (reads of /proc). */
function parseEntry(entry: Buffer, base: string): DiskEvent | undefined {
  const kind = entry.readUInt8(4)
  const fd = entry.readInt32LE(8)
  const good = entry.readInt32LE(12) >= 0
  const a = entry.readDoubleLE(16)
  const b = entry.readDoubleLE(24)
  const pathEnd = FIXED_BYTES + entry.readUInt32LE(32)
  // An empty path belongs to a call that names a descriptor.
  const relative = (start: number, end: number) => (start === end ? '' : path.relative(base, entry.toString('utf8', start, end)))
  const name = relative(FIXED_BYTES, pathEnd)
  const path2Start = pathEnd + 4
  const path2End = path2Start + entry.readUInt32LE(pathEnd)
  if (name.startsWith('..')) return kind === 1 ? { kind: 'close', fd } : undefined
  switch (kind) {
    case 1:
      return { kind: 'open', fd, path: name, create: (a & constants.O_CREAT) !== 0, truncate: (a & constants.O_TRUNC) !== 0 }
    case 2:
      return { kind: 'close', fd }
    case 3:
      return { kind: 'write', fd, position: a, data: Uint8Array.from(entry.subarray(path2End)) }
    case 4:
    case 5:
      return { kind: kind === 4 ? 'syncBegin' : 'syncEnd', fd, good }
    case 6:
      return { kind: 'truncate', fd, size: a }
    case 7:
      return { kind: 'allocate', fd, end: b }
    case 8:
      return { kind: 'rename', path: name, to: relative(path2Start, path2End) }
    case 9:
      return { kind: 'unlink', path: name }
    case 10:
      return { kind: 'mkdir', path: name }
    case 11:
    case 12:
      return { kind: kind === 11 ? 'syncDirectoryBegin' : 'syncDirectoryEnd', path: name, good }
    case 13:
      return { kind: 'note', number: a }
    default:
      throw new Error(`a recording has no entries of kind ${kind}`)
  }
}
