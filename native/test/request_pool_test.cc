// File requests on threads, and the queue their results come through.
#include "../core/request_pool.h"

#include <errno.h>

#include <memory>

#include "committer_fixture.h"

namespace sealog::test {
namespace {

// Reads that wait at a gate.
class SlowReads final : public PosixIo {
 public:
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override {
    MutexLock lock(mutex);
    waiting++;
    changed.SignalAll();
    while (closed) changed.Wait(mutex);
    lock.Unlock();
    return PosixIo::Pread(fd, into, length, position);
  }
  void Close(bool close) {
    MutexLock lock(mutex);
    closed = close;
    changed.SignalAll();
  }
  using PosixIo::Close;
  void AwaitReads(int count) {
    MutexLock lock(mutex);
    while (waiting < count) changed.Wait(mutex);
  }

  Mutex mutex;
  Condition changed;
  bool closed = false;
  int waiting = 0;
};

struct Pool {
  explicit Pool(int threads = 2) : requests(current, events, threads) {}

  std::unique_ptr<PooledRequest> Start(FileOperation operation, double ticket, const std::string& path = {}) {
    auto request = std::make_unique<PooledRequest>();
    request->request.operation = operation;
    request->request.path = path;
    request->ticket = ticket;
    requests.Start(request.get());
    return request;
  }
  std::unique_ptr<PooledRequest> StartRead(int fd, double ticket, std::vector<uint8_t>* into) {
    auto request = std::make_unique<PooledRequest>();
    request->request.operation = FileOperation::kRead;
    request->request.fd = fd;
    request->request.bytes = into->data();
    request->request.bytes_length = into->size();
    request->ticket = ticket;
    requests.Start(request.get());
    return request;
  }
  double AwaitStatus(double ticket) {
    for (int i = 0; i < 10000; i++) {
      EventRow row;
      while (events.Drain(&row, 1) == 1) {
        if (row.columns[0] == kEventDone && row.columns[1] == ticket) return row.columns[2];
      }
      usleep(1000);
    }
    return NAN;
  }

  SlowReads io;
  CurrentIo current{io};
  EventQueue events{[](void*) {}, nullptr};
  RequestPool requests;
};

void TestResultsComeAsRows() {
  Pool pool;
  const auto missing = pool.Start(FileOperation::kOpen, 1, "/nowhere/at/all");
  CHECK_EQ(pool.AwaitStatus(1), static_cast<double>(-ENOENT));
  const auto list = pool.Start(FileOperation::kList, 2, "/proc/self/task");
  CHECK_EQ(pool.AwaitStatus(2), 0.0);
  CHECK(!list->request.text.empty());
  CHECK(pool.requests.Stop(5000));
}

void TestFinishTakesTheRow() {
  Pool pool(1);
  TempDirectory directory;
  const int fd = directory.OpenFile("file");
  CHECK_EQ(WriteFull(pool.io, fd, "content", 7, 0), 0);
  pool.io.Close(true);
  std::vector<uint8_t> bytes(7);
  const auto read = pool.StartRead(fd, 1, &bytes);
  pool.io.AwaitReads(1);
  // The only thread is busy: what waits behind it is done here.
  const auto waiting = pool.Start(FileOperation::kUnlink, 2, "/nowhere/at/all");
  pool.requests.Finish(waiting.get());
  CHECK_EQ(waiting->request.status, int64_t{-ENOENT});
  pool.io.Close(false);
  pool.requests.Finish(read.get());
  CHECK_EQ(read->request.status, int64_t{7});
  const auto done = pool.Start(FileOperation::kUnlink, 3, "/nowhere/at/all");
  usleep(30000);
  pool.requests.Finish(done.get());
  CHECK(pool.requests.Stop(5000));
  EventRow row;
  CHECK_EQ(pool.events.Drain(&row, 1), size_t{0});
}

void TestStopForgetsAndWaits() {
  TempDirectory directory;
  const int fd = directory.OpenFile("file");
  Pool pool(1);
  pool.io.Close(true);
  std::vector<uint8_t> bytes(7);
  const auto read = pool.StartRead(fd, 1, &bytes);
  pool.io.AwaitReads(1);
  const auto forgotten = pool.Start(FileOperation::kUnlink, 2, "/nowhere/at/all");
  struct Opener {
    static void* Run(void* io) {
      usleep(500000);
      static_cast<SlowReads*>(io)->Close(false);
      return nullptr;
    }
  };
  pthread_t thread;
  StartThread(&thread, Opener::Run, &pool.io);
  // Longer than its patience, as a read fills memory of the caller.
  CHECK(pool.requests.Stop(200));
  pthread_join(thread, nullptr);
  CHECK_EQ(forgotten->request.status, int64_t{0});
  pool.requests.Finish(forgotten.get());
  CHECK_EQ(forgotten->request.status, int64_t{-ENOENT});
  const auto late = pool.Start(FileOperation::kUnlink, 3, "/nowhere/at/all");
  pool.requests.Finish(late.get());
  CHECK_EQ(late->request.status, int64_t{-ENOENT});
}

void TestChecksOperands() {
  FileRequest request;
  request.operation = FileOperation::kStat;
  double numbers[40] = {};
  CHECK(CheckFileRequest(request) != nullptr);
  request.numbers = numbers;
  request.numbers_length = 4;
  CHECK(CheckFileRequest(request) == nullptr);
  request.operation = FileOperation::kScan;
  CHECK(CheckFileRequest(request) != nullptr);
  request.operation = FileOperation::kReadMany;
  uint8_t bytes[8];
  request.bytes = bytes;
  request.bytes_length = sizeof bytes;
  request.a = 4;
  request.numbers_length = 39;
  CHECK(CheckFileRequest(request) != nullptr);
  request.numbers_length = 40;
  CHECK(CheckFileRequest(request) == nullptr);
  request.operation = FileOperation::kRename;
  request.path = "a";
  CHECK(CheckFileRequest(request) != nullptr);
  request.operation = static_cast<FileOperation>(0);
  CHECK(CheckFileRequest(request) != nullptr);
}

void TestEventsWakeOncePerBurst() {
  int woken = 0;
  EventQueue events([](void* count) { ++*static_cast<int*>(count); }, &woken);
  events.Notify();
  CHECK_EQ(woken, 0);
  for (int i = 0; i < 3; i++) {
    events.PushDone(i, 0);
    events.Notify();
  }
  CHECK_EQ(woken, 1);
  EventRow rows[2];
  CHECK_EQ(events.Drain(rows, 2), size_t{2});
  events.RemoveDone(2);
  events.Notify();
  CHECK_EQ(woken, 1);
  CHECK_EQ(events.Drain(rows, 2), size_t{0});
  events.PushDone(9, 0);
  events.Notify();
  CHECK_EQ(woken, 2);
  CHECK_EQ(events.Drain(rows, 2), size_t{1});
  // Whoever stops in the middle can be woken for the rest.
  for (int i = 10; i < 13; i++) events.PushDone(i, 0);
  events.Notify();
  CHECK_EQ(events.Drain(rows, 2), size_t{2});
  events.Notify();
  CHECK_EQ(woken, 4);
  CHECK_EQ(events.Drain(rows, 2), size_t{1});
  events.Close();
  events.PushDone(13, 0);
  events.Notify();
  CHECK_EQ(woken, 4);
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestResultsComeAsRows();
  TestFinishTakesTheRow();
  TestStopForgetsAndWaits();
  TestChecksOperands();
  TestEventsWakeOncePerBurst();
  return Finish();
}
