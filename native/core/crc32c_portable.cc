// Slice-by-8: eight table look-ups take eight bytes at a time.
#include "crc32c_implementations.h"
#include "crc32c_tables.h"
#include "format.h"

namespace sealog::crc32c {

namespace {
constexpr std::array<ByteTable, 8> kSlices = MakeSliceTables<8>();
}

uint32_t ExtendPortable(uint32_t crc, const void* data, size_t length) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t raw = ~crc;
  for (; length >= 8; length -= 8, bytes += 8) {
    const uint64_t word = LoadU64(bytes) ^ raw;
    raw = kSlices[7][word & 0xFF] ^ kSlices[6][(word >> 8) & 0xFF] ^ kSlices[5][(word >> 16) & 0xFF] ^
          kSlices[4][(word >> 24) & 0xFF] ^ kSlices[3][(word >> 32) & 0xFF] ^ kSlices[2][(word >> 40) & 0xFF] ^
          kSlices[1][(word >> 48) & 0xFF] ^ kSlices[0][word >> 56];
  }
  for (; length > 0; length--, bytes++) raw = (raw >> 8) ^ kSlices[0][(raw ^ *bytes) & 0xFF];
  return ~raw;
}

}  // namespace sealog::crc32c
