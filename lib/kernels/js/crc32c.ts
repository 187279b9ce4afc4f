import { viewOf } from '../../format/bytes.js'

/** CRC-32C (Castagnoli, reflected), 16 bytes a step. Table k holds the effect of a byte that k further bytes follow. */

const TABLES = new Int32Array(16 * 256)
for (let byte = 0; byte < 256; byte++) {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  TABLES[byte] = crc
}
for (let at = 256; at < TABLES.length; at++) {
  const before = TABLES[at - 256]
  TABLES[at] = (before >>> 8) ^ TABLES[before & 255]
}

/** Continues `crc` (0: fresh) over the bytes from … to of `view`. One table for all steps: V8 keeps a single base register. */
export function extendCrc(crc: number, view: DataView, from: number, to: number): number {
  let c = ~crc
  let at = from
  for (; to - at >= 16; at += 16) {
    const w = c ^ view.getInt32(at, true)
    const x = view.getInt32(at + 4, true)
    const y = view.getInt32(at + 8, true)
    const z = view.getInt32(at + 12, true)
    c =
      TABLES[3840 | (w & 255)] ^
      TABLES[3584 | ((w >>> 8) & 255)] ^
      TABLES[3328 | ((w >>> 16) & 255)] ^
      TABLES[3072 | (w >>> 24)] ^
      TABLES[2816 | (x & 255)] ^
      TABLES[2560 | ((x >>> 8) & 255)] ^
      TABLES[2304 | ((x >>> 16) & 255)] ^
      TABLES[2048 | (x >>> 24)] ^
      TABLES[1792 | (y & 255)] ^
      TABLES[1536 | ((y >>> 8) & 255)] ^
      TABLES[1280 | ((y >>> 16) & 255)] ^
      TABLES[1024 | (y >>> 24)] ^
      TABLES[768 | (z & 255)] ^
      TABLES[512 | ((z >>> 8) & 255)] ^
      TABLES[256 | ((z >>> 16) & 255)] ^
      TABLES[z >>> 24]
  }
  for (; at < to; at++) c = (c >>> 8) ^ TABLES[(c ^ view.getUint8(at)) & 255]
  return ~c >>> 0
}

/** Continues `crc` over the four little-endian bytes of `word`. */
export function extendCrcWord(crc: number, word: number): number {
  const w = ~crc ^ word
  return ~(TABLES[768 | (w & 255)] ^ TABLES[512 | ((w >>> 8) & 255)] ^ TABLES[256 | ((w >>> 16) & 255)] ^ TABLES[w >>> 24]) >>> 0
}

export function crc32c(bytes: Uint8Array, seed: number): number {
  return extendCrc(seed, viewOf(bytes), 0, bytes.length)
}
