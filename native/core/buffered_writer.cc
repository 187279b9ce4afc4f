#include "buffered_writer.h"

#include <algorithm>

#include "crc32c.h"

namespace sealog {

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
}

}  // namespace sealog
