#include "zeros.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "format.h"
#include "seam.h"

namespace sealog {

namespace {

constexpr size_t kReadBytes = 128 * 1024;

// Index of the first byte that is not zero, or `length`.
size_t FirstNonZero(const uint8_t* bytes, size_t length) {
  size_t at = 0;
  for (; at + 64 <= length; at += 64) {
    uint64_t any = 0;
    for (size_t i = 0; i < 64; i += 8) any |= LoadU64(bytes + at + i);
    if (any != 0) break;
  }
  while (at < length && bytes[at] == 0) at++;
  return at;
}

}  // namespace

int FindNonZero(Io& io, int fd, uint64_t from, uint64_t end, double* numbers) {
  const std::unique_ptr<uint8_t[]> buffer(new (std::nothrow) uint8_t[kReadBytes]);
  if (buffer == nullptr) return -ENOMEM;
  uint64_t position = from;
  while (position < end) {
    const int64_t data = io.SeekData(fd, position);
    if (data < 0) return static_cast<int>(data);
    position = std::max(position, static_cast<uint64_t>(data));
    if (position >= end) break;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(kReadBytes, end - position));
    const int64_t got = ReadFull(io, fd, buffer.get(), wanted, position);
    if (got < 0) return static_cast<int>(got);
    const size_t zeros = FirstNonZero(buffer.get(), static_cast<size_t>(got));
    if (zeros < static_cast<size_t>(got)) {
      numbers[0] = static_cast<double>(position + zeros);
      return 0;
    }
    if (static_cast<size_t>(got) < wanted) break;
    position += wanted;
  }
  numbers[0] = static_cast<double>(end);
  return 0;
}

}  // namespace sealog
