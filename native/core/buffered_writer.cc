#include "buffered_writer.h"

#include <algorithm>

#include "crc32c.h"

namespace sealog {

namespace {

constexpr uint64_t kWriteBackBytes = 512 * 1024;

}  // namespace

int BufferedWriter::Flush() {
  Put(buffer_, used_);
  used_ = 0;
  return status_;
}

// Fills the buffer to the brim first, so that writes stay whole multiples of it; what is larger goes without a copy.
void BufferedWriter::Overflow(const uint8_t* from, size_t length) {
  while (length > 0) {
    size_t part = std::min(length, capacity_ - used_);
    if (part == capacity_) {
      part = length - length % capacity_;
      Put(from, part);
    } else {
      memcpy(buffer_ + used_, from, part);
      used_ += part;
      if (used_ == capacity_) Flush();
    }
    from += part;
    length -= part;
  }
}

void BufferedWriter::Put(const uint8_t* from, size_t length) {
  if (status_ < 0 || length == 0) return;
  status_ = WriteFull(io_, fd_, from, length, position_);
  if (status_ < 0) return;
  crc_ = Crc32cExtend(crc_, from, length);
  position_ += length;
  if (position_ - started_ >= kWriteBackBytes) WriteBack();
}

void BufferedWriter::WriteBack() {
  status_ = io_.WriteBack(fd_, started_, position_ - started_, false);
  if (status_ == 0 && started_ > settled_) status_ = io_.WriteBack(fd_, settled_, started_ - settled_, true);
  settled_ = started_;
  started_ = position_;
}

}  // namespace sealog
