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

[[noreturn]] void EndWithoutMemory() {
  (void)fputs("sealog: out of memory\n", stderr);
  abort();
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
  if (block == nullptr) EndWithoutMemory();
  *block = {nullptr, 0, allocated, reinterpret_cast<uint8_t*>(block + 1)};
  return block;
}

void BlockPool::MakeSlabs(size_t count, size_t bytes) {
  slab_memory_.reset(static_cast<uint8_t*>(calloc(count, bytes)));
  if (slab_memory_ == nullptr) EndWithoutMemory();
  slabs_ = std::make_unique<Block[]>(count);
  MutexLock lock(mutex_);
  for (size_t i = count; i-- > 0;) {
    slabs_[i] = {free_slabs_, 0, 0, slab_memory_.get() + i * bytes};
    free_slabs_ = &slabs_[i];
  }
}

void BlockPool::DropSlabs() {
  MutexLock lock(mutex_);
  free_slabs_ = nullptr;
  slabs_.reset();
  slab_memory_.reset();
}

Block* BlockPool::TakeSlab() {
  MutexLock lock(mutex_);
  Block* slab = free_slabs_;
  if (slab == nullptr) return nullptr;
  free_slabs_ = slab->next;
  slab->next = nullptr;
  slab->size = 0;
  return slab;
}

void BlockPool::Give(Block* first) {
  if (first == nullptr) return;
  MutexLock lock(mutex_);
  while (first != nullptr) {
    Block* block = first;
    first = block->next;
    const size_t allocated = block->allocated;
    if (allocated == 0) {
      block->next = free_slabs_;
      free_slabs_ = block;
      continue;
    }
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
