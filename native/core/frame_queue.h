#pragma once

#include <cstddef>
#include <cstdint>

#include "block_pool.h"

namespace sealog {

// Steps over frames without a lock: blocks are only ever added behind what a cursor may visit, and only the holder of
// the log's write turn removes them.
class FrameCursor {
 public:
  FrameCursor(Block* block, size_t at) : block_(block), at_(at) {}

  // The next frame, of `*length` bytes. The caller knows that there is one.
  uint8_t* Next(uint64_t* length);

 private:
  Block* block_;
  size_t at_;
};

// The frames of a log that are not written yet. Everything but the bytes of the frames is guarded by the committer's
// mutex.
class FrameQueue {
 public:
  explicit FrameQueue(BlockPool& pool) : pool_(pool) {}
  ~FrameQueue() { pool_.Give(head_); }
  FrameQueue(const FrameQueue&) = delete;
  FrameQueue& operator=(const FrameQueue&) = delete;

  // `ready`: how many of the block's bytes end a batch, 0 when it is the middle of one.
  void Append(Block* block, uint64_t ready);
  // Takes the first bytes out; returns the blocks that are used up, for the caller to give back.
  Block* Remove(uint64_t bytes);
  Block* RemoveAll();

  uint64_t Bytes() const { return bytes_; }
  // Bytes up to the end of the last complete batch.
  uint64_t ReadyBytes() const { return ready_bytes_; }
  FrameCursor Head() const { return {head_, head_at_}; }

 private:
  BlockPool& pool_;
  Block* head_ = nullptr;
  Block* tail_ = nullptr;
  size_t head_at_ = 0;
  uint64_t bytes_ = 0;
  uint64_t ready_bytes_ = 0;
};

}  // namespace sealog
