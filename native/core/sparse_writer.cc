#include "sparse_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "seam.h"

namespace sealog {

namespace {

// A group ends with the batch that brings its frames to this.
constexpr uint64_t kGroupBytes = 1024 * 1024;
constexpr size_t kIndexBytes = 4;

}  // namespace

SparseWriter::SparseWriter(const double* numbers, BufferedWriter* file)
    : file_(file),
      seed_(static_cast<uint32_t>(ToUnsigned(numbers[kCompactOutSeed]))),
      epoch_(static_cast<uint32_t>(ToUnsigned(numbers[kCompactOutEpoch]))),
      position_(ToUnsigned(numbers[kCompactOutPosition])),
      group_start_(position_),
      chain_before_(static_cast<uint32_t>(ToUnsigned(numbers[kCompactOutChain]))),
      chain_(chain_before_),
      running_time_(numbers[kCompactRunningTime] >= 0 ? static_cast<int64_t>(ToUnsigned(numbers[kCompactRunningTime]))
                                                      : -1),
      first_offset_(numbers[kCompactFirstOffset]),
      last_offset_(numbers[kCompactLastOffset]),
      min_time_(numbers[kCompactMinTime]),
      max_time_(numbers[kCompactMaxTime]) {}

int SparseWriter::Add(const uint8_t* frame, const FrameHeader& header, const RecordBody& body, int64_t batch_index) {
  if (last_ != nullptr) SealLast(true);
  const bool indexed = batch_index >= 0;
  // An index that it had is replaced.
  const size_t dropped = body.has_index ? kIndexBytes : 0;
  const size_t added = indexed ? kIndexBytes : 0;
  const size_t copied = header.body_length - dropped;
  const auto body_length = static_cast<uint32_t>(added + copied);
  const uint64_t frame_bytes = FrameBytes(body_length);
  uint8_t* to = memory_.Take(static_cast<size_t>(frame_bytes));
  if (to == nullptr) return -ENOMEM;
  memset(to + frame_bytes - kFrameAlignment, 0, kFrameAlignment);
  memcpy(to, frame, kFrameHeaderBytes);
  StoreU32(to + kFrameBodyLengthAt, body_length);
  to[kFrameFlagsAt] = static_cast<uint8_t>((header.flags & kFlagKey) | (indexed ? kFlagBatchIndex : 0));
  if (indexed) StoreU32(to + kFrameBodyAt, static_cast<uint32_t>(batch_index));
  memcpy(to + kFrameBodyAt + added, frame + kFrameBodyAt + dropped, copied);
  last_ = to;
  Count(header, frame_bytes);
  return 0;
}

void SparseWriter::EndBatch() {
  if (last_ != nullptr) SealLast(false);
  if (position_ - group_start_ >= kGroupBytes) Commit();
}

int SparseWriter::Finish() {
  if (group_records_ > 0) Commit();
  return file_ == nullptr ? 0 : file_->Flush();
}

void SparseWriter::Report(double* numbers) const {
  numbers[kCompactOutPosition] = static_cast<double>(position_);
  numbers[kCompactOutChain] = chain_before_;
  numbers[kCompactRunningTime] = static_cast<double>(running_time_);
  numbers[kCompactKeptRecords] += static_cast<double>(records_);
  numbers[kCompactKeptBytes] += static_cast<double>(record_bytes_);
  numbers[kCompactKeptTombstones] += static_cast<double>(tombstones_);
  numbers[kCompactFirstOffset] = first_offset_;
  numbers[kCompactLastOffset] = last_offset_;
  numbers[kCompactMinTime] = min_time_;
  numbers[kCompactMaxTime] = max_time_;
}

void SparseWriter::Count(const FrameHeader& header, uint64_t frame_bytes) {
  const auto time = static_cast<double>(header.timestamp);
  group_records_++;
  records_++;
  record_bytes_ += frame_bytes;
  if (header.type == kFrameTombstone) tombstones_++;
  last_offset_ = static_cast<double>(header.offset);
  if (first_offset_ < 0) first_offset_ = last_offset_;
  running_time_ = std::max(running_time_, static_cast<int64_t>(header.timestamp));
  min_time_ = std::min(min_time_, time);
  max_time_ = std::max(max_time_, time);
}

void SparseWriter::SealLast(bool continues) {
  uint8_t* frame = last_;
  if (continues) frame[kFrameFlagsAt] |= kFlagBatchContinues;
  const uint32_t body_length = LoadU32(frame + kFrameBodyLengthAt);
  const uint32_t crc = FrameCrc(frame, body_length, seed_);
  StoreU32(frame + kFrameCrcAt, crc);
  chain_.Add(crc);
  Append(frame, static_cast<size_t>(FrameBytes(body_length)));
  last_ = nullptr;
}

void SparseWriter::Commit() {
  uint8_t frame[kCommitFrameBytes];
  StoreU32(frame + kFrameBodyLengthAt, kCommitBodyBytes);
  StoreU64(frame + kFrameOffsetAt, static_cast<uint64_t>(last_offset_) + 1);
  StoreU48(frame + kFrameTimestampAt, running_time_ >= 0 ? static_cast<uint64_t>(running_time_) : 0);
  frame[kFrameTypeAt] = kFrameCommit;
  frame[kFrameFlagsAt] = 0;
  StoreU64(frame + kCommitGroupStartAt, group_start_);
  // The file is synced as a whole before it has a name.
  StoreU64(frame + kCommitSyncedOffsetAt, 0);
  StoreU32(frame + kCommitRecordCountAt, group_records_);
  StoreU32(frame + kCommitEpochAt, epoch_);
  StoreU32(frame + kCommitPrevChainAt, chain_before_);
  StoreU32(frame + kCommitChainAt, chain_.value());
  StoreU32(frame + kFrameCrcAt, FrameCrc(frame, kCommitBodyBytes, seed_));
  Append(frame, sizeof frame);
  group_start_ = position_;
  group_records_ = 0;
  chain_before_ = chain_.value();
  chain_ = GroupChain(chain_before_);
}

void SparseWriter::Append(const uint8_t* bytes, size_t length) {
  if (file_ != nullptr) file_->Append(bytes, length);
  position_ += length;
}

}  // namespace sealog
