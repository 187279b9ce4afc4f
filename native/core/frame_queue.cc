#include "frame_queue.h"

#include "format.h"

namespace sealog {

uint8_t* FrameCursor::Next(uint64_t* length) {
  if (at_ == block_->size) {
    block_ = block_->next;
    at_ = 0;
  }
  uint8_t* frame = block_->Bytes() + at_;
  *length = FrameBytes(LoadU32(frame + kFrameBodyLengthAt));
  at_ += *length;
  return frame;
}

void FrameQueue::Append(Block* block, uint64_t ready) {
  if (ready > 0) ready_bytes_ = bytes_ + ready;
  bytes_ += block->size;
  (tail_ == nullptr ? head_ : tail_->next) = block;
  tail_ = block;
}

Block* FrameQueue::Remove(uint64_t bytes) {
  bytes_ -= bytes;
  ready_bytes_ -= bytes;
  Block* first = head_;
  Block* last = nullptr;
  while (bytes > 0) {
    const uint64_t left = head_->size - head_at_;
    if (bytes < left) {
      head_at_ += bytes;
      break;
    }
    bytes -= left;
    last = head_;
    head_ = head_->next;
    head_at_ = 0;
  }
  if (head_ == nullptr) tail_ = nullptr;
  if (last == nullptr) return nullptr;
  last->next = nullptr;
  return first;
}

Block* FrameQueue::RemoveAll() {
  Block* first = head_;
  head_ = tail_ = nullptr;
  head_at_ = 0;
  bytes_ = ready_bytes_ = 0;
  return first;
}

}  // namespace sealog
