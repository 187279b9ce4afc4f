// Three interleaved streams of the CRC instruction of ARMv8.
#include "crc32c_implementations.h"

#if defined(__aarch64__)

#include <arm_acle.h>

#include "crc32c_tables.h"
#include "format.h"

#if defined(__clang__)
#define SEALOG_TARGET_CRC target("crc")
#else
#define SEALOG_TARGET_CRC target("+crc")
#endif

namespace sealog::crc32c {

namespace {

template <unsigned kStream>
__attribute__((SEALOG_TARGET_CRC, always_inline)) inline uint32_t ThreeStreams(uint32_t raw, const uint8_t* bytes,
                                                                               const ShiftTable& shift) {
  uint32_t a = raw;
  uint32_t b = 0;
  uint32_t c = 0;
  for (unsigned i = 0; i < kStream; i += 8) {
    a = __crc32cd(a, LoadU64(bytes + i));
    b = __crc32cd(b, LoadU64(bytes + kStream + i));
    c = __crc32cd(c, LoadU64(bytes + 2 * kStream + i));
  }
  return Shift(shift, Shift(shift, a) ^ b) ^ c;
}

}  // namespace

__attribute__((SEALOG_TARGET_CRC)) uint32_t ExtendArm(uint32_t crc, const void* data, size_t length) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t raw = ~crc;
  for (; length >= 3 * kLongStream; length -= 3 * kLongStream, bytes += 3 * kLongStream) {
    raw = ThreeStreams<kLongStream>(raw, bytes, kLongShift);
  }
  for (; length >= 3 * kShortStream; length -= 3 * kShortStream, bytes += 3 * kShortStream) {
    raw = ThreeStreams<kShortStream>(raw, bytes, kShortShift);
  }
  for (; length >= 8; length -= 8, bytes += 8) raw = __crc32cd(raw, LoadU64(bytes));
  if ((length & 4) != 0) {
    raw = __crc32cw(raw, LoadU32(bytes));
    bytes += 4;
  }
  if ((length & 2) != 0) {
    raw = __crc32ch(raw, LoadU16(bytes));
    bytes += 2;
  }
  if ((length & 1) != 0) raw = __crc32cb(raw, *bytes);
  return ~raw;
}

}  // namespace sealog::crc32c

#endif
