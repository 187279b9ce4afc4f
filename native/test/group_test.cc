// Cutting groups out of a queue, reserving space for them and writing them.
#include "../core/group.h"

#include <errno.h>

#include <algorithm>

#include "../core/group_writer.h"
#include "committer_fixture.h"

namespace sealog::test {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;

// A queue filled by hand, in blocks of one or more frames.
struct Frames {
  BlockPool pool;
  FrameQueue queue{pool};
  uint64_t next_offset = 0;

  void Add(uint64_t body_length, bool continues = false, uint64_t timestamp = 7) {
    const uint64_t length = FrameBytes(body_length);
    Block* block = pool.Take(length);
    uint8_t* frame = block->Bytes();
    std::memset(frame, 0, length);
    StoreU32(frame + kFrameBodyLengthAt, static_cast<uint32_t>(body_length));
    StoreU64(frame + kFrameOffsetAt, next_offset++);
    StoreU48(frame + kFrameTimestampAt, timestamp);
    frame[kFrameTypeAt] = kFrameRecord;
    frame[kFrameFlagsAt] = continues ? kFlagBatchContinues : 0;
    block->size = length;
    queue.Append(block, continues ? 0 : length);
  }
  uint64_t Measure(const SegmentState& state) { return MeasureGroup(queue.Head(), queue.ReadyBytes(), state); }
};

void TestMeasureTakesWholeBatches() {
  Frames frames;
  frames.Add(100);
  frames.Add(100, true);
  frames.Add(100);
  frames.Add(100, true);  // its batch is not complete
  SegmentState state = FreshSegment(-1);
  const uint64_t frame = FrameBytes(100);
  CHECK_EQ(frames.queue.ReadyBytes(), 3 * frame);
  CHECK_EQ(frames.Measure(state), 3 * frame);
  CHECK_EQ(FirstBatchBytes(frames.queue.Head(), frames.queue.ReadyBytes()), frame);

  // Room for two frames: the batch of two does not fit any more.
  state.records = 1;
  state.segment_bytes = state.position + kCommitFrameBytes + kFooterFrameBytes + 2 * frame;
  CHECK_EQ(frames.Measure(state), frame);
  state.segment_bytes += frame - 1;
  CHECK_EQ(frames.Measure(state), frame);
  state.segment_bytes += 1;
  CHECK_EQ(frames.Measure(state), 3 * frame);

  // No room for the first batch: the next segment, unless this one is empty.
  state.segment_bytes = state.position + kCommitFrameBytes + kFooterFrameBytes + frame - 1;
  CHECK_EQ(frames.Measure(state), uint64_t{0});
  state.segment_bytes = 10;
  CHECK_EQ(frames.Measure(state), uint64_t{0});
  state.records = 0;
  CHECK_EQ(frames.Measure(state), frame);
}

void TestMeasureLimitsGroups() {
  Frames frames;
  for (int i = 0; i < 5; i++) frames.Add(3 * kMiB);
  SegmentState state = FreshSegment(-1, 0, 100 * kMiB);
  CHECK_EQ(frames.Measure(state), 2 * FrameBytes(3 * kMiB));

  // More than 8 MiB in one batch goes alone, where it fits.
  Frames large;
  large.Add(9 * kMiB);
  large.Add(10);
  CHECK_EQ(large.Measure(state), FrameBytes(9 * kMiB));
  state.records = 1;
  CHECK_EQ(large.Measure(state), FrameBytes(9 * kMiB));
  state.segment_bytes = 9 * kMiB;
  CHECK_EQ(large.Measure(state), uint64_t{0});
}

void TestQueueRemovesPartsOfBlocks() {
  BlockPool pool;
  FrameQueue queue(pool);
  Block* first = pool.Take(64);
  first->size = 64;
  Block* second = pool.Take(48);
  second->size = 48;
  queue.Append(first, 64);
  queue.Append(second, 24);
  CHECK_EQ(queue.Bytes(), uint64_t{112});
  CHECK_EQ(queue.ReadyBytes(), uint64_t{88});
  CHECK(queue.Remove(32) == nullptr);
  Block* used = queue.Remove(56);
  CHECK(used == first && used->next == nullptr);
  pool.Give(used);
  CHECK_EQ(queue.ReadyBytes(), uint64_t{0});
  CHECK_EQ(queue.Bytes(), uint64_t{24});
  used = queue.RemoveAll();
  CHECK(used == second);
  pool.Give(used);
  CHECK_EQ(queue.Bytes(), uint64_t{0});
}

void TestPoolKeepsBlocks() {
  BlockPool pool;
  Block* block = pool.Take(100 * 1024);
  CHECK_EQ(block->allocated, size_t{128 * 1024});
  pool.Give(block);
  CHECK(pool.Take(70 * 1024) == block);
  pool.Give(block);
  Block* huge = pool.Take(kMiB);
  CHECK_EQ(huge->allocated, sizeof(Block) + kMiB);
  pool.Give(huge);
}

void TestGroupsReadBack() {
  TempDirectory directory;
  PosixIo io;
  SegmentState state = FreshSegment(directory.OpenFile("segment"));
  state.index_interval = 512;
  state.chunk_bytes = 1000;
  const SegmentState start = state;
  std::vector<IndexEntry> entries;
  Frames frames;
  for (int round = 0; round < 3; round++) {
    for (uint64_t i = 0; i < 300; i++) frames.Add(i % 50, i % 3 != 2, 1000 + i * 7 % 90);
    Group group;
    const uint64_t bytes = frames.Measure(state);
    const uint64_t position = state.position;
    CutGroup(frames.queue.Head(), bytes, &state, &group);
    CHECK_EQ(group.Bytes(), state.position - position);
    CHECK_EQ(WriteParts(io, state.fd, position, &group.parts), 0);
    frames.pool.Give(frames.queue.Remove(bytes));
    entries.insert(entries.end(), group.entries.begin(), group.entries.end());
    state.synced_offset = state.next_offset;
  }
  Group mark;
  const uint64_t position = state.position;
  CutMark(&state, &mark);
  CHECK_EQ(WriteParts(io, state.fd, position, &mark.parts), 0);

  const Walked walked = WalkSegment(start, state.position);
  CHECK_EQ(walked.stop(), static_cast<double>(kStopEnd));
  CHECK_EQ(walked.marks(), 1.0);
  double expected[kStateLength];
  state.ToNumbers(expected);
  for (size_t i = 0; i < kStateLength; i++) {
    if (i != kStateAllocated && i != kStateSyncedOffset) CHECK_EQ(walked.numbers[i], expected[i]);
  }
  CHECK_EQ(walked.entries.size(), entries.size() * kEntryWidth);
  for (size_t i = 0; i < entries.size(); i++) {
    CHECK_EQ(walked.entries[i * kEntryWidth], static_cast<double>(entries[i].offset));
    CHECK_EQ(walked.entries[i * kEntryWidth + 1], static_cast<double>(entries[i].position));
    CHECK_EQ(walked.entries[i * kEntryWidth + 2], static_cast<double>(entries[i].batch_first));
    CHECK_EQ(walked.entries[i * kEntryWidth + 3], static_cast<double>(entries[i].running_time));
  }
}

void TestWritesInPieces() {
  TempDirectory directory;
  PosixIo posix;
  FaultingIo io(posix);
  const int fd = directory.OpenFile("file");
  // More parts than a call takes, and more bytes; some calls stop short in the middle of a part.
  std::vector<uint8_t> bytes(3 * kMiB);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 31 >> 3);
  std::vector<iovec> parts;
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = std::min(at < kMiB ? size_t{100} : size_t{700000}, bytes.size() - at);
    parts.push_back({bytes.data() + at, length});
    at += length;
  }
  io.Fault(IoKind::kWrite, 2, 0, false, 1);
  io.Fault(IoKind::kWrite, 3, 0, false, 12345);
  CHECK_EQ(WriteParts(io, fd, 17, &parts), 0);
  std::vector<uint8_t> read(bytes.size() + 17);
  CHECK_EQ(ReadFull(posix, fd, read.data(), read.size(), 0), static_cast<int64_t>(read.size()));
  CHECK(std::memcmp(read.data() + 17, bytes.data(), bytes.size()) == 0);

  parts.assign(1, {bytes.data(), 10});
  io.Fault(IoKind::kWrite, 1, EIO, false, 0);
  CHECK_EQ(WriteParts(io, fd, 0, &parts), -EIO);
}

void TestReservesInSteps() {
  TempDirectory directory;
  PosixIo posix;
  FaultingIo io(posix);
  SegmentState state = FreshSegment(directory.OpenFile("file"), 0, kMiB);
  bool can_reserve = true;
  CHECK_EQ(ReserveSpace(io, 1000, &state, &can_reserve), 0);
  CHECK_EQ(state.allocated, uint64_t{68 * 1024});
  FileStat found;
  posix.Stat(state.fd, &found);
  CHECK_EQ(found.size, state.allocated);
  CHECK_EQ(ReserveSpace(io, 1000, &state, &can_reserve), 0);
  CHECK_EQ(io.Count(IoKind::kAllocate), uint64_t{1});
  // Doubling, and the segment's size as the limit of steps, not of need.
  CHECK_EQ(ReserveSpace(io, 70 * 1024, &state, &can_reserve), 0);
  CHECK_EQ(state.allocated, uint64_t{136 * 1024});
  CHECK_EQ(ReserveSpace(io, kMiB - 1000, &state, &can_reserve), 0);
  CHECK_EQ(state.allocated, kMiB);
  CHECK_EQ(ReserveSpace(io, 2 * kMiB, &state, &can_reserve), 0);
  CHECK_EQ(state.allocated, 2 * kMiB + 4096);

  // Too little space for the step, enough for the need; then for neither.
  const uint64_t before = state.allocated;
  io.Fault(IoKind::kAllocate, 1, ENOSPC, false, 0);
  CHECK_EQ(ReserveSpace(io, before - state.position + 1, &state, &can_reserve), 0);
  CHECK_EQ(state.allocated, before + 1);
  io.Fault(IoKind::kAllocate, 1, EDQUOT, true, 0);
  CHECK_EQ(ReserveSpace(io, before, &state, &can_reserve), -EDQUOT);
  CHECK_EQ(state.allocated, before + 1);
  io.ClearFaults();
  io.Fault(IoKind::kAllocate, 1, EOPNOTSUPP, true, 0);
  CHECK_EQ(ReserveSpace(io, before, &state, &can_reserve), 0);
  CHECK(!can_reserve);
  const uint64_t calls = io.Count(IoKind::kAllocate);
  CHECK_EQ(ReserveSpace(io, 2 * before, &state, &can_reserve), 0);
  CHECK_EQ(io.Count(IoKind::kAllocate), calls);
}

void TestZerosAhead() {
  const auto added = [](uint64_t position, uint64_t allocated, uint64_t bytes, uint64_t wanted, uint64_t zeroed) {
    SegmentState state;
    state.position = position;
    state.allocated = allocated;
    std::vector<iovec> parts;
    const uint64_t end = AddZeros(state, bytes, wanted, zeroed, &parts);
    uint64_t length = 0;
    for (const iovec& part : parts) {
      length += part.iov_len;
      const auto* first = static_cast<const uint8_t*>(part.iov_base);
      CHECK(std::all_of(first, first + part.iov_len, [](uint8_t byte) { return byte == 0; }));
    }
    CHECK(length == 0 ? end <= std::max(zeroed, position) : end == position + length);
    return length;
  };
  // To the end of a page.
  CHECK_EQ(added(10'000, kMiB, 1000, 4000, 0), uint64_t{16 * 1024 - 10'000});
  CHECK_EQ(added(128 * 1024, kMiB, 1000, kMiB, 0), uint64_t{256 * 1024});
  // Within what is reserved; nothing where nothing is.
  CHECK_EQ(added(10'000, 12'000, 1000, 4000, 9'999), uint64_t{2000});
  CHECK_EQ(added(10'000, 10'000, 1000, 4000, 0), uint64_t{0});
  CHECK_EQ(added(10'000, 9'000, 1000, 4000, 0), uint64_t{0});
  // Not where zeros are already, nor for groups that would use them up at once.
  CHECK_EQ(added(10'000, kMiB, 1000, 4000, 10'000), uint64_t{0});
  CHECK_EQ(added(10'000, kMiB, 1000, 4000, 10'001), uint64_t{0});
  CHECK_EQ(added(10'000, kMiB, 1001, 4000, 0), uint64_t{0});
  CHECK_EQ(added(kMiB, 2 * kMiB, 64 * 1024 + 1, kMiB, 0), uint64_t{0});
}

void TestStateVector() {
  double numbers[kStateLength] = {};
  for (size_t i = 0; i < 25; i++) numbers[i] = static_cast<double>(i + 1);
  numbers[kStateMarked] = numbers[kStateSparse] = 1;
  numbers[kStateMinTime] = INFINITY;
  numbers[kStateRunningTime] = numbers[kStateMaxTime] = numbers[kStateLastIndexed] = -1;
  double back[kStateLength];
  SegmentState::FromNumbers(numbers).ToNumbers(back);
  for (size_t i = 0; i < kStateLength; i++) CHECK_EQ(back[i], numbers[i]);
  CHECK_EQ(ToU64(-5), uint64_t{0});
  CHECK_EQ(ToU64(NAN), uint64_t{0});
  CHECK_EQ(ToU64(1e300), uint64_t{0});
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestMeasureTakesWholeBatches();
  TestMeasureLimitsGroups();
  TestQueueRemovesPartsOfBlocks();
  TestPoolKeepsBlocks();
  TestGroupsReadBack();
  TestWritesInPieces();
  TestReservesInSteps();
  TestZerosAhead();
  TestStateVector();
  return Finish();
}
