// The limits that sealog is held against: what this machine does without Node and without a log. One measurement a
// call:
//
//   raw_limits memcpy  size=B
//   raw_limits crc     size=B [implementation=NAME]
//   raw_limits append  file=PATH bytes=N group=B [preallocate=1] [syncMs=1000] [frame=B]
//   raw_limits sync    file=PATH bytes=B count=N [preallocate=1]
//   raw_limits pread   file=PATH… size=B count=N [seed=N]
//   raw_limits scan    file=PATH… block=B [crc=1]
//
// prints one line of JSON, or a reason on stderr and exit code 1. Times are seconds; nothing is rounded.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../core/crc32c.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kCallBytes = 1 << 20;
constexpr uint64_t kMinStep = 64 << 10;
constexpr uint64_t kMaxStep = 8 << 20;
constexpr double kMeasureSeconds = 0.3;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

[[noreturn]] void Fail(const char* what, const char* detail) {
  (void)std::fprintf(stderr, "raw_limits: %s: %s\n", what, detail);
  std::exit(1);
}

[[noreturn]] void FailErrno(const char* what) { Fail(what, std::strerror(errno)); }

class Arguments {
 public:
  Arguments(int count, char** values) : values_(values, values + count) {}

  std::vector<std::string> All(std::string_view name) const {
    std::vector<std::string> found;
    for (std::string_view value : values_) {
      if (value.size() > name.size() && value.substr(0, name.size()) == name && value[name.size()] == '=') {
        found.emplace_back(value.substr(name.size() + 1));
      }
    }
    return found;
  }

  uint64_t Number(std::string_view name, int64_t fallback = -1) const {
    const std::vector<std::string> found = All(name);
    if (!found.empty()) return std::strtoull(found[0].c_str(), nullptr, 10);
    if (fallback < 0) Fail("missing argument", std::string(name).c_str());
    return static_cast<uint64_t>(fallback);
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> files = All("file");
    if (files.empty()) Fail("missing argument", "file");
    return files;
  }

 private:
  std::vector<std::string_view> values_;
};

// xorshift64*: the same positions for the same seed on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DULL;
  }

 private:
  uint64_t state_;
};

// A formula that the JavaScript side repeats to compare checksums.
std::vector<uint8_t> Pattern(uint64_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint64_t i = 0; i < size; i++) bytes[i] = static_cast<uint8_t>(i * 31 + (i >> 8));
  return bytes;
}

struct Percentiles {
  double p50;
  double p99;
};

Percentiles PercentilesOf(std::vector<double>* samples) {
  std::sort(samples->begin(), samples->end());
  const size_t last = samples->size() - 1;
  return {(*samples)[last / 2], (*samples)[std::min(last, samples->size() * 99 / 100)]};
}

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

// Fills a group frame by frame: a copy of the payload and its CRC. The least that a log does between its caller and
// pwrite.
void FillFrames(std::vector<uint8_t>* group, const std::vector<uint8_t>& payloads, uint64_t frame) {
  constexpr uint64_t kHeaderBytes = 24;
  const uint64_t body = frame - kHeaderBytes;
  uint64_t next = 0;
  for (uint64_t at = 0; at + frame <= group->size(); at += frame) {
    uint8_t* to = group->data() + at;
    std::memcpy(to + kHeaderBytes, payloads.data() + next, body);
    const uint32_t crc = sealog::Crc32cExtend(0, to + sizeof(crc), frame - sizeof(crc));
    std::memcpy(to, &crc, sizeof(crc));
    next = next + 2 * body <= payloads.size() ? next + body : 0;
  }
}

void Append(const Arguments& arguments) {
  const uint64_t bytes = arguments.Number("bytes");
  const uint64_t group = arguments.Number("group");
  if (group == 0) Fail("group", "must be positive");
  const int fd = CreateFile(arguments.Files()[0]);
  constexpr uint64_t kPayloadBytes = 1 << 18;
  const uint64_t frame = arguments.Number("frame", 0);
  const std::vector<uint8_t> payloads = Pattern(kPayloadBytes);
  if (frame != 0 && (frame <= 24 || frame > kPayloadBytes)) Fail("frame", "must hold a header and a payload");
  std::vector<uint8_t> source = Pattern(group);
  Space space(fd, arguments.Number("preallocate", 0) != 0);
  BackgroundSync sync(fd, arguments.Number("syncMs", 1000));
  uint64_t groups = 0;

  const auto start = Clock::now();
  for (uint64_t position = 0; position < bytes; position += group) {
    const uint64_t length = std::min(group, bytes - position);
    if (frame != 0) FillFrames(&source, payloads, frame);
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
  const Percentiles percentiles = PercentilesOf(&samples);
  std::printf("{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64
              ",\"seconds\":%.9g,\"p50Seconds\":%.9g,\"p99Seconds\":%.9g}\n",
              count, count * bytes, seconds, percentiles.p50, percentiles.p99);
}

struct OpenFile {
  int fd;
  uint64_t begin;  // within the files laid one behind the other
  uint64_t size;
};

std::vector<OpenFile> OpenFiles(const Arguments& arguments) {
  std::vector<OpenFile> files;
  uint64_t begin = 0;
  for (const std::string& path : arguments.Files()) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) FailErrno(path.c_str());
    struct stat status;
    if (fstat(fd, &status) != 0) FailErrno(path.c_str());
    files.push_back({fd, begin, static_cast<uint64_t>(status.st_size)});
    begin += static_cast<uint64_t>(status.st_size);
  }
  return files;
}

void RandomReads(const Arguments& arguments) {
  const uint64_t size = arguments.Number("size");
  const uint64_t count = arguments.Number("count");
  const std::vector<OpenFile> files = OpenFiles(arguments);
  const uint64_t total = files.back().begin + files.back().size;
  if (count == 0 || total <= size) Fail("pread", "nothing to read");
  std::vector<uint8_t> into(size);
  Random random(arguments.Number("seed", 1));

  struct Read {
    int fd;
    off_t position;
  };
  std::vector<Read> reads(count);
  for (Read& read : reads) {
    const uint64_t at = random.Next() % (total - size);
    const auto behind = std::upper_bound(files.begin(), files.end(), at,
                                         [](uint64_t value, const OpenFile& file) { return value < file.begin; });
    const OpenFile& file = *(behind - 1);
    const uint64_t within = std::min(at - file.begin, file.size > size ? file.size - size : 0);
    read = {file.fd, static_cast<off_t>(within)};
  }
  std::vector<double> samples(count);

  uint64_t bytes = 0;
  const auto start = Clock::now();
  auto before = start;
  for (uint64_t i = 0; i < count; i++) {
    const ssize_t got = pread(reads[i].fd, into.data(), size, reads[i].position);
    if (got < 0) FailErrno("pread");
    bytes += static_cast<uint64_t>(got);
    const auto now = Clock::now();
    samples[i] = std::chrono::duration<double>(now - before).count();
    before = now;
  }
  const double seconds = SecondsSince(start);

  const Percentiles percentiles = PercentilesOf(&samples);
  std::printf("{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64
              ",\"seconds\":%.9g,\"p50Seconds\":%.9g,\"p99Seconds\":%.9g}\n",
              count, bytes, seconds, percentiles.p50, percentiles.p99);
}

void Scan(const Arguments& arguments) {
  const uint64_t block = arguments.Number("block");
  const bool with_crc = arguments.Number("crc", 0) != 0;
  const std::vector<OpenFile> files = OpenFiles(arguments);
  std::vector<uint8_t> into(block);
  uint32_t crc = 0;
  uint64_t bytes = 0;

  const auto start = Clock::now();
  for (const OpenFile& file : files) {
    for (uint64_t position = 0; position < file.size;) {
      const ssize_t got = pread(file.fd, into.data(), block, static_cast<off_t>(position));
      if (got < 0) FailErrno("pread");
      if (got == 0) break;
      if (with_crc) crc = sealog::Crc32cExtend(crc, into.data(), static_cast<size_t>(got));
      position += static_cast<uint64_t>(got);
      bytes += static_cast<uint64_t>(got);
    }
  }
  const double seconds = SecondsSince(start);
  std::printf("{\"bytes\":%" PRIu64 ",\"seconds\":%.9g,\"crc\":%" PRIu32 "}\n", bytes, seconds, crc);
}

// Calls `once` until kMeasureSeconds have passed, after a warm-up of a tenth of that; bytes per second of the best
// tenth-sized slice. The best slice is the limit: what disturbs it is the machine, not the code.
template <typename Once>
double BestRate(uint64_t size, Once once) {
  constexpr double kSlice = kMeasureSeconds / 10;
  double best = 0;
  for (int slice = 0; slice <= 10; slice++) {
    uint64_t calls = 0;
    const auto start = Clock::now();
    double seconds = 0;
    while (seconds < kSlice) {
      for (int i = 0; i < 64; i++) once();
      calls += 64;
      seconds = SecondsSince(start);
    }
    if (slice > 0) best = std::max(best, static_cast<double>(calls * size) / seconds);
  }
  return best;
}

void Memcpy(const Arguments& arguments) {
  const uint64_t size = arguments.Number("size");
  const std::vector<uint8_t> source = Pattern(size);
  std::vector<uint8_t> target(size);
  const double rate = BestRate(size, [&] {
    std::memcpy(target.data(), source.data(), size);
    asm volatile("" : : "r"(target.data()) : "memory");  // or the compiler keeps one copy of many
  });
  std::printf("{\"size\":%" PRIu64 ",\"bytesPerSecond\":%.9g}\n", size, rate);
}

// The named implementation; or, without a name, the one that the log uses, which is the last.
void Crc(const Arguments& arguments) {
  const uint64_t size = arguments.Number("size");
  const std::vector<uint8_t> source = Pattern(size);
  sealog::Crc32cImplementation implementations[sealog::kMaxCrc32cImplementations];
  const size_t count = sealog::ListCrc32cImplementations(implementations);
  const uint32_t expected = sealog::Crc32cExtend(0, source.data(), size);

  const std::vector<std::string> names = arguments.All("implementation");
  size_t chosen = count - 1;
  while (!names.empty() && names[0] != implementations[chosen].name) {
    if (chosen-- == 0) Fail("this processor does not run", names[0].c_str());
  }
  const sealog::Crc32cFunction extend = implementations[chosen].extend;
  const uint32_t crc = extend(0, source.data(), size);
  if (crc != expected) Fail(implementations[chosen].name, "differs from Crc32cExtend");
  uint32_t sink = 0;
  const double rate = BestRate(size, [&] {
    sink ^= extend(0, source.data(), size);
    asm volatile("" : "+r"(sink) : : "memory");
  });
  std::printf("{\"size\":%" PRIu64 ",\"name\":\"%s\",\"bytesPerSecond\":%.9g,\"crc\":%" PRIu32 "}\n", size,
              implementations[chosen].name, rate, crc);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) Fail("usage", "raw_limits memcpy|crc|append|sync|pread|scan name=value …");
  const std::string_view command = argv[1];
  const Arguments arguments(argc - 2, argv + 2);
  if (command == "memcpy") {
    Memcpy(arguments);
  } else if (command == "crc") {
    Crc(arguments);
  } else if (command == "append") {
    Append(arguments);
  } else if (command == "sync") {
    Sync(arguments);
  } else if (command == "pread") {
    RandomReads(arguments);
  } else if (command == "scan") {
    Scan(arguments);
  } else {
    Fail("unknown command", argv[1]);
  }
  return 0;
}
