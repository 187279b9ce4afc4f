#include "block_pool.h"

#include <bit>
#include <cstdio>
#include <cstdlib>

namespace sealog {

namespace {

// Of sizes within the classes.
size_t ClassOf(size_t allocated, size_t min_bytes) {
  return static_cast<size_t>(std::countr_zero(allocated) - std::countr_zero(min_bytes));
}

}  // namespace

BlockPool::~BlockPool() {
  for (Block* block : kept_) {
    while (block != nullptr) {
      Block* next = block->next;
      free(block);
      block = next;
    }
  }
}

Block* BlockPool::Take(size_t capacity) {
  size_t allocated = sizeof(Block) + capacity;
  Block* block = nullptr;
  if (allocated >= kMinBytes && allocated <= kMaxBytes) {
    allocated = std::bit_ceil(allocated);
    MutexLock lock(mutex_);
    Block*& kept = kept_[ClassOf(allocated, kMinBytes)];
    block = kept;
    if (block != nullptr) {
      kept = block->next;
      kept_bytes_ -= allocated;
    }
  }
  if (block == nullptr) block = static_cast<Block*>(malloc(allocated));
  if (block == nullptr) {
    (void)fputs("sealog: out of memory\n", stderr);
    abort();
  }
  *block = {nullptr, 0, allocated};
  return block;
}

void BlockPool::Give(Block* first) {
  if (first == nullptr) return;
  MutexLock lock(mutex_);
  while (first != nullptr) {
    Block* block = first;
    first = block->next;
    const size_t allocated = block->allocated;
    const bool fits = allocated >= kMinBytes && allocated <= kMaxBytes && kept_bytes_ + allocated <= kMaxKeptBytes;
    if (!fits) {
      free(block);
      continue;
    }
    Block*& kept = kept_[ClassOf(allocated, kMinBytes)];
    block->next = kept;
    kept = block;
    kept_bytes_ += allocated;
  }
}

}  // namespace sealog
