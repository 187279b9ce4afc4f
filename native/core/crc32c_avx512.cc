// Folding by carry-less multiplication on 64-byte vectors (VPCLMULQDQ), otherwise as crc32c_pclmul.cc.
#include "crc32c_implementations.h"

#if defined(__x86_64__)

#if !defined(__clang__)
// The intrinsics of gcc 12 start from registers that are undefined on purpose (gcc bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "crc32c_tables.h"
#include "crc32c_x86.h"

#define SEALOG_TARGET_AVX512 target("avx512f,avx512vl,avx512dq,vpclmulqdq,pclmul,sse4.2")

namespace sealog::crc32c {

namespace {

// Below this one stream of CRC instructions is faster.
constexpr size_t kFoldFrom = 128;

__attribute__((SEALOG_TARGET_AVX512, always_inline)) inline __m512i Load(const uint8_t* from) {
  return _mm512_loadu_si512(from);
}

// Carries every 16-byte lane over the bits that its factors stand for and adds what lies there.
__attribute__((SEALOG_TARGET_AVX512, always_inline)) inline __m512i Fold(__m512i lanes, __m512i factors, __m512i next) {
  const __m512i low = _mm512_clmulepi64_epi128(lanes, factors, 0x00);
  const __m512i high = _mm512_clmulepi64_epi128(lanes, factors, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, 0x96);  // low ^ high ^ next
}

template <unsigned kBits>
__attribute__((SEALOG_TARGET_AVX512, always_inline)) inline __m512i Factors() {
  return _mm512_broadcast_i64x2(
      _mm_set_epi64x(static_cast<int64_t>(FoldFactorHigh<kBits>()), static_cast<int64_t>(FoldFactorLow<kBits>())));
}

// The four lanes carried to the last one of them, and reduced.
__attribute__((SEALOG_TARGET_AVX512, always_inline)) inline uint32_t Reduce(__m512i lanes) {
  const __m512i factors =
      _mm512_set_epi64(0, 0, static_cast<int64_t>(FoldFactorHigh<128>()), static_cast<int64_t>(FoldFactorLow<128>()),
                       static_cast<int64_t>(FoldFactorHigh<256>()), static_cast<int64_t>(FoldFactorLow<256>()),
                       static_cast<int64_t>(FoldFactorHigh<384>()), static_cast<int64_t>(FoldFactorLow<384>()));
  // The last lane has zero factors and stays by being added.
  const __m512i folded = Fold(lanes, factors, _mm512_maskz_mov_epi64(0xC0, lanes));
  const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(folded), _mm512_extracti64x4_epi64(folded, 1));
  const __m128i last = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const uint64_t wide = _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(last)));
  return static_cast<uint32_t>(_mm_crc32_u64(wide, static_cast<uint64_t>(_mm_extract_epi64(last, 1))));
}

}  // namespace

__attribute__((SEALOG_TARGET_AVX512)) uint32_t ExtendAvx512(uint32_t crc, const void* data, size_t length) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  const uint32_t raw = ~crc;
  if (length < kFoldFrom) return ~OneStream(raw, bytes, length);

  __m512i a = _mm512_xor_si512(Load(bytes), _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(raw))));
  if (length >= 256) {
    __m512i b = Load(bytes + 64);
    __m512i c = Load(bytes + 128);
    __m512i d = Load(bytes + 192);
    bytes += 256;
    length -= 256;
    if (length >= 256) {
      const __m512i factors = Factors<2048>();
      for (; length >= 256; length -= 256, bytes += 256) {
        a = Fold(a, factors, Load(bytes));
        b = Fold(b, factors, Load(bytes + 64));
        c = Fold(c, factors, Load(bytes + 128));
        d = Fold(d, factors, Load(bytes + 192));
      }
    }
    const __m512i ab = Fold(a, Factors<1536>(), Fold(b, Factors<1024>(), d));
    a = Fold(c, Factors<512>(), ab);
  } else {
    bytes += 64;
    length -= 64;
  }
  for (; length >= 64; length -= 64, bytes += 64) a = Fold(a, Factors<512>(), Load(bytes));
  return ~OneStream(Reduce(a), bytes, length);
}

}  // namespace sealog::crc32c

#endif
