#include "group.h"

#include <algorithm>
#include <cstring>

#include "crc32c.h"

namespace sealog {

namespace {

constexpr uint64_t kMaxGroupBytes = 8 * 1024 * 1024;

bool EndsBatch(const uint8_t* frame) { return (frame[kFrameFlagsAt] & kFlagBatchContinues) == 0; }

// CRC-32C over the previous chain and the CRCs of a group's frames, gathered to be taken in one go.
class Chain {
 public:
  explicit Chain(uint32_t previous) { Add(previous); }

  void Add(uint32_t crc) {
    crcs_[count_++] = crc;
    if (count_ == kCapacity) Fold();
  }
  uint32_t Value() {
    Fold();
    return chain_;
  }

 private:
  static constexpr size_t kCapacity = 256;

  void Fold() {
    chain_ = Crc32cExtend(chain_, crcs_, count_ * sizeof crcs_[0]);
    count_ = 0;
  }

  uint32_t chain_ = 0;
  size_t count_ = 0;
  uint32_t crcs_[kCapacity];
};

// Bytes of the value: the body without its key part.
uint64_t ValueBytes(const uint8_t* frame) {
  const uint64_t body_length = LoadU32(frame + kFrameBodyLengthAt);
  if ((frame[kFrameFlagsAt] & kFlagKey) == 0 || body_length < 2) return body_length;
  const uint64_t key_part = 2 + uint64_t{LoadU16(frame + kFrameBodyAt)};
  return body_length > key_part ? body_length - key_part : 0;
}

void CountForChunk(const uint8_t* frame, bool ends_batch, SegmentState* state) {
  state->chunk_payload += ValueBytes(frame);
  state->chunk_records++;
  if (ends_batch && state->chunk_payload >= state->chunk_bytes) {
    state->chunks++;
    state->chunk_payload = 0;
    state->chunk_records = 0;
  }
}

void AddPart(uint8_t* frame, uint64_t length, std::vector<iovec>* parts) {
  if (!parts->empty()) {
    iovec& last = parts->back();
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == frame) {
      last.iov_len += length;
      return;
    }
  }
  parts->push_back({frame, length});
}

void AppendCommitFrame(uint64_t group_start, uint32_t previous_chain, const SegmentState& state, Group* group) {
  uint8_t* frame = group->commit_frame;
  StoreU32(frame + kFrameBodyLengthAt, kCommitBodyBytes);
  StoreU64(frame + kFrameOffsetAt, state.next_offset);
  StoreU48(frame + kFrameTimestampAt, state.running_time >= 0 ? static_cast<uint64_t>(state.running_time) : 0);
  frame[kFrameTypeAt] = kFrameCommit;
  frame[kFrameFlagsAt] = 0;
  StoreU64(frame + kCommitGroupStartAt, group_start);
  StoreU64(frame + kCommitSyncedOffsetAt, state.synced_offset);
  StoreU32(frame + kCommitRecordCountAt, group->records);
  StoreU32(frame + kCommitEpochAt, state.epoch);
  StoreU32(frame + kCommitPrevChainAt, previous_chain);
  StoreU32(frame + kCommitChainAt, state.chain);
  const uint32_t crc = Crc32cExtend(state.seed, frame + kFrameBodyLengthAt, kCommitFrameBytes - kFrameBodyLengthAt);
  StoreU32(frame + kFrameCrcAt, crc);
  group->parts.push_back({frame, kCommitFrameBytes});
}

}  // namespace

uint64_t MeasureGroup(FrameCursor frames, uint64_t available, const SegmentState& state) {
  const uint64_t room = static_cast<uint64_t>(std::max<int64_t>(state.Room(), 0));
  const uint64_t limit = std::min(kMaxGroupBytes, room);
  if (available <= limit) return available;
  uint64_t taken = 0;
  uint64_t walked = 0;
  while (walked < available) {
    uint64_t length;
    const uint8_t* frame = frames.Next(&length);
    walked += length;
    if (!EndsBatch(frame)) continue;
    if (walked <= limit) {
      taken = walked;
      continue;
    }
    // A first batch beyond the limit goes alone: where it fits, or where nothing else could make more room for it.
    if (taken == 0 && (walked <= room || state.records == 0)) return walked;
    break;
  }
  return taken;
}

uint64_t FirstBatchBytes(FrameCursor frames, uint64_t available) {
  uint64_t walked = 0;
  while (walked < available) {
    uint64_t length;
    const uint8_t* frame = frames.Next(&length);
    walked += length;
    if (EndsBatch(frame)) break;
  }
  return walked;
}

void CutGroup(FrameCursor frames, uint64_t bytes, SegmentState* state, Group* group) {
  const uint64_t group_start = state->position;
  const uint32_t previous_chain = state->chain;
  Chain chain(previous_chain);
  uint64_t batch_first = state->next_offset;
  while (group->frame_bytes < bytes) {
    uint64_t length;
    uint8_t* frame = frames.Next(&length);
    const uint64_t offset = LoadU64(frame + kFrameOffsetAt);
    const auto timestamp = static_cast<int64_t>(LoadU48(frame + kFrameTimestampAt));
    const bool ends_batch = EndsBatch(frame);
    const size_t checked = kFrameHeaderBytes - kFrameBodyLengthAt + LoadU32(frame + kFrameBodyLengthAt);
    const uint32_t crc = Crc32cExtend(state->seed, frame + kFrameBodyLengthAt, checked);
    StoreU32(frame + kFrameCrcAt, crc);
    chain.Add(crc);
    if (state->last_indexed < 0 ||
        state->position - static_cast<uint64_t>(state->last_indexed) >= state->index_interval) {
      group->entries.push_back({offset, state->position, batch_first, state->running_time});
      state->last_indexed = static_cast<int64_t>(state->position);
    }
    state->running_time = std::max(state->running_time, timestamp);
    state->min_time = std::min(state->min_time, static_cast<uint64_t>(timestamp));
    state->max_time = std::max(state->max_time, timestamp);
    if (state->chunk_bytes > 0) CountForChunk(frame, ends_batch, state);
    if (ends_batch) batch_first = offset + 1;
    AddPart(frame, length, &group->parts);
    state->position += length;
    group->frame_bytes += length;
    group->records++;
  }
  state->records += group->records;
  state->next_offset += group->records;
  state->chain = chain.Value();
  state->marked = false;
  AppendCommitFrame(group_start, previous_chain, *state, group);
  state->position += kCommitFrameBytes;
}

void CutMark(SegmentState* state, Group* group) {
  AppendCommitFrame(state->position, state->chain, *state, group);
  state->position += kCommitFrameBytes;
  state->marked = true;
}

}  // namespace sealog
