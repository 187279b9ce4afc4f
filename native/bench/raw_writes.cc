// Limits of writing.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "../core/crc32c.h"
#include "raw_limits.h"

namespace raw_limits {
namespace {

constexpr uint64_t kCallBytes = 1 << 20;
constexpr uint64_t kMinStep = 64 << 10;
constexpr uint64_t kMaxStep = 8 << 20;
constexpr int64_t kCachedSourceBytes = 1 << 18;

int CreateFile(const std::string& path) {
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
  if (fd < 0) FailErrno(path.c_str());
  return fd;
}

void WriteAll(int fd, const uint8_t* bytes, uint64_t length, uint64_t position) {
  while (length > 0) {
    const ssize_t written = pwrite(fd, bytes, std::min(length, kCallBytes), static_cast<off_t>(position));
    if (written < 0) {
      if (errno == EINTR) continue;
      FailErrno("pwrite");
    }
    bytes += written;
    position += static_cast<uint64_t>(written);
    length -= static_cast<uint64_t>(written);
  }
}

void CheckFileHolds(int fd, uint64_t bytes) {
  struct stat status;
  if (fstat(fd, &status) != 0) FailErrno("fstat");
  if (static_cast<uint64_t>(status.st_size) < bytes) Fail("file", "shorter than what was written");
}

// Grows a file the way the committer does: doubling steps between 64 KiB and 8 MiB.
class Space {
 public:
  Space(int fd, bool preallocate) : fd_(fd), preallocate_(preallocate) {}
  void Reserve(uint64_t end) {
    if (!preallocate_ || end <= allocated_) return;
    const uint64_t target = std::max(end, allocated_ + std::clamp(allocated_, kMinStep, kMaxStep));
    if (fallocate(fd_, 0, static_cast<off_t>(allocated_), static_cast<off_t>(target - allocated_)) != 0)
      FailErrno("fallocate");
    allocated_ = target;
  }

 private:
  int fd_;
  bool preallocate_;
  uint64_t allocated_ = 0;
};

// fdatasync every interval on a thread of its own, as the log does it in mode `flush`.
class BackgroundSync {
 public:
  BackgroundSync(int fd, uint64_t interval_ms) : fd_(fd), interval_(interval_ms), thread_([this] { Run(); }) {}
  void Stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  uint64_t Syncs() const { return syncs_; }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!wake_.wait_for(lock, interval_, [this] { return stopping_; })) {
      lock.unlock();
      if (fdatasync(fd_) != 0) FailErrno("fdatasync");
      syncs_++;
      lock.lock();
    }
  }

  int fd_;
  std::chrono::milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  uint64_t syncs_ = 0;  // read after the join
  std::thread thread_;
};

// Fills groups frame by frame: a copy of the payload and its CRC. The least that a log does between its caller and
// pwrite.
class FrameWriter {
 public:
  // `source` bytes of payloads: as many as are written, or few enough to stay in the processor's cache.
  FrameWriter(uint64_t frame, uint64_t source) : frame_(frame), payloads_(Pattern(source)) {
    if (frame <= kHeaderBytes || source < frame) Fail("frame", "must hold a header and a payload of the source");
  }

  void Fill(std::vector<uint8_t>* group) {
    const uint64_t body = frame_ - kHeaderBytes;
    for (uint64_t at = 0; at + frame_ <= group->size(); at += frame_) {
      uint8_t* to = group->data() + at;
      std::memcpy(to + kHeaderBytes, payloads_.data() + next_, body);
      const uint32_t crc = sealog::Crc32cExtend(0, to + sizeof(crc), frame_ - sizeof(crc));
      std::memcpy(to, &crc, sizeof(crc));
      next_ = next_ + 2 * body <= payloads_.size() ? next_ + body : 0;
    }
  }

 private:
  static constexpr uint64_t kHeaderBytes = 24;

  uint64_t frame_;
  std::vector<uint8_t> payloads_;
  uint64_t next_ = 0;
};

}  // namespace

void Append(const Arguments& arguments) {
  const uint64_t bytes = arguments.Number("bytes");
  const uint64_t group = arguments.Number("group");
  if (group == 0) Fail("group", "must be positive");
  const int fd = CreateFile(arguments.Files()[0]);
  const uint64_t frame = arguments.Number("frame", 0);
  std::optional<FrameWriter> frames;
  if (frame != 0) frames.emplace(frame, arguments.Number("source", kCachedSourceBytes));
  std::vector<uint8_t> source = Pattern(group);
  Space space(fd, arguments.Number("preallocate", 0) != 0);
  BackgroundSync sync(fd, arguments.Number("syncMs", 1000));
  uint64_t groups = 0;

  const auto start = Clock::now();
  for (uint64_t position = 0; position < bytes; position += group) {
    const uint64_t length = std::min(group, bytes - position);
    if (frames) frames->Fill(&source);
    space.Reserve(position + length);
    WriteAll(fd, source.data(), length, position);
    groups++;
  }
  const double written = SecondsSince(start);
  sync.Stop();
  if (fdatasync(fd) != 0) FailErrno("fdatasync");
  const double synced = SecondsSince(start);

  CheckFileHolds(fd, bytes);
  std::printf("{\"bytes\":%" PRIu64 ",\"groups\":%" PRIu64 ",\"syncs\":%" PRIu64
              ",\"writtenSeconds\":%.9g,\"syncedSeconds\":%.9g}\n",
              bytes, groups, sync.Syncs() + 1, written, synced);
}

void Sync(const Arguments& arguments) {
  const uint64_t bytes = arguments.Number("bytes");
  const uint64_t count = arguments.Number("count");
  if (count == 0) Fail("count", "must be positive");
  const int fd = CreateFile(arguments.Files()[0]);
  const std::vector<uint8_t> source = Pattern(bytes);
  Space space(fd, arguments.Number("preallocate", 0) != 0);
  std::vector<double> samples(count);

  const auto start = Clock::now();
  for (uint64_t i = 0; i < count; i++) {
    const auto begin = Clock::now();
    space.Reserve((i + 1) * bytes);
    WriteAll(fd, source.data(), bytes, i * bytes);
    if (fdatasync(fd) != 0) FailErrno("fdatasync");
    samples[i] = SecondsSince(begin);
  }
  const double seconds = SecondsSince(start);

  CheckFileHolds(fd, count * bytes);
  std::printf("{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.9g", count, count * bytes, seconds);
  PrintPercentiles(&samples);
  std::printf("}\n");
}

}  // namespace raw_limits
