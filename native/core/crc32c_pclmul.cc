// Three streams of the CRC instruction as in crc32c_sse42.cc, but joined by carry-less multiplications, which are so
// cheap that the streams can be short. (Folding 16-byte vectors instead is half as fast where PCLMULQDQ starts every
// other cycle.)
#include "crc32c_implementations.h"

#if defined(__x86_64__)

#include "crc32c_tables.h"
#include "crc32c_x86.h"

namespace sealog::crc32c {

namespace {

// Below this one stream is faster.
constexpr size_t kThreeFrom = 144;
constexpr size_t kMaxStream = 1024;

// factors[i] carries a raw CRC over 8 * i bytes: the product is reduced by a CRC instruction, which multiplies by x^32,
// and comes out one bit too low, hence x^(64 * i - 33).
constexpr auto kJoinFactors = [] {
  std::array<uint32_t, 2 * kMaxStream / 8 + 1> factors{};
  uint32_t value = PowerOfX(64 - 33);
  for (size_t i = 1; i < factors.size(); i++) {
    factors[i] = value;
    for (int bit = 0; bit < 64; bit++) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
  }
  return factors;
}();

__attribute__((target("pclmul,sse4.2"), always_inline)) inline uint64_t Multiply(uint64_t raw, uint32_t factor) {
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<int64_t>(raw)),
                                                                      _mm_cvtsi32_si128(static_cast<int>(factor)), 0)));
}

// `stream`: bytes of each stream, a multiple of 8 up to kMaxStream.
__attribute__((target("pclmul,sse4.2"), always_inline)) inline uint32_t ThreeStreams(uint32_t raw, const uint8_t* bytes,
                                                                                     size_t stream) {
  uint64_t a = raw;
  uint64_t b = 0;
  uint64_t c = 0;
  for (const uint8_t* end = bytes + stream; bytes < end; bytes += 8) {
    a = _mm_crc32_u64(a, LoadU64(bytes));
    b = _mm_crc32_u64(b, LoadU64(bytes + stream));
    c = _mm_crc32_u64(c, LoadU64(bytes + 2 * stream));
  }
  const uint64_t joined = Multiply(a, kJoinFactors[2 * stream / 8]) ^ Multiply(b, kJoinFactors[stream / 8]);
  return static_cast<uint32_t>(_mm_crc32_u64(0, joined) ^ c);
}

}  // namespace

__attribute__((target("pclmul,sse4.2"))) uint32_t ExtendPclmul(uint32_t crc, const void* data, size_t length) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t raw = ~crc;
  for (; length >= 3 * kMaxStream; length -= 3 * kMaxStream, bytes += 3 * kMaxStream) {
    raw = ThreeStreams(raw, bytes, kMaxStream);
  }
  if (length >= kThreeFrom) {
    const size_t stream = length / 24 * 8;
    raw = ThreeStreams(raw, bytes, stream);
    bytes += 3 * stream;
    length -= 3 * stream;
  }
  return ~OneStream(raw, bytes, length);
}

}  // namespace sealog::crc32c

#endif
