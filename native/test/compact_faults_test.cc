// Compaction with damage, with system calls that fail, canceled, and beside an index that goes on changing on another
// thread.
#include <unistd.h>

#include <memory>
#include <random>

#include "../core/request_pool.h"
#include "../os/faulting_io.h"
#include "../os/posix_io.h"
#include "compact_fixture.h"

using namespace sealog;
using namespace sealog::test;

namespace {

void CheckDamage(MemoryIo& io, uint32_t seed, const Query& query, const CompactBuffers& buffers) {
  const Result result = Run(io, io, seed, query, buffers);
  CHECK_EQ(result.status, 0);
  CHECK(StopOf(result) != kStopEnd && StopOf(result) != kStopFull);
  const std::vector<double> before = FirstNumbers(seed, query);
  for (size_t i = 0; i < kCompactStop; i++) CHECK_EQ(result.numbers[i], before[i]);
}

void TestEveryFlippedBit() {
  const SegmentBuilder dense = SmallSegment();
  const Query query{.contents = {{{"k1", 1e6}}}, .offset = 100};
  const SegmentBuilder sparse = Reread(Expect(dense, query).bytes);
  for (const bool is_sparse : {false, true}) {
    const SegmentBuilder& segment = is_sparse ? sparse : dense;
    Query asked = query;
    asked.sparse = is_sparse;
    MemoryIo io(segment.bytes);
    for (size_t bit = 8 * kSegmentHeaderBytes; bit < 8 * segment.bytes.size(); bit++) {
      io.bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      CheckDamage(io, segment.seed, asked, {});
      CheckDamage(io, segment.seed, asked, {128, 32});
      io.bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
    // Cut anywhere but behind a whole batch; and with bytes that should be there and are not.
    asked.end = segment.bytes.size();
    for (size_t length = segment.bytes.size() - 1; length > kSegmentHeaderBytes; length--) {
      io.bytes.resize(length);
      CheckDamage(io, segment.seed, asked, {});
    }
  }
  SegmentBuilder open;
  open.Record("one", {.continues = true});
  MemoryIo io(open.bytes);
  CHECK_EQ(StopOf(Run(io, io, open.seed, {.contents = {{}}}, {})), kStopOrder);
  SegmentBuilder closed = SmallSegment();
  closed.Footer();
  MemoryIo footer(closed.bytes);
  CHECK_EQ(StopOf(Run(footer, footer, closed.seed, query, {})), kStopFooter);
  Query wrong = query;
  wrong.offset = 99;
  CHECK_EQ(StopOf(Run(footer, footer, closed.seed, wrong, {})), kStopOrder);
}

// A large record whose bytes are others when it is read the second time.
class ChangingIo final : public MemoryIo {
 public:
  ChangingIo(const std::vector<uint8_t>& content, size_t whole) : MemoryIo(content), whole_(whole) {}
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override {
    const ssize_t got = MemoryIo::Pread(fd, into, length, position);
    if (length == whole_ && got > 100) static_cast<uint8_t*>(into)[100] ^= 1;
    return got;
  }

 private:
  const size_t whole_;
};

void TestWhatIsCopiedIsWhatWasVerified() {
  SegmentBuilder segment;
  segment.Record(std::string(1000, 'x'));
  segment.Commit();
  ChangingIo io(segment.bytes, static_cast<size_t>(segment.records[0].frame_bytes));
  CHECK_EQ(StopOf(Run(io, io, segment.seed, {.contents = {{}}}, {256, 100})), kStopChecksum);
}

void TestFailingCalls() {
  SegmentBuilder segment = SmallSegment();
  segment.Record(std::string(900, 'x'));
  segment.Commit();
  MemoryIo memory(segment.bytes);
  FaultingIo io(memory);
  const CompactBuffers buffers{256, 64};
  const Query query{.contents = {{}}, .offset = 100};
  const Expected expected = Expect(segment, query);
  const std::vector<double> before = FirstNumbers(segment.seed, query);
  for (const IoKind kind : {IoKind::kRead, IoKind::kWrite}) {
    io.ResetCounts();
    CheckResult(Run(io, memory, segment.seed, query, buffers), expected);
    const uint64_t calls = io.Count(kind);
    CHECK(calls >= 3);
    for (uint64_t nth = 1; nth <= calls; nth++) {
      io.Fault(kind, nth, ENOSPC, false, 0);
      const Result failed = Run(io, memory, segment.seed, query, buffers);
      CHECK_EQ(failed.status, -ENOSPC);
      for (size_t i = 0; i < kCompactStop; i++) CHECK_EQ(failed.numbers[i], before[i]);
      io.ClearFaults();
      io.Fault(kind, nth, 0, true, 3);
      CheckResult(Run(io, memory, segment.seed, query, buffers), expected);
      io.ClearFaults();
    }
  }
  Query nowhere = query;
  nowhere.out = 17;
  CHECK_EQ(Run(memory, memory, segment.seed, nowhere, {}).status, -EBADF);
  CHECK_EQ(Run(memory, memory, segment.seed, query, {.window = 127}).status, -EINVAL);
  CHECK_EQ(Run(memory, memory, segment.seed, {}, {}).status, -EINVAL);
}

// Turns a flag at the read with a number.
class CancelingIo final : public MemoryIo {
 public:
  CancelingIo(const std::vector<uint8_t>& content, long at) : MemoryIo(content), at_(at) {}
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override {
    if (reads + 1 == at_) canceled = true;
    return MemoryIo::Pread(fd, into, length, position);
  }
  std::atomic<bool> canceled{false};

 private:
  const long at_;
};

void TestCanceled() {
  SegmentBuilder segment;
  for (int i = 0; i < 50; i++) segment.Record(std::string(100, 'x'));
  segment.Record(std::string(10'000, 'x'));
  segment.Commit();
  const CompactBuffers buffers{256, 1000};
  CancelingIo whole(segment.bytes, 0);
  CHECK_EQ(Run(whole, whole, segment.seed, {.contents = {{}}}, buffers, &whole.canceled).status, 0);
  for (const long at : {1L, 20L, whole.reads - 10}) {
    CancelingIo io(segment.bytes, at);
    CHECK_EQ(Run(io, io, segment.seed, {.contents = {{}}}, buffers, &io.canceled).status, -ECANCELED);
    CHECK(io.reads <= at + 2);
  }
}

// As the addon has it: this thread changes, copies and frees indexes, others compact with copies made before.
void TestBesideChanges() {
  SegmentBuilder segment;
  constexpr int kKeys = 2000;
  // Some keys lie outside of the pages.
  const auto key = [](uint64_t i) { return std::string(i % 50 == 0 ? 700 : 8, 'k') + std::to_string(i); };
  for (int i = 0; i < 2 * kKeys; i++) {
    segment.Record(std::string(20, 'v'), {.has_key = true, .key = key(static_cast<uint64_t>(i) % kKeys)});
  }
  segment.Commit();
  char path[] = "/tmp/sealog-compact-test-XXXXXX";
  const int fd = mkstemp(path);
  unlink(path);
  PosixIo io;
  CHECK_EQ(WriteFull(io, fd, segment.bytes.data(), segment.bytes.size(), 0), 0);

  OrderedIndex live;
  for (uint64_t i = 0; i < kKeys; i++) live.Put(View(key(i)), static_cast<double>(kKeys + i));
  const CurrentIo current(io);
  EventQueue events([](void*) {}, nullptr);
  RequestPool pool(current, events, 2);
  struct Compacting final : PooledRequest {
    std::vector<double> numbers;
  };
  std::map<double, std::unique_ptr<Compacting>> pending;
  std::mt19937 random(5);
  double started = 0;
  double done = 0;
  uint64_t changes = 0;
  constexpr double kRequests = 40;
  while (done < kRequests) {
    if (started < kRequests && pending.size() < 3) {
      // The keys as they were at first, whatever has become of the live index meanwhile.
      for (uint64_t i = 0; i < kKeys; i++) live.Put(View(key(i)), static_cast<double>(kKeys + i));
      auto request = std::make_unique<Compacting>();
      request->numbers = FirstNumbers(segment.seed, {.contents = {}, .out = -1});
      request->ticket = ++started;
      FileRequest& asked = request->request;
      asked.operation = FileOperation::kCompact;
      asked.fd = fd;
      asked.a = static_cast<double>(kSegmentHeaderBytes);
      asked.b = static_cast<double>(segment.bytes.size());
      asked.numbers = request->numbers.data();
      asked.numbers_length = kCompactLength;
      asked.versions.emplace_back(live.Copy());
      CHECK(CheckFileRequest(asked) == nullptr);
      pool.Start(request.get());
      pending[started] = std::move(request);
    }
    for (int i = 0; i < 200; i++, changes++) {
      const std::string changed = key(random() % (2 * kKeys));
      if (random() % 2 == 0) {
        live.Delete(View(changed));
      } else {
        live.Put(View(changed), static_cast<double>(random() % 100'000));
      }
    }
    const std::unique_ptr<OrderedIndex> passing(live.Copy());
    passing->Put(View(key(random() % kKeys)), 1);
    EventRow row;
    while (events.Drain(&row, 1) == 1) {
      CHECK_EQ(row.columns[2], 0.0);
      const auto found = pending.find(row.columns[1]);
      CHECK_EQ(found->second->numbers[kCompactKeptRecords], static_cast<double>(kKeys));
      CHECK_EQ(found->second->numbers[kCompactFirstOffset], static_cast<double>(kKeys));
      pending.erase(found);
      done++;
    }
  }
  CHECK(changes > 1000);
  CHECK(pool.Stop(5000));
  close(fd);
}

}  // namespace

int main() {
  TestEveryFlippedBit();
  TestWhatIsCopiedIsWhatWasVerified();
  TestFailingCalls();
  TestCanceled();
  TestBesideChanges();
  return Finish();
}
