// Checksums of files, and the pool that runs them behind everything else.
#include "../core/checksum.h"

#if defined(__linux__)
#include <sys/resource.h>
#endif

#include "../core/crc32c.h"
#include "../core/request_pool.h"
#include "check.h"
#include "memory_io.h"

using namespace sealog;
using namespace sealog::test;

namespace {

constexpr int kSource = 3;

void TestChecksum() {
  MemoryIo io(std::vector<uint8_t>(600'001));
  for (size_t i = 0; i < io.bytes.size(); i++) io.bytes[i] = static_cast<uint8_t>(i * 31 + i / 256);
  for (const uint64_t from : {0, 1, 262'144, 600'000, 600'001, 700'000}) {
    for (const uint64_t end : {0, 1, 262'143, 262'144, 262'145, 524'289, 600'001, 800'000}) {
      double numbers[2] = {-1, -1};
      CHECK_EQ(ChecksumFile(io, kSource, from, end, numbers, nullptr), 0);
      const uint64_t exists = std::min<uint64_t>(end, io.bytes.size());
      const uint64_t length = exists > from ? exists - from : 0;
      CHECK_EQ(numbers[0], Crc32cExtend(0, io.bytes.data() + (length > 0 ? from : 0), length));
      CHECK_EQ(numbers[1], static_cast<double>(length));
    }
  }
  double numbers[2] = {};
  io.failing_read = io.reads + 2;
  CHECK_EQ(ChecksumFile(io, kSource, 0, 600'001, numbers, nullptr), -EIO);
}

// A file without an end: whoever reads it all comes back only when he is told to.
class EndlessIo final : public MemoryIo {
 public:
  ssize_t Pread(int, void* into, size_t length, uint64_t) override {
    memset(into, 1, length);
    MutexLock lock(mutex);
#if defined(__linux__)
    nice = getpriority(PRIO_PROCESS, 0);
#endif
    begun = true;
    changed.SignalAll();
    return static_cast<ssize_t>(length);
  }
  Mutex mutex;
  Condition changed;
  bool begun = false;
  int nice = 0;
};

void TestStopEndsLongWork() {
  EndlessIo io;
  CurrentIo current(io);
  EventQueue events([](void*) {}, nullptr);
  RequestPool pool(current, events, 1, "sealog-seal", ThreadPriority::kLow);
  double numbers[2] = {};
  PooledRequest endless;
  PooledRequest waiting;
  for (PooledRequest* request : {&endless, &waiting}) {
    request->request.operation = FileOperation::kChecksum;
    request->request.numbers = numbers;
    request->request.numbers_length = 2;
    request->request.b = 10;
  }
  endless.request.b = 9007199254740991.0;
  pool.Start(&endless);
  pool.Start(&waiting);
  {
    MutexLock lock(io.mutex);
    while (!io.begun) io.changed.Wait(io.mutex);
#if defined(__linux__)
    CHECK_EQ(io.nice, 10);
#endif
  }
  CHECK(pool.Stop(60000));
  CHECK_EQ(endless.request.status, int64_t{-ECANCELED});
  // What is done on the calling thread after a stop is done in full.
  pool.Finish(&waiting);
  CHECK_EQ(waiting.request.status, int64_t{0});
  CHECK_EQ(numbers[1], 10.0);
}

void TestRequest() {
  MemoryIo io(std::vector<uint8_t>(9, 7));
  double numbers[2] = {};
  FileRequest request;
  request.operation = FileOperation::kChecksum;
  request.fd = kSource;
  request.a = 2;
  request.b = 20;
  request.numbers = numbers;
  request.numbers_length = 1;
  CHECK(CheckFileRequest(request) != nullptr);
  request.numbers_length = 2;
  CHECK(CheckFileRequest(request) == nullptr);
  ExecuteFileRequest(io, &request);
  CHECK_EQ(request.status, int64_t{0});
  CHECK_EQ(numbers[0], Crc32cExtend(0, io.bytes.data() + 2, 7));
  CHECK_EQ(numbers[1], 7.0);
  CHECK(IsLongWork(FileOperation::kRender) && IsLongWork(FileOperation::kChecksum));
  CHECK(!IsLongWork(FileOperation::kScan));
}

}  // namespace

int main() {
  TestChecksum();
  TestStopEndsLongWork();
  TestRequest();
  return Finish();
}
