#pragma once

#include <cstddef>
#include <cstdint>

#include "../os/threading.h"

namespace sealog {

// Frames of one log, one behind the other. The bytes follow the header in the same allocation.
struct Block {
  Block* next;
  // Bytes used.
  size_t size;
  // Bytes allocated, this header included.
  size_t allocated;

  uint8_t* Bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
};

// Blocks for the queues of all logs of an environment. Used ones are kept, up to a few MiB: blocks of the usual sizes
// would else go back to the system each time, and every fresh page of a new one costs more than copying the records
// into it.
class BlockPool {
 public:
  BlockPool() = default;
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Room for `capacity` bytes, `size` 0. Ends the process when there is no memory.
  Block* Take(size_t capacity);
  // A chain of blocks, or null.
  void Give(Block* first);

 private:
  // Powers of two from kMinBytes on; smaller and larger blocks are not kept.
  static constexpr size_t kClasses = 8;
  static constexpr size_t kMinBytes = size_t{4} * 1024;
  static constexpr size_t kMaxBytes = kMinBytes << (kClasses - 1);
  static constexpr size_t kMaxKeptBytes = size_t{8} * 1024 * 1024;

  Mutex mutex_;
  Block* kept_[kClasses] = {};
  size_t kept_bytes_ = 0;
};

}  // namespace sealog
