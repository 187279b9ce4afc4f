#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "../os/threading.h"

namespace sealog {

// Frames of one log, one behind the other.
struct Block {
  Block* next;
  // Bytes used.
  size_t size;
  // Bytes allocated, this header included, behind which the frames follow; 0: they lie in a slab.
  size_t allocated;
  uint8_t* bytes;

  uint8_t* Bytes() { return bytes; }
};

// Blocks for the queues of all logs of an environment. Used ones are kept, up to a few MiB: blocks of the usual sizes
// would else go back to the system each time, and every fresh page of a new one costs more than copying the records
// into it.
//
// Slabs are blocks of one size in one piece of memory, for bytes that somebody else puts there. The one that was given
// back last is taken first: it may still be in the processor's cache.
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

  // Once, before slabs are taken. Memory that is never used is never touched.
  void MakeSlabs(size_t count, size_t bytes);
  // None is in use.
  void DropSlabs();
  uint8_t* SlabMemory() { return slab_memory_.get(); }
  // `size` 0; null when all are in use.
  Block* TakeSlab();

 private:
  // Powers of two from kMinBytes on; smaller and larger blocks are not kept.
  static constexpr size_t kClasses = 8;
  static constexpr size_t kMinBytes = size_t{4} * 1024;
  static constexpr size_t kMaxBytes = kMinBytes << (kClasses - 1);
  static constexpr size_t kMaxKeptBytes = size_t{8} * 1024 * 1024;

  struct Free {
    void operator()(uint8_t* memory) const { free(memory); }
  };

  std::unique_ptr<uint8_t, Free> slab_memory_;
  std::unique_ptr<Block[]> slabs_;

  Mutex mutex_;
  Block* kept_[kClasses] = {};
  size_t kept_bytes_ = 0;
  Block* free_slabs_ = nullptr;
};

}  // namespace sealog
