/** Names of the files of a log. Numbers in names are parsed as integers, never compared as text. */
export const LOCK_FILE = 'LOCK'
export const MANIFEST_FILE = 'MANIFEST'
export const COMMITTED_FILE = 'COMMITTED'
export const SNAPSHOT_FILE = 'SNAPSHOT'
export const SEGMENTS_DIRECTORY = 'segments'
export const NEXT_SEGMENT_FILE = 'next.tmp'
export const CHUNKS_DIRECTORY = 'chunks'
export const ARCHIVE_DIRECTORY = 'archive'
export const CONSUMERS_DIRECTORY = 'consumers'

export interface SegmentName {
  readonly base: number
  readonly generation: number
}

/** `<20-digit base>.log`, or `<base>.<generation>.log` for a rewritten segment. */
export function segmentFile(base: number, generation = 0): string {
  return `${segmentStem(base)}${generation === 0 ? '' : `.${generation}`}.log`
}

export function indexFile(base: number, generation = 0): string {
  return `${segmentStem(base)}${generation === 0 ? '' : `.${generation}`}.index`
}

/** What recovery cut away at a position; the CRC of the saved bytes makes the same cut the same name. */
export function tornFile(base: number, position: number, crcHex: string): string {
  return `${segmentStem(base)}.torn-${position}-${crcHex}`
}

export function isTornFile(name: string): boolean {
  return /^\d{20}\.torn-\d+-[0-9a-f]{8}$/.test(name)
}

export function parseSegmentFile(name: string): SegmentName | undefined {
  return parseSegmentName(/^(\d{20})(?:\.([1-9]\d*))?\.log$/.exec(name))
}

export function parseIndexFile(name: string): SegmentName | undefined {
  return parseSegmentName(/^(\d{20})(?:\.([1-9]\d*))?\.index$/.exec(name))
}

function parseSegmentName(match: RegExpExecArray | null): SegmentName | undefined {
  if (match === null) return undefined
  const base = Number(match[1])
  return Number.isSafeInteger(base) ? { base, generation: match[2] === undefined ? 0 : Number(match[2]) } : undefined
}

/** A name that a consumer may have; it is the name of its file. Those that begin with a dot are files being made. */
export function isConsumerName(name: string): boolean {
  return /^(?!\.)[A-Za-z0-9._-]{1,128}$/.test(name)
}

function segmentStem(base: number): string {
  return String(base).padStart(20, '0')
}

/** What the name of a sealed chunk says; `crc` is the CRC-32C of its content, 8 hex digits. */
export interface ChunkName {
  readonly sequence: number
  /** First and last offset, inclusive. */
  readonly first: number
  readonly last: number
  readonly crc: string
}

/** A file of a chunk: its content in one of the forms, its index, or a compressed sibling, which carries its own CRC too. */
export interface ChunkFileName extends ChunkName {
  readonly kind: 'json' | 'ndjson' | 'raw' | 'idx' | 'gzip' | 'zstd'
  readonly siblingCrc: string | undefined
}

/** `<sequence, at least 6 digits>.<first>.<last>.<crc>`; the files of a chunk add their extensions. */
export function chunkStem({ sequence, first, last, crc }: ChunkName): string {
  return `${String(sequence).padStart(6, '0')}.${first}.${last}.${crc}`
}

/** `<stem>.<crc of the sibling>.<form>.gz` or `.zst`. */
export function chunkSiblingFile(chunk: ChunkName, form: 'json' | 'ndjson' | 'raw', encoding: 'gzip' | 'zstd', crc: string): string {
  return `${chunkStem(chunk)}.${crc}.${form}.${encoding === 'gzip' ? 'gz' : 'zst'}`
}

export function parseChunkFile(name: string): ChunkFileName | undefined {
  const match = /^(\d{6,})\.(0|[1-9]\d*)\.(0|[1-9]\d*)\.([0-9a-f]{8})\.(?:(json|ndjson|raw|idx)|([0-9a-f]{8})\.(?:json|ndjson|raw)\.(gz|zst))$/.exec(name)
  if (match === null) return undefined
  const [, sequence, first, last, crc, kind, siblingCrc, extension] = match
  const numbers = { sequence: Number(sequence), first: Number(first), last: Number(last) }
  if (!Object.values(numbers).every(Number.isSafeInteger) || numbers.last < numbers.first) return undefined
  return { ...numbers, crc, kind: (kind as ChunkFileName['kind']) ?? (extension === 'gz' ? 'gzip' : 'zstd'), siblingCrc }
}

/** `<20-digit base>-<20-digit last offset>.zst`: the archive of a segment. */
export function archiveFile(base: number, last: number): string {
  return `${segmentStem(base)}-${segmentStem(last)}.zst`
}

export function parseArchiveFile(name: string): { readonly base: number; readonly last: number } | undefined {
  const match = /^(\d{20})-(\d{20})\.zst$/.exec(name)
  if (match === null) return undefined
  const [base, last] = [Number(match[1]), Number(match[2])]
  return Number.isSafeInteger(base) && Number.isSafeInteger(last) && last >= base ? { base, last } : undefined
}

/** `dict-<id, 8 hex digits>`. */
export function dictionaryFile(id: number): string {
  return `dict-${(id >>> 0).toString(16).padStart(8, '0')}`
}

export function parseDictionaryFile(name: string): number | undefined {
  const match = /^dict-([0-9a-f]{8})$/.exec(name)
  return match === null ? undefined : Number.parseInt(match[1], 16)
}
