// Throughput of every CRC-32C implementation this processor can run, and the latency of dependent calls.
#include <chrono>
#include <cstdio>
#include <vector>

#include "../core/crc32c.h"

namespace {

// Dependent calls: the CRC of one is the seed of the next, as in a chain. Independent: as over the frames of a group.
double Nanoseconds(sealog::Crc32cFunction extend, size_t length, bool dependent) {
  using Clock = std::chrono::steady_clock;
  std::vector<uint8_t> bytes(length + 64, 0x5A);
  const size_t calls = (size_t{64} << 20) / (length + 64);
  double best = 1e18;
  uint32_t sum = 0;
  for (int round = 0; round < 7; round++) {
    const auto start = Clock::now();
    uint32_t crc = 0;
    for (size_t i = 0; i < calls; i++) {
      crc = extend(dependent ? crc : 0x1234, bytes.data() + (i & 31), length);
      sum ^= crc;
    }
    const std::chrono::duration<double, std::nano> took = Clock::now() - start;
    const double each = took.count() / static_cast<double>(calls);
    if (each < best) best = each;
  }
  if (sum == 0xDEADBEEF) std::puts("");
  return best;
}

}  // namespace

int main() {
  sealog::Crc32cImplementation all[sealog::kMaxCrc32cImplementations];
  const size_t count = sealog::ListCrc32cImplementations(all);
  std::printf("%-10s %8s %12s %12s %12s\n", "", "bytes", "GB/s", "ns a call", "ns dependent");
  for (size_t i = 0; i < count; i++) {
    for (const size_t length : {24, 64, 128, 160, 256, 276, 300, 512, 4096, 65536}) {
      const double apart = Nanoseconds(all[i].extend, length, false);
      const double chained = Nanoseconds(all[i].extend, length, true);
      std::printf("%-10s %8zu %12.2f %12.1f %12.1f\n", all[i].name, length, static_cast<double>(length) / apart, apart,
                  chained);
    }
  }
  return 0;
}
