#include "find_group.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "window_check.h"

namespace sealog {

namespace {

constexpr size_t kSearchBytes = 256 * 1024;
constexpr size_t kVerifyBytes = 64 * 1024;

bool LooksLikeCommit(const uint8_t* frame) {
  return LoadU32(frame + kFrameBodyLengthAt) == kCommitBodyBytes && frame[kFrameTypeAt] == kFrameCommit &&
         frame[kFrameFlagsAt] == 0;
}

struct Candidate {
  uint64_t position;
  FrameHeader header;
  CommitBody commit;

  uint64_t first_offset() const { return header.offset - commit.record_count; }

  // What can be told without looking at the group.
  bool Possible() const {
    if (header.offset > kOffsetLimit + 1 || !CommitIsSane(header, commit, position)) return false;
    if (commit.synced_offset > first_offset()) return false;
    return commit.record_count <= (position - commit.group_start) / kFrameHeaderBytes;
  }
};

// 1 when all frames from the group's start lead to the candidate, 0 when not, or -errno. Another commit frame on the
// way ends it, so groups that follow each other are looked at once each.
int VerifyGroup(FileWindow& window, const Candidate& candidate, const FrameRules& rules) {
  FrameOrder order(false);
  order.ExpectOffset(candidate.first_offset());
  GroupChain chain(candidate.commit.prev_chain);
  uint64_t position = candidate.commit.group_start;
  CheckedFrame frame{};
  for (uint32_t i = 0; i < candidate.commit.record_count; i++) {
    const int verdict = CheckFrameAt(window, position, rules, &frame);
    if (verdict < 0) return verdict;
    if (verdict != kFrameGood || !frame.header.IsRecord() || !order.AcceptRecord(frame.header, frame.body)) return 0;
    chain.Add(frame.header.crc);
    position += frame.header.Bytes();
    if (position > candidate.position) return 0;
  }
  const bool mark = candidate.commit.record_count == 0;
  if (position != candidate.position || !order.AcceptEnd(candidate.header)) return 0;
  return mark || chain.value() == candidate.commit.chain ? 1 : 0;
}

void Report(const Candidate& candidate, double* numbers) {
  numbers[kFindGroupStart] = static_cast<double>(candidate.commit.group_start);
  numbers[kFindCommitPosition] = static_cast<double>(candidate.position);
  numbers[kFindFirstOffset] = static_cast<double>(candidate.first_offset());
  numbers[kFindRecords] = candidate.commit.record_count;
  numbers[kFindSyncedOffset] = static_cast<double>(candidate.commit.synced_offset);
  numbers[kFindEpoch] = candidate.commit.epoch;
  numbers[kFindPrevChain] = candidate.commit.prev_chain;
  numbers[kFindChain] = candidate.commit.chain;
  numbers[kFindEndOffset] = static_cast<double>(candidate.header.offset);
}

constexpr uint64_t AlignUp(uint64_t position) { return (position + kFrameAlignment - 1) & ~(kFrameAlignment - 1); }

}  // namespace

int FindGroup(Io& io, int fd, uint64_t from, uint64_t end, double* numbers) {
  const std::unique_ptr<uint8_t[]> buffer(new (std::nothrow) uint8_t[kSearchBytes + kVerifyBytes]);
  if (buffer == nullptr) return -ENOMEM;
  uint8_t* const bytes = buffer.get();
  FileWindow window(io, fd, end, bytes + kSearchBytes, kVerifyBytes);
  const FrameRules rules =
      MakeFrameRules(static_cast<uint32_t>(ToUnsigned(numbers[kFindSeed])), false, ToUnsigned(numbers[kFindMaxRecord]));
  uint64_t position = AlignUp(from);
  while (position < end && end - position >= kCommitFrameBytes) {
    // Space that was reserved and never written is a hole, often most of the file. No commit frame starts in one: its
    // first eight bytes are never all zero.
    const int64_t data = io.SeekData(fd, position);
    if (data < 0) return static_cast<int>(data);
    position = std::max(position, static_cast<uint64_t>(data) & ~(kFrameAlignment - 1));
    if (position >= end || end - position < kCommitFrameBytes) return 0;
    const int64_t got =
        ReadFull(io, fd, bytes, static_cast<size_t>(std::min<uint64_t>(kSearchBytes, end - position)), position);
    if (got < 0) return static_cast<int>(got);
    if (static_cast<uint64_t>(got) < kCommitFrameBytes) return 0;
    const size_t last = static_cast<size_t>(got) - kCommitFrameBytes;
    size_t at = 0;
    for (; at <= last; at += kFrameAlignment) {
      const uint8_t* frame = bytes + at;
      if (!LooksLikeCommit(frame)) continue;
      const Candidate candidate{position + at, LoadFrameHeader(frame), LoadCommitBody(frame)};
      if (!candidate.Possible() || FrameCrc(frame, kCommitBodyBytes, rules.seed) != candidate.header.crc) continue;
      const int found = VerifyGroup(window, candidate, rules);
      if (found < 0) return found;
      if (found == 1) {
        Report(candidate, numbers);
        return 1;
      }
    }
    position += at;
  }
  return 0;
}

}  // namespace sealog
