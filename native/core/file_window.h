// A file seen through a buffer of fixed size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../os/io.h"

namespace sealog {

class FileWindow {
 public:
  // Bytes at `end` and behind it do not exist. The buffer belongs to the caller and must outlive the window.
  FileWindow(Io& io, int fd, uint64_t end, uint8_t* buffer, size_t capacity)
      : io_(io), fd_(fd), end_(end), buffer_(buffer), capacity_(capacity) {}

  // Makes bytes from `position` on visible at At(position): `wanted` of them (at most the capacity), more when they
  // happen to be there, fewer only where the file or `end` comes first. Returns how many, or -errno.
  int64_t Load(uint64_t position, size_t wanted) {
    if (position >= start_ && position + wanted <= start_ + filled_) return static_cast<int64_t>(Visible(position));
    return Refill(position, wanted);
  }

  const uint8_t* At(uint64_t position) const { return buffer_ + (position - start_); }
  uint64_t end() const { return end_; }
  size_t capacity() const { return capacity_; }

 private:
  size_t Visible(uint64_t position) const { return static_cast<size_t>(start_ + filled_ - position); }

  int64_t Refill(uint64_t position, size_t wanted) {
    if (position >= end_) return 0;
    const uint64_t exists = end_ - position;
    const bool inside = position >= start_ && position < start_ + filled_;
    if (inside && Visible(position) >= std::min<uint64_t>(wanted, exists))
      return static_cast<int64_t>(Visible(position));
    const int64_t got =
        ReadFull(io_, fd_, buffer_, static_cast<size_t>(std::min<uint64_t>(capacity_, exists)), position);
    start_ = position;
    filled_ = got > 0 ? static_cast<size_t>(got) : 0;
    return got;
  }

  Io& io_;
  const int fd_;
  const uint64_t end_;
  uint8_t* const buffer_;
  const size_t capacity_;
  uint64_t start_ = 0;
  size_t filled_ = 0;
};

}  // namespace sealog
