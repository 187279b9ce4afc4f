// Arithmetic modulo the Castagnoli polynomial, done by the compiler. Polynomials are bit-reflected, as the CRC is: the
// highest bit of a word stands for x^0. "Raw" CRCs are the register itself, without the inversions before and after.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sealog::crc32c {

inline constexpr uint32_t kPolynomial = 0x82F63B78;

// x^n mod P.
constexpr uint32_t PowerOfX(unsigned n) {
  uint32_t value = 0x80000000;
  for (unsigned i = 0; i < n; i++) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
  return value;
}

// Factors that carry a 16-byte lane over kBits bits: one for its first eight bytes, which stand 64 bits higher, one for
// the rest. They hold one bit more than 32, since the product of two reflected words comes out one bit too low, and 32
// bits less of x since they are 32-bit words in 64-bit operands.
template <unsigned kBits>
constexpr uint64_t FoldFactorLow() {
  constexpr uint64_t kFactor = uint64_t{PowerOfX(kBits + 32)} << 1;
  return kFactor;
}
template <unsigned kBits>
constexpr uint64_t FoldFactorHigh() {
  constexpr uint64_t kFactor = uint64_t{PowerOfX(kBits - 32)} << 1;
  return kFactor;
}

using ByteTable = std::array<uint32_t, 256>;

// table[k][b]: what byte b contributes to the register k bytes later.
template <size_t kCount>
constexpr std::array<ByteTable, kCount> MakeSliceTables() {
  std::array<ByteTable, kCount> tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = value;
  }
  for (size_t k = 1; k < kCount; k++) {
    for (size_t byte = 0; byte < 256; byte++) {
      tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xFF];
    }
  }
  return tables;
}

// A linear map of the register, split by its four bytes.
using ShiftTable = std::array<ByteTable, 4>;

// The map that carries a raw CRC over so many zero bytes.
constexpr ShiftTable MakeShiftTable(unsigned zero_bytes) {
  // rows[i]: image of bit i. A raw register over n zero bytes is multiplied by x^(8n), so is each of its bits.
  std::array<uint32_t, 32> rows{};
  uint32_t image = PowerOfX(8 * zero_bytes);
  for (int bit = 31; bit >= 0; bit--) {
    rows[static_cast<size_t>(bit)] = image;
    image = (image >> 1) ^ ((image & 1) != 0 ? kPolynomial : 0);
  }
  ShiftTable table{};
  for (size_t part = 0; part < 4; part++) {
    for (size_t byte = 0; byte < 256; byte++) {
      uint32_t value = 0;
      for (size_t bit = 0; bit < 8; bit++) value ^= ((byte >> bit) & 1) != 0 ? rows[part * 8 + bit] : 0;
      table[part][byte] = value;
    }
  }
  return table;
}

inline uint32_t Shift(const ShiftTable& table, uint32_t crc) {
  return table[0][crc & 0xFF] ^ table[1][(crc >> 8) & 0xFF] ^ table[2][(crc >> 16) & 0xFF] ^ table[3][crc >> 24];
}

// Lengths of the three interleaved streams of the CRC-instruction loops: long ones pay for the combination, short ones
// serve what is left.
inline constexpr unsigned kLongStream = 2048;
inline constexpr unsigned kShortStream = 256;
inline constexpr ShiftTable kLongShift = MakeShiftTable(kLongStream);
inline constexpr ShiftTable kShortShift = MakeShiftTable(kShortStream);

}  // namespace sealog::crc32c
