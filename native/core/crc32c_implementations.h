// The implementations behind Crc32cExtend, one file per instruction set. Each is compiled everywhere its architecture
// is and may be called only where ListCrc32cImplementations lists it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealog::crc32c {

uint32_t ExtendPortable(uint32_t crc, const void* data, size_t length);
#if defined(__x86_64__)
uint32_t ExtendSse42(uint32_t crc, const void* data, size_t length);
uint32_t ExtendPclmul(uint32_t crc, const void* data, size_t length);
uint32_t ExtendAvx512(uint32_t crc, const void* data, size_t length);
#elif defined(__aarch64__)
uint32_t ExtendArm(uint32_t crc, const void* data, size_t length);
#endif

}  // namespace sealog::crc32c
