/** CRC-32C of `bytes` continued from `seed`; the kernels provide it. */
export type Checksum = (bytes: Uint8Array, seed: number) => number
/** The same of the bytes `from` … `to` of a view, for a few bytes at a time: it makes no object. */
export type RangeChecksum = (seed: number, view: DataView, from: number, to: number) => number

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true)
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
}

/** NaN when the number is no safe integer, so that no comparison with it holds. */
export function getU64(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
  return Number.isSafeInteger(value) ? value : Number.NaN
}

export function setU48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true)
  view.setUint16(at + 4, Math.floor(value / 2 ** 32), true)
}

export function getU48(view: DataView, at: number): number {
  return view.getUint16(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
}

export function allZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}

export function toHex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}
