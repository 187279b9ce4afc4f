#include "crc32c.h"

#include <atomic>

#include "crc32c_implementations.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace sealog {

namespace {

#if defined(__aarch64__)
bool HasArmCrc() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#elif defined(__APPLE__)
  return true;
#else
  return false;
#endif
}
#endif

uint32_t ResolveAndExtend(uint32_t crc, const void* data, size_t length);

// Replaced by the implementation at the first call. Threads may race for that and all write the same value.
constinit std::atomic<Crc32cFunction> g_extend{ResolveAndExtend};

uint32_t ResolveAndExtend(uint32_t crc, const void* data, size_t length) {
  Crc32cImplementation all[kMaxCrc32cImplementations];
  const Crc32cFunction best = all[ListCrc32cImplementations(all) - 1].extend;
  g_extend.store(best, std::memory_order_relaxed);
  return best(crc, data, length);
}

}  // namespace

size_t ListCrc32cImplementations(Crc32cImplementation (&into)[kMaxCrc32cImplementations]) {
  size_t count = 0;
  into[count++] = {"portable", crc32c::ExtendPortable};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("sse4.2")) return count;
  into[count++] = {"sse4.2", crc32c::ExtendSse42};
  if (!__builtin_cpu_supports("pclmul")) return count;
  into[count++] = {"pclmul", crc32c::ExtendPclmul};
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("vpclmulqdq")) {
    return count;
  }
  into[count++] = {"avx512", crc32c::ExtendAvx512};
#elif defined(__aarch64__)
  if (HasArmCrc()) into[count++] = {"armv8", crc32c::ExtendArm};
#endif
  return count;
}

uint32_t Crc32cExtend(uint32_t crc, const void* data, size_t length) {
  return g_extend.load(std::memory_order_relaxed)(crc, data, length);
}

}  // namespace sealog
