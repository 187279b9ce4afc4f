#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace sealog {

// Memory that grows to the largest use of it.
class WorkBuffer {
 public:
  // At least `bytes`, with any content; null when there is no memory.
  uint8_t* Take(size_t bytes) {
    if (bytes > capacity_) {
      memory_.reset();
      memory_.reset(new (std::nothrow) uint8_t[bytes]);
      capacity_ = memory_ == nullptr ? 0 : bytes;
    }
    return memory_.get();
  }

 private:
  std::unique_ptr<uint8_t[]> memory_;
  size_t capacity_ = 0;
};

}  // namespace sealog
