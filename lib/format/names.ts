/** Names of the files of a log. Numbers in names are parsed as integers, never compared as text. */
export const LOCK_FILE = 'LOCK'
export const MANIFEST_FILE = 'MANIFEST'
export const COMMITTED_FILE = 'COMMITTED'
export const SEGMENTS_DIRECTORY = 'segments'
export const NEXT_SEGMENT_FILE = 'next.tmp'

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
  const match = /^(\d{20})(?:\.([1-9]\d*))?\.log$/.exec(name)
  if (match === null) return undefined
  const base = Number(match[1])
  return Number.isSafeInteger(base) ? { base, generation: match[2] === undefined ? 0 : Number(match[2]) } : undefined
}

function segmentStem(base: number): string {
  return String(base).padStart(20, '0')
}
