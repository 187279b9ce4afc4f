/** The checksum of the twin: known vectors, continuation, every alignment. */
import { expect, test } from 'vitest'
import { crc32c, extendCrcWord } from '../../lib/kernels/js/crc32c.js'

function bitwise(bytes: Uint8Array, seed: number): number {
  let crc = ~seed
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

test('known vectors', () => {
  expect(crc32c(new TextEncoder().encode('123456789'), 0)).toBe(0xe3069283)
  expect(crc32c(new Uint8Array(32), 0)).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(255), 0)).toBe(0x62a8ab43)
  expect(crc32c(new Uint8Array(0), 5)).toBe(5)
})

test('every length, alignment and cut agrees with the definition', () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, at) => (at * 37 + 11) & 255)
  for (let from = 0; from < 9; from++) {
    for (let to = from; to <= 100; to++) {
      const part = bytes.subarray(from, to)
      const cut = (to - from) >> 1
      expect(crc32c(part, 0x12345678)).toBe(bitwise(part, 0x12345678))
      expect(crc32c(part.subarray(cut), crc32c(part.subarray(0, cut), 1))).toBe(bitwise(part, 1))
    }
  }
  expect(extendCrcWord(7, 0xdeadbeef)).toBe(crc32c(Uint8Array.of(0xef, 0xbe, 0xad, 0xde), 7))
})
