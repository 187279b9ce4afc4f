// Three interleaved streams of the CRC instruction, which takes three cycles but can start every cycle.
#include "crc32c_implementations.h"

#if defined(__x86_64__)

#include "crc32c_tables.h"
#include "crc32c_x86.h"

namespace sealog::crc32c {

namespace {

template <unsigned kStream>
__attribute__((target("sse4.2"), always_inline)) inline uint32_t ThreeStreams(uint32_t raw, const uint8_t* bytes,
                                                                              const ShiftTable& shift) {
  uint64_t a = raw;
  uint64_t b = 0;
  uint64_t c = 0;
  for (unsigned i = 0; i < kStream; i += 8) {
    a = _mm_crc32_u64(a, LoadU64(bytes + i));
    b = _mm_crc32_u64(b, LoadU64(bytes + kStream + i));
    c = _mm_crc32_u64(c, LoadU64(bytes + 2 * kStream + i));
  }
  const uint32_t ab = Shift(shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
  return Shift(shift, ab) ^ static_cast<uint32_t>(c);
}

}  // namespace

__attribute__((target("sse4.2"))) uint32_t ExtendSse42(uint32_t crc, const void* data, size_t length) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t raw = ~crc;
  for (; length >= 3 * kLongStream; length -= 3 * kLongStream, bytes += 3 * kLongStream) {
    raw = ThreeStreams<kLongStream>(raw, bytes, kLongShift);
  }
  for (; length >= 3 * kShortStream; length -= 3 * kShortStream, bytes += 3 * kShortStream) {
    raw = ThreeStreams<kShortStream>(raw, bytes, kShortShift);
  }
  return ~OneStream(raw, bytes, length);
}

}  // namespace sealog::crc32c

#endif
