#include "checksum.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "crc32c.h"

namespace sealog {

namespace {

constexpr size_t kReadBytes = 256 * 1024;

}  // namespace

int ChecksumFile(Io& io, int fd, uint64_t position, uint64_t end, double* numbers, const std::atomic<bool>* canceled) {
  const std::unique_ptr<uint8_t[]> buffer(new (std::nothrow) uint8_t[kReadBytes]);
  if (buffer == nullptr) return -ENOMEM;
  uint32_t crc = 0;
  uint64_t at = position;
  while (at < end) {
    if (canceled != nullptr && canceled->load(std::memory_order_relaxed)) return -ECANCELED;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kReadBytes, end - at));
    const int64_t got = ReadFull(io, fd, buffer.get(), wanted, at);
    if (got < 0) return static_cast<int>(got);
    crc = Crc32cExtend(crc, buffer.get(), static_cast<size_t>(got));
    at += static_cast<uint64_t>(got);
    if (static_cast<size_t>(got) < wanted) break;
  }
  numbers[0] = crc;
  numbers[1] = static_cast<double>(at - position);
  return 0;
}

}  // namespace sealog
