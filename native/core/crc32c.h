// CRC-32C (Castagnoli), with the fastest implementation that the processor offers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealog {

// The CRC of some bytes followed by `data`, when `crc` is the CRC of those bytes; 0 starts afresh.
uint32_t Crc32cExtend(uint32_t crc, const void* data, size_t length);

using Crc32cFunction = uint32_t (*)(uint32_t crc, const void* data, size_t length);

struct Crc32cImplementation {
  const char* name;
  Crc32cFunction extend;
};

inline constexpr size_t kMaxCrc32cImplementations = 4;

// Lists what this processor can run, the one that Crc32cExtend uses last; returns how many. For tests and benchmarks.
size_t ListCrc32cImplementations(Crc32cImplementation (&into)[kMaxCrc32cImplementations]);

}  // namespace sealog
