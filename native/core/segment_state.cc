#include "segment_state.h"

#include <algorithm>

#include "format.h"
#include "seam.h"

namespace sealog {

namespace {

int64_t ToSigned(double number) { return number >= 0 ? static_cast<int64_t>(ToU64(number)) : SegmentState::kNone; }

uint32_t ToU32(double number) { return static_cast<uint32_t>(ToU64(number)); }

int ToFd(double number) { return number >= 0 ? static_cast<int>(number) : -1; }

}  // namespace

SegmentState SegmentState::FromNumbers(const double* numbers) {
  SegmentState state;
  state.fd = ToFd(numbers[kStateFd]);
  state.committed_fd = ToFd(numbers[kStateCommittedFd]);
  state.seed = ToU32(numbers[kStateSeed]);
  state.position = ToU64(numbers[kStatePosition]);
  state.allocated = ToU64(numbers[kStateAllocated]);
  state.segment_bytes = ToU64(numbers[kStateSegmentBytes]);
  state.next_offset = ToU64(numbers[kStateNextOffset]);
  state.chain = ToU32(numbers[kStateChain]);
  state.epoch = ToU32(numbers[kStateEpoch]);
  state.synced_offset = ToU64(numbers[kStateSyncedOffset]);
  state.running_time = ToSigned(numbers[kStateRunningTime]);
  const double min_time = numbers[kStateMinTime];
  state.min_time = min_time == std::numeric_limits<double>::infinity() ? kNoTime : ToU64(min_time);
  state.max_time = ToSigned(numbers[kStateMaxTime]);
  state.chunk_bytes = ToU64(numbers[kStateChunkBytes]);
  state.chunks = ToU64(numbers[kStateChunks]);
  state.chunk_payload = ToU64(numbers[kStateChunkPayload]);
  state.chunk_records = ToU64(numbers[kStateChunkRecords]);
  state.last_indexed = ToSigned(numbers[kStateLastIndexed]);
  state.index_interval = ToU64(numbers[kStateIndexInterval]);
  state.base_offset = ToU64(numbers[kStateBaseOffset]);
  state.log_seed = ToU32(numbers[kStateLogSeed]);
  state.marked = numbers[kStateMarked] == 1;
  state.max_record_bytes = ToU64(numbers[kStateMaxRecordBytes]);
  state.sparse = numbers[kStateSparse] == 1;
  state.records = ToU64(numbers[kStateRecords]);
  return state;
}

void SegmentState::ToNumbers(double* numbers) const {
  std::fill_n(numbers, kStateLength, 0.0);
  numbers[kStateFd] = fd;
  numbers[kStateCommittedFd] = committed_fd;
  numbers[kStateSeed] = seed;
  numbers[kStatePosition] = static_cast<double>(position);
  numbers[kStateAllocated] = static_cast<double>(allocated);
  numbers[kStateSegmentBytes] = static_cast<double>(segment_bytes);
  numbers[kStateNextOffset] = static_cast<double>(next_offset);
  numbers[kStateChain] = chain;
  numbers[kStateEpoch] = epoch;
  numbers[kStateSyncedOffset] = static_cast<double>(synced_offset);
  numbers[kStateRunningTime] = static_cast<double>(running_time);
  numbers[kStateMinTime] =
      min_time == kNoTime ? std::numeric_limits<double>::infinity() : static_cast<double>(min_time);
  numbers[kStateMaxTime] = static_cast<double>(max_time);
  numbers[kStateChunkBytes] = static_cast<double>(chunk_bytes);
  numbers[kStateChunks] = static_cast<double>(chunks);
  numbers[kStateChunkPayload] = static_cast<double>(chunk_payload);
  numbers[kStateChunkRecords] = static_cast<double>(chunk_records);
  numbers[kStateLastIndexed] = static_cast<double>(last_indexed);
  numbers[kStateIndexInterval] = static_cast<double>(index_interval);
  numbers[kStateBaseOffset] = static_cast<double>(base_offset);
  numbers[kStateLogSeed] = log_seed;
  numbers[kStateMarked] = marked ? 1 : 0;
  numbers[kStateMaxRecordBytes] = static_cast<double>(max_record_bytes);
  numbers[kStateSparse] = sparse ? 1 : 0;
  numbers[kStateRecords] = static_cast<double>(records);
}

int64_t SegmentState::Room() const {
  return static_cast<int64_t>(segment_bytes) - static_cast<int64_t>(position + kCommitFrameBytes + kFooterFrameBytes);
}

}  // namespace sealog
