#include "../core/find_group.h"

#include "../core/walk.h"
#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

using namespace sealog;
using namespace sealog::test;

namespace {

struct Find {
  std::vector<double> numbers = std::vector<double>(kFindLength, 0);
  int status = 0;

  Find(const SegmentBuilder& segment, uint64_t from) {
    MemoryIo io(segment.bytes);
    numbers[kFindSeed] = segment.seed;
    numbers[kFindMaxRecord] = 1 << 24;
    status = FindGroup(io, 3, from, segment.bytes.size(), numbers.data());
  }
  uint64_t position() const { return static_cast<uint64_t>(numbers[kFindCommitPosition]); }
};

void FindsTheNextGroup() {
  const SegmentBuilder segment = SmallSegment();
  const uint64_t last = segment.commits.back().first - 56;
  for (uint64_t from = 0; from <= segment.bytes.size(); from++) {
    const Find find(segment, from);
    if (from > last) {
      CHECK_EQ(find.status, 0);
      continue;
    }
    CHECK_EQ(find.status, 1);
    size_t next = 0;
    while (segment.commits[next].first - 56 < from) next++;
    CHECK_EQ(find.position(), segment.commits[next].first - 56);
    CHECK_EQ(find.numbers[kFindEndOffset], static_cast<double>(segment.commits[next].second));
  }
  const Find find(segment, segment.commits[0].first);
  CHECK_EQ(find.numbers[kFindGroupStart], static_cast<double>(segment.commits[0].first));
  CHECK_EQ(find.numbers[kFindFirstOffset], 102.0);
  CHECK_EQ(find.numbers[kFindRecords], 4.0);
  CHECK_EQ(find.numbers[kFindSyncedOffset], 102.0);
  CHECK_EQ(find.numbers[kFindEpoch], 1.0);
  CHECK_EQ(find.numbers[kFindEndOffset], 106.0);
  const Find mark(segment, segment.commits[1].first);
  CHECK_EQ(mark.numbers[kFindRecords], 0.0);
  CHECK_EQ(mark.numbers[kFindGroupStart], mark.numbers[kFindCommitPosition]);
  CHECK_EQ(mark.numbers[kFindChain], mark.numbers[kFindPrevChain]);
}

void SkipsGroupsThatDoNotVerify() {
  const SegmentBuilder segment = SmallSegment();
  for (uint64_t at = segment.commits[0].first; at < segment.commits[1].first; at++) {
    SegmentBuilder damaged = segment;
    damaged.bytes[at] ^= 0x10;
    const Find find(damaged, segment.commits[0].first);
    CHECK_EQ(find.status, 1);
    CHECK_EQ(find.position(), segment.commits[2].first - 56);
  }
  SegmentBuilder synced = SmallSegment();
  synced.synced_offset = 109;  // more than the first offset of the group
  synced.Record("next");
  synced.Commit();
  CHECK_EQ(Find(synced, segment.bytes.size()).status, 0);
  synced.synced_offset = 109;
  synced.Record("and next");
  synced.Commit();
  CHECK_EQ(Find(synced, segment.bytes.size()).position(), synced.commits.back().first - 56);
}

// A damaged mark costs nothing: the walk stops in front of it, and the group behind it starts where the walk stands.
void DamagedMarkIsBridged() {
  const SegmentBuilder segment = SmallSegment();
  for (uint64_t at = segment.commits[1].first; at < segment.commits[2].first; at++) {
    MemoryIo io(segment.bytes);
    io.bytes[at] ^= 0x81;
    std::vector<double> state = segment.State();
    std::vector<uint8_t> work(kMinWorkBytes);
    CHECK_EQ(WalkGroups(io, 3, io.bytes.size(), work.data(), work.size(), state.data(), nullptr, 0), 0);
    CHECK_EQ(state[kStatePosition], static_cast<double>(segment.commits[1].first));
    SegmentBuilder damaged = segment;
    damaged.bytes = io.bytes;
    const Find find(damaged, static_cast<uint64_t>(state[kWalkStopPosition]));
    CHECK_EQ(find.status, 1);
    CHECK_EQ(find.numbers[kFindFirstOffset], state[kStateNextOffset]);
    CHECK_EQ(find.numbers[kFindPrevChain], state[kStateChain]);
    CHECK_EQ(find.numbers[kFindGroupStart], static_cast<double>(segment.commits[2].first));
  }
}

// A payload that holds ready frames, as a nested log or an attacker would write them.
void PayloadsAreNotGroups() {
  SegmentBuilder segment;
  SegmentBuilder nested(0, 42);
  nested.Record("I am not here");
  nested.Commit();
  segment.Record(std::string(nested.bytes.begin() + 128, nested.bytes.end()));
  segment.Record(std::string(nested.bytes.begin(), nested.bytes.end()));
  const Find find(segment, 128);
  CHECK_EQ(find.status, 0);
}

void FramesOnTheWayMustBeDenseAndWhole() {
  SegmentBuilder segment;
  segment.Record("0");
  segment.Record("1", {.continues = true});
  segment.Commit();
  CHECK_EQ(Find(segment, 128).status, 0);  // no group ends inside a batch
  SegmentBuilder gap;
  gap.Record("0");
  gap.next_offset = 2;
  gap.Record("2");
  gap.Commit();
  CHECK_EQ(Find(gap, 128).status, 0);
}

// A commit frame with a good CRC that is not that of the frames in front of it.
void ForeignCommitFrames() {
  SegmentBuilder base;
  base.Record("in front");
  const uint64_t start = base.bytes.size();
  base.Record("a");
  base.Record("b");
  SegmentBuilder good = base;
  const uint32_t crcs[] = {77, LoadU32(base.bytes.data() + start), LoadU32(base.bytes.data() + start + 32)};
  const uint32_t chain = Crc32cExtend(0, crcs, sizeof crcs);
  good.CommitFrame(start, 1, 2, 1, 77, chain);
  CHECK_EQ(Find(good, 128).status, 1);
  const struct {
    uint64_t group_start;
    uint64_t synced;
    uint32_t count;
    uint32_t prev_chain;
    uint32_t chain;
  } wrong[] = {
      {start, 1, 2, 77, chain ^ 1}, {start, 1, 2, 78, chain},      {start, 1, 1, 77, chain}, {start, 1, 3, 77, chain},
      {start, 2, 2, 77, chain},     {start - 32, 1, 2, 77, chain}, {start, 1, 0, 77, 77},    {0, 1, 2, 77, chain},
      {start + 1, 1, 2, 77, chain}, {start + 64, 1, 2, 77, chain},
  };
  for (const auto& w : wrong) {
    SegmentBuilder segment = base;
    segment.CommitFrame(w.group_start, w.synced, w.count, 1, w.prev_chain, w.chain);
    CHECK_EQ(Find(segment, 128).status, 0);
  }
}

// Groups behind a hole of any size, and larger than the search buffers.
void FarAway() {
  SegmentBuilder segment;
  segment.Zeros(600000);
  const uint64_t start = segment.bytes.size();
  SegmentBuilder tail = segment;
  for (int i = 0; i < 5; i++) tail.Record(std::string(static_cast<size_t>(90000 + i), 'r'));
  const uint64_t commit = tail.bytes.size();
  std::vector<uint32_t> crcs = {0};
  for (const BuiltRecord& record : tail.records) crcs.push_back(LoadU32(tail.bytes.data() + record.position));
  tail.CommitFrame(start, 0, 5, 1, 0, Crc32cExtend(0, crcs.data(), crcs.size() * 4));
  const Find find(tail, 128);
  CHECK_EQ(find.status, 1);
  CHECK_EQ(find.position(), commit);
  CHECK_EQ(find.numbers[kFindGroupStart], static_cast<double>(start));
}

void ReadErrorsAreReported() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  io.failing_read = 1;
  std::vector<double> numbers(kFindLength, 0);
  CHECK_EQ(FindGroup(io, 3, 128, segment.bytes.size(), numbers.data()), -EIO);
  io.failing_read = 3;
  numbers[kFindSeed] = segment.seed;
  numbers[kFindMaxRecord] = 1000;
  CHECK_EQ(FindGroup(io, 3, 128, segment.bytes.size(), numbers.data()), -EIO);
}

}  // namespace

int main() {
  FindsTheNextGroup();
  SkipsGroupsThatDoNotVerify();
  DamagedMarkIsBridged();
  PayloadsAreNotGroups();
  FramesOnTheWayMustBeDenseAndWhole();
  ForeignCommitFrames();
  FarAway();
  ReadErrorsAreReported();
  return Finish();
}
