// The tail cache alone: bounds, order, batches, look-ups; and as the committer feeds it.
#include "../core/tail_cache.h"

#include <errno.h>

#include <utility>

#include "committer_fixture.h"

namespace sealog::test {
namespace {

constexpr uint64_t kPlenty = 1 << 20;

// Frames of a log, made as the committer makes them.
class Frames {
 public:
  Frames() : queue_(pool_) {}

  // Batches of so many records, of `length` bytes each, as one group.
  void Feed(TailCache* cache, std::initializer_list<uint32_t> batches, size_t length, int64_t now_ms = 0) {
    const uint64_t first = next_;
    Block* block = nullptr;
    const uint64_t frame_bytes = FrameBytes(length);
    uint32_t count = 0;
    for (const uint32_t batch : batches) count += batch;
    block = pool_.Take(count * frame_bytes);
    for (const uint32_t batch : batches) {
      for (uint32_t i = 0; i < batch; i++) {
        uint8_t* frame = block->Bytes() + block->size;
        std::memset(frame, 0, frame_bytes);
        StoreU32(frame + kFrameBodyLengthAt, static_cast<uint32_t>(length));
        StoreU64(frame + kFrameOffsetAt, next_);
        StoreU48(frame + kFrameTimestampAt, 7 + next_);
        frame[kFrameTypeAt] = kFrameRecord;
        frame[kFrameFlagsAt] = i + 1 < batch ? kFlagBatchContinues : 0;
        std::memset(frame + kFrameBodyAt, static_cast<uint8_t>(next_), length);
        block->size += frame_bytes;
        next_++;
      }
    }
    const uint64_t bytes = block->size;
    queue_.Append(block, bytes);
    cache->Add(cache->Copy(queue_.Head(), first, count), now_ms);
    pool_.Give(queue_.Remove(bytes));
  }
  void Skip(uint64_t records) { next_ += records; }

 private:
  BlockPool pool_;
  FrameQueue queue_;
  uint64_t next_ = 0;
};

void CheckState(TailCache* cache, uint64_t oldest, uint64_t end, int64_t now_ms = 0) {
  const CacheState state = cache->State(now_ms);
  CHECK_EQ(state.oldest, oldest);
  CHECK_EQ(state.end, end);
  CHECK_EQ(state.records, end - oldest);
}

uint64_t Evicted(TailCache* cache, Eviction reason, int64_t now_ms = 0) {
  return cache->State(now_ms).evicted[static_cast<size_t>(reason)];
}

struct Lookup {
  int status;
  double out[kOutLength];
  uint8_t into[256];
  uint8_t copy_out[512];
};

Lookup Read(TailCache* cache, uint64_t offset, size_t room = 256) {
  Lookup result{};
  result.status = cache->Read(offset, result.into, room, result.copy_out, sizeof result.copy_out, result.out);
  return result;
}

struct BlockLookup {
  bool hit;
  double numbers[kScanLength];
  std::vector<uint8_t> bytes;
  std::vector<uint32_t> table;
};

BlockLookup ReadBlock(TailCache* cache, uint64_t offset, uint64_t limit, uint64_t max_bytes, size_t rows = 1000) {
  BlockLookup result{};
  result.table.resize(rows * kScanColumns);
  for (;;) {
    result.hit = cache->ReadBlock(offset, limit, max_bytes, result.bytes.data(), result.bytes.size(),
                                  result.table.data(), result.table.size() / kScanColumns, result.numbers);
    if (result.hit || result.numbers[kScanNeeded] == 0) return result;
    result.bytes.resize(static_cast<size_t>(result.numbers[kScanNeeded]));
    result.table.resize(std::max(result.table.size(), static_cast<size_t>(result.numbers[kScanCount]) * kScanColumns));
  }
}

void TestRecordsBoundIsExact() {
  TailCaches caches(kPlenty);
  TailCache cache(caches);
  Frames frames;
  frames.Feed(&cache, {3}, 10);
  CheckState(&cache, 0, 0);
  cache.SetLimits({10, 1000, kPlenty}, 0);
  frames.Feed(&cache, {1, 1, 1, 1}, 10);
  CheckState(&cache, 3, 7);
  for (int i = 0; i < 40; i++) frames.Feed(&cache, {1}, 10);
  CheckState(&cache, 37, 47);
  CHECK_EQ(Evicted(&cache, Eviction::kRecords), uint64_t{34});
  // Of a large group only the end; what was before is not contiguous with it any more.
  frames.Feed(&cache, {5, 20}, 10);
  CheckState(&cache, 62, 72);
  CHECK_EQ(Evicted(&cache, Eviction::kRecords), uint64_t{44});
  CHECK_EQ(Read(&cache, 61).status, kReadNotFound);
  CHECK_EQ(Read(&cache, 72).status, kReadNotFound);
  for (uint64_t offset = 62; offset < 72; offset++) {
    const Lookup found = Read(&cache, offset);
    CHECK_EQ(found.status, kReadPlaced);
    CHECK_EQ(found.into[9], static_cast<uint8_t>(offset));
    CHECK_EQ(found.out[kOutValueLength], 10.0);
    CHECK_EQ(found.out[kOutTimestamp], static_cast<double>(7 + offset));
    // The batch began before what is cached.
    CHECK_EQ(found.out[kOutBatchFirst], 52.0);
  }
  cache.SetLimits({4, 1000, kPlenty}, 0);
  CheckState(&cache, 68, 72);
  cache.SetLimits({}, 0);
  CheckState(&cache, 0, 0);
  CHECK_EQ(caches.Sweep(0), uint64_t{0});
}

void TestGapDropsWhatWasBefore() {
  TailCaches caches(kPlenty);
  TailCache cache(caches);
  Frames frames;
  cache.SetLimits({100, 1000, kPlenty}, 0);
  frames.Feed(&cache, {1, 1}, 10);
  frames.Skip(1);
  frames.Feed(&cache, {1}, 10);
  CheckState(&cache, 3, 4);
}

void TestBytesBound() {
  TailCaches caches(kPlenty);
  TailCache cache(caches);
  Frames frames;
  const uint64_t cost = kCachedBlockBytes + kCachedRecordBytes + FrameBytes(100);
  cache.SetLimits({100, 1000, 3 * cost}, 0);
  for (int i = 0; i < 5; i++) frames.Feed(&cache, {1}, 100);
  CheckState(&cache, 2, 5);
  CHECK_EQ(Evicted(&cache, Eviction::kBytes), uint64_t{2});
  CHECK_EQ(cache.State(0).bytes, 3 * cost);
  frames.Feed(&cache, {4, 6}, 100);
  CheckState(&cache, 12, 15);
  CHECK(cache.State(0).bytes <= 3 * cost);
  CHECK_EQ(Evicted(&cache, Eviction::kBytes), uint64_t{5});
  // A record that does not fit leaves nothing.
  frames.Feed(&cache, {1}, 1000);
  CheckState(&cache, 0, 0);
  frames.Feed(&cache, {1}, 100);
  CheckState(&cache, 16, 17);
}

void TestAgeIsOfTheCommit() {
  TailCaches caches(kPlenty);
  TailCache young(caches);
  TailCache old(caches);
  Frames frames;
  young.SetLimits({100, 50, kPlenty}, 0);
  old.SetLimits({100, 1000, kPlenty}, 0);
  frames.Feed(&young, {1, 1}, 10, 100);
  Frames().Feed(&old, {1}, 10, 100);
  frames.Feed(&young, {1}, 10, 120);
  for (int i = 0; i < 5; i++) Read(&young, 0);
  CHECK(caches.Sweep(149) > 0);
  CheckState(&young, 0, 3, 149);
  caches.Sweep(150);
  CheckState(&young, 2, 3, 150);
  CheckState(&young, 0, 0, 170);
  CHECK_EQ(Evicted(&young, Eviction::kAge, 170), uint64_t{3});
  CheckState(&old, 0, 1, 170);
  CHECK_EQ(caches.Sweep(1100), uint64_t{0});
}

void TestBudgetTakesTheOldestOfAnyLog() {
  const uint64_t cost = kCachedBlockBytes + kCachedRecordBytes + FrameBytes(100);
  TailCaches caches(4 * cost);
  TailCache first(caches);
  TailCache second(caches);
  Frames of_first;
  Frames of_second;
  first.SetLimits({100, 1000, kPlenty}, 0);
  second.SetLimits({100, 1000, kPlenty}, 0);
  of_first.Feed(&first, {1}, 100);
  of_second.Feed(&second, {1}, 100);
  of_first.Feed(&first, {1}, 100);
  of_second.Feed(&second, {1}, 100);
  of_second.Feed(&second, {1}, 100);
  CheckState(&first, 1, 2);
  CheckState(&second, 0, 3);
  of_second.Feed(&second, {1}, 100);
  CheckState(&first, 1, 2);
  CheckState(&second, 1, 4);
  of_second.Feed(&second, {1}, 100);
  CheckState(&first, 0, 0);
  CheckState(&second, 1, 5);
  CHECK_EQ(Evicted(&first, Eviction::kBudget), uint64_t{2});
  CHECK_EQ(Evicted(&second, Eviction::kBudget), uint64_t{1});
}

void TestDropBelow() {
  TailCaches caches(kPlenty);
  TailCache cache(caches);
  Frames frames;
  cache.SetLimits({100, 1000, kPlenty}, 0);
  frames.Feed(&cache, {2}, 10);
  frames.Feed(&cache, {1, 4}, 10);
  CHECK_EQ(cache.DropBelow(0), uint64_t{0});
  CHECK_EQ(cache.DropBelow(4), uint64_t{4});
  CheckState(&cache, 4, 7);
  CHECK_EQ(Read(&cache, 3).status, kReadNotFound);
  CHECK_EQ(cache.DropBelow(100), uint64_t{3});
  CheckState(&cache, 0, 0);
  CHECK_EQ(Evicted(&cache, Eviction::kRecords), uint64_t{0});
}

void TestBlocksAreWholeBatches() {
  TailCaches caches(kPlenty);
  TailCache cache(caches);
  Frames frames;
  cache.SetLimits({1000, 1000, kPlenty}, 0);
  frames.Feed(&cache, {3, 2}, 40);
  frames.Feed(&cache, {1}, 40);
  frames.Feed(&cache, {30}, 40);
  const uint64_t frame = FrameBytes(40);
  const auto count = [&](uint64_t offset, uint64_t limit, uint64_t max_bytes) {
    const BlockLookup found = ReadBlock(&cache, offset, limit, max_bytes, 8);
    CHECK(found.hit);
    const auto records = static_cast<uint64_t>(found.numbers[kScanCount]);
    CHECK_EQ(found.bytes.size(), records * frame);
    CHECK_EQ(found.numbers[kScanNextOffset], static_cast<double>(offset + records));
    for (uint64_t i = 0; i < records; i++) {
      const uint32_t* row = &found.table[i * kScanColumns];
      CHECK_EQ(row[0], static_cast<uint32_t>(i * frame));
      CHECK_EQ(row[1], row[0] + static_cast<uint32_t>(kFrameHeaderBytes));
      CHECK_EQ(row[2], 40u);
      CHECK_EQ(found.bytes[row[1]], static_cast<uint8_t>(offset + i));
      const uint64_t first = offset + i < 3 ? 0 : offset + i < 5 ? 3 : offset + i < 6 ? 5 : 6;
      CHECK_EQ(row[3], static_cast<uint32_t>(offset + i - first));
    }
    return records;
  };
  CHECK_EQ(count(0, 36, 1), uint64_t{3});
  CHECK_EQ(count(0, 36, 5 * frame), uint64_t{5});
  CHECK_EQ(count(0, 36, 5 * frame - 1), uint64_t{3});
  CHECK_EQ(count(0, 36, 20 * frame), uint64_t{6});
  CHECK_EQ(count(1, 36, 1), uint64_t{2});
  CHECK_EQ(count(6, 36, 1), uint64_t{30});
  // The end of the range may cut a batch.
  CHECK_EQ(count(0, 2, kPlenty), uint64_t{2});
  CHECK_EQ(count(6, 20, 1), uint64_t{14});
  CHECK_EQ(count(0, 100, kPlenty), uint64_t{6});
  CHECK_EQ(ReadBlock(&cache, 36, 100, 1).hit, false);
  CHECK_EQ(ReadBlock(&cache, 5, 5, 1).hit, false);
}

void TestLargeRecordsAndKeys() {
  TailCaches caches(kPlenty);
  TailCache cache(caches);
  Frames frames;
  cache.SetLimits({10, 1000, kPlenty}, 0);
  frames.Feed(&cache, {1}, 300);
  frames.Feed(&cache, {1}, 600);
  const Lookup copied = Read(&cache, 0);
  CHECK_EQ(copied.status, kReadOk);
  CHECK_EQ(copied.out[kOutValueStart], 24.0);
  CHECK_EQ(copied.out[kOutKeyLength], -1.0);
  CHECK_EQ(LoadU64(copied.copy_out + kFrameOffsetAt), uint64_t{0});
  CHECK_EQ(Read(&cache, 1).status, kReadLarge);
  CHECK_EQ(Read(&cache, 0, 0).status, kReadOk);
}

void TestCommitterFeedsWhatCounts() {
  Harness test;
  CommitLog* log = test.Open(CommitMode::kFsync, "segment");
  log->cache.SetLimits({100, 100'000, kPlenty}, MonotonicMs());
  test.Append(log, 3, 50);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  CheckState(&log->cache, 0, 3, MonotonicMs());
  const Lookup found = Read(&log->cache, 2);
  CHECK_EQ(found.status, kReadPlaced);
  CHECK_EQ(found.into[0], 50);

  // Written, but not synced: not there yet.
  test.gate.CloseSyncs(true);
  test.Append(log, 2, 50, 1000, true);
  test.gate.AwaitSyncs(1);
  CheckState(&log->cache, 0, 3, MonotonicMs());
  CHECK_EQ(Read(&log->cache, 3).status, kReadNotFound);
  test.gate.CloseSyncs(false);
  test.AwaitDone((test.committer.Commit(log, CommitLevel::kMode, 1), 1));
  CheckState(&log->cache, 0, 5, MonotonicMs());
  CHECK_EQ(Read(&log->cache, 4).out[kOutBatchFirst], 3.0);

  // The sync fails: never there.
  test.gate.FailSyncs(EIO);
  test.Append(log, 1, 50);
  CHECK(test.AwaitKind(kEventFailed));
  CheckState(&log->cache, 0, 5, MonotonicMs());
  CHECK_EQ(Read(&log->cache, 5).status, kReadNotFound);
  CHECK(test.committer.DestroyLog(log));
  CHECK_EQ(test.committer.Caches().Sweep(MonotonicMs()), uint64_t{0});
}

void TestFailedWriteIsNotCached() {
  Harness test;
  CommitLog* log = test.Open(CommitMode::kFlush, "segment");
  log->cache.SetLimits({100, 100'000, kPlenty}, MonotonicMs());
  test.Append(log, 1, 50);
  CHECK_EQ(test.CommitAndWait(log, CommitLevel::kMode), 0.0);
  test.faults.Fault(IoKind::kWrite, 1, EIO, true, 0);
  test.Append(log, 1, 50);
  CHECK(test.AwaitKind(kEventFailed));
  CheckState(&log->cache, 0, 1, MonotonicMs());
}

// A row says that records are committed: then they are in the cache.
void TestCachedBeforeItIsTold() {
  Harness test;
  CommitLog* log = test.Open(CommitMode::kFlush, "segment");
  log->cache.SetLimits({50, 100'000, kPlenty}, MonotonicMs());
  for (int i = 1; i <= 300; i++) {
    test.Append(log, 1, 20);
    test.Await([i](const EventRow& row) { return row.columns[0] == kEventCommitted && row.columns[2] == i; });
    CHECK_EQ(Read(&log->cache, static_cast<uint64_t>(i - 1)).status, kReadPlaced);
    test.rows.clear();
  }
}

// For TSan: look-ups, sweeps and changes of the bounds while several logs are fed.
void TestReadersBesideTheCommitter() {
  Harness test;
  CommitLog* logs[] = {test.Open(CommitMode::kFlush, "a"), test.Open(CommitMode::kFsync, "b")};
  for (CommitLog* log : logs) log->cache.SetLimits({64, 100'000, 64 * 1024}, MonotonicMs());
  for (int round = 0; round < 200; round++) {
    for (CommitLog* log : logs) {
      test.Append(log, 1 + round % 7, 30 + round, 1000, round % 3 == 0);
      const CacheState state = log->cache.State(MonotonicMs());
      for (uint64_t offset = state.oldest; offset < state.end; offset += 5) {
        const Lookup found = Read(&log->cache, offset);
        if (found.status == kReadPlaced) CHECK_EQ(found.into[0], static_cast<uint8_t>(found.out[kOutValueLength]));
      }
      const BlockLookup block = ReadBlock(&log->cache, state.oldest, state.end, 4096);
      for (size_t i = 0; block.hit && i < static_cast<size_t>(block.numbers[kScanCount]); i++) {
        CHECK_EQ(LoadU64(&block.bytes[block.table[i * kScanColumns]] + kFrameOffsetAt), state.oldest + i);
      }
    }
    if (round % 10 == 0) logs[0]->cache.SetLimits({static_cast<uint64_t>(round % 3) * 40, 5, 8192}, MonotonicMs());
    test.committer.Caches().Sweep(MonotonicMs());
  }
  for (CommitLog* log : logs) CHECK_EQ(test.CommitAndWait(log, CommitLevel::kSynced), 0.0);
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestRecordsBoundIsExact();
  TestGapDropsWhatWasBefore();
  TestBytesBound();
  TestAgeIsOfTheCommit();
  TestBudgetTakesTheOldestOfAnyLog();
  TestDropBelow();
  TestBlocksAreWholeBatches();
  TestLargeRecordsAndKeys();
  TestCommitterFeedsWhatCounts();
  TestFailedWriteIsNotCached();
  TestCachedBeforeItIsTold();
  TestReadersBesideTheCommitter();
  return Finish();
}
