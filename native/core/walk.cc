#include "walk.h"

#include <cerrno>

#include "window_check.h"

namespace sealog {

namespace {

// The part of the state vector that records change. Times stay doubles: they have Infinity and -1 for none.
struct Progress {
  uint64_t position;
  uint64_t chunks;
  uint64_t chunk_payload;
  uint64_t chunk_records;
  uint64_t records;
  double running_time;
  double min_time;
  double max_time;
  double last_indexed;
};

Progress LoadProgress(const double* numbers) {
  return {ToUnsigned(numbers[kStatePosition]),
          ToUnsigned(numbers[kStateChunks]),
          ToUnsigned(numbers[kStateChunkPayload]),
          ToUnsigned(numbers[kStateChunkRecords]),
          ToUnsigned(numbers[kStateRecords]),
          numbers[kStateRunningTime],
          numbers[kStateMinTime],
          numbers[kStateMaxTime],
          numbers[kStateLastIndexed]};
}

void StoreProgress(const Progress& progress, double* numbers) {
  numbers[kStatePosition] = static_cast<double>(progress.position);
  numbers[kStateChunks] = static_cast<double>(progress.chunks);
  numbers[kStateChunkPayload] = static_cast<double>(progress.chunk_payload);
  numbers[kStateChunkRecords] = static_cast<double>(progress.chunk_records);
  numbers[kStateRecords] = static_cast<double>(progress.records);
  numbers[kStateRunningTime] = progress.running_time;
  numbers[kStateMinTime] = progress.min_time;
  numbers[kStateMaxTime] = progress.max_time;
  numbers[kStateLastIndexed] = progress.last_indexed;
}

class Walk {
 public:
  Walk(double* numbers, double* entries, size_t entry_room)
      : numbers_(numbers),
        entries_(entries),
        entry_room_(entry_room),
        chunk_bytes_(ToUnsigned(numbers[kStateChunkBytes])),
        index_interval_(numbers[kStateIndexInterval]),
        order_(numbers[kStateSparse] != 0),
        next_(LoadProgress(numbers)),
        group_start_(next_.position),
        chain_(static_cast<uint32_t>(ToUnsigned(numbers[kStateChain]))) {
    order_.ExpectOffset(ToUnsigned(numbers[kStateNextOffset]));
    numbers[kWalkGroups] = 0;
    numbers[kWalkMarks] = 0;
    numbers[kWalkLastSynced] = -1;
    numbers[kWalkLastCommit] = -1;
    numbers[kWalkLastEpoch] = -1;
    numbers[kWalkEntries] = 0;
    numbers[kWalkNewer] = 0;
    numbers[kWalkMaxSynced] = -1;
  }

  uint64_t position() const { return next_.position; }

  // Takes in the good frame at position() or says why the walk stops in front of it.
  int Take(const CheckedFrame& frame) {
    if (frame.header.IsRecord()) return TakeRecord(frame);
    if (frame.header.type == kFrameCommit) return TakeCommit(frame);
    return group_records_ == 0 && order_.AcceptEnd(frame.header) ? kStopFooter : kStopOrder;
  }

 private:
  int TakeRecord(const CheckedFrame& frame) {
    const FrameHeader& header = frame.header;
    if (!order_.AcceptRecord(header, frame.body)) return kStopOrder;
    const auto position = static_cast<double>(next_.position);
    if (next_.last_indexed < 0 || position - next_.last_indexed >= index_interval_) {
      if (entries_ != nullptr && !AddEntry(header.offset, position)) return kStopTableFull;
      next_.last_indexed = position;
    }
    const auto time = static_cast<double>(header.timestamp);
    if (time > next_.running_time) next_.running_time = time;
    if (time < next_.min_time) next_.min_time = time;
    if (time > next_.max_time) next_.max_time = time;
    if (chunk_bytes_ > 0) CountForChunk(header, frame.body);
    next_.records++;
    next_.position += header.Bytes();
    group_records_++;
    chain_.Add(header.crc);
    return kFrameGood;
  }

  bool AddEntry(uint64_t offset, double position) {
    if (entry_count_ == entry_room_) return false;
    double* entry = entries_ + entry_count_ * kEntryWidth;
    entry[0] = static_cast<double>(offset);
    entry[1] = position;
    entry[2] = static_cast<double>(order_.batch_first());
    entry[3] = next_.running_time;
    entry_count_++;
    return true;
  }

  void CountForChunk(const FrameHeader& header, const RecordBody& body) {
    next_.chunk_payload += body.value_length;
    next_.chunk_records++;
    if (header.Continues() || next_.chunk_payload < chunk_bytes_) return;
    next_.chunks++;
    next_.chunk_payload = 0;
    next_.chunk_records = 0;
  }

  int TakeCommit(const CheckedFrame& frame) {
    const CommitBody& commit = frame.commit;
    const auto prev_chain = static_cast<uint32_t>(ToUnsigned(numbers_[kStateChain]));
    const bool mark = commit.record_count == 0;
    if (!order_.AcceptEnd(frame.header) || !CommitIsSane(frame.header, commit, next_.position)) return kStopOrder;
    if (commit.record_count != group_records_ || commit.group_start != group_start_) return kStopOrder;
    if (commit.prev_chain != prev_chain || (!mark && commit.chain != chain_.value())) return kStopOrder;
    if (commit.epoch < numbers_[kStateEpoch]) return kStopOrder;

    const auto synced = static_cast<double>(commit.synced_offset);
    numbers_[mark ? kWalkMarks : kWalkGroups]++;
    numbers_[kWalkLastSynced] = synced;
    numbers_[kWalkLastCommit] = static_cast<double>(next_.position);
    numbers_[kWalkLastEpoch] = commit.epoch;
    numbers_[kWalkEntries] = static_cast<double>(entry_count_);
    if (synced > numbers_[kWalkMaxSynced]) numbers_[kWalkMaxSynced] = synced;

    next_.position += frame.header.Bytes();
    StoreProgress(next_, numbers_);
    numbers_[kStateNextOffset] = static_cast<double>(frame.header.offset);
    numbers_[kStateChain] = commit.chain;
    numbers_[kStateEpoch] = commit.epoch;
    numbers_[kStateMarked] = mark ? 1 : 0;

    group_start_ = next_.position;
    group_records_ = 0;
    chain_ = GroupChain(commit.chain);
    return kFrameGood;
  }

  double* const numbers_;
  double* const entries_;
  const size_t entry_room_;
  const uint64_t chunk_bytes_;
  const double index_interval_;
  FrameOrder order_;
  Progress next_;  // the group under way included; what counts is in numbers_
  uint64_t group_start_;
  uint64_t group_records_ = 0;
  size_t entry_count_ = 0;
  GroupChain chain_;
};

}  // namespace

int WalkGroups(Io& io, int fd, uint64_t end, uint8_t* work, size_t work_length, double* numbers, double* entries,
               size_t entries_length) {
  if (work_length < kMinWindowBytes) return -EINVAL;
  FileWindow window(io, fd, end, work, work_length);
  const FrameRules rules = MakeFrameRules(static_cast<uint32_t>(ToUnsigned(numbers[kStateSeed])),
                                          numbers[kStateSparse] != 0, ToUnsigned(numbers[kStateMaxRecordBytes]));
  Walk walk(numbers, entries, entries_length / kEntryWidth);
  CheckedFrame frame{};
  int verdict;
  do {
    verdict = CheckFrameAt(window, walk.position(), rules, &frame);
    if (verdict == kFrameGood) verdict = walk.Take(frame);
  } while (verdict == kFrameGood);
  if (verdict < 0) return verdict;
  if (verdict == kStopNewer) numbers[kWalkNewer] = frame.header.type | frame.header.flags << 8;
  numbers[kWalkStop] = verdict;
  numbers[kWalkStopPosition] = static_cast<double>(walk.position());
  return 0;
}

}  // namespace sealog
