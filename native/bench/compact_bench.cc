// Input a second that one thread compacts from the page cache to memory, half of it dead, with an index of a million
// keys; and what the checks of its frames alone cost (a walk).
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>

#include "../core/compact.h"
#include "../core/walk.h"
#include "../os/posix_io.h"
#include "../test/segment_builder.h"

namespace {

constexpr size_t kInputBytes = 64 * 1024 * 1024;
constexpr size_t kKeys = 1'000'000;

int OpenUnnamed() {
  char path[] = "/dev/shm/sealog-compact-bench-XXXXXX";
  const int fd = mkstemp(path);
  if (fd >= 0) unlink(path);
  return fd;
}

template <typename Run>
double BestSeconds(Run run) {
  double best = 1e18;
  for (int round = 0; round < 9; round++) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (took.count() < best) best = took.count();
  }
  return best;
}

std::string KeyOf(size_t number) {
  char key[24];
  snprintf(key, sizeof key, "user:%010zu", number);
  return key;
}

bool Measure(sealog::Io& io, size_t record_bytes) {
  sealog::test::SegmentBuilder segment;
  sealog::IndexVersions versions;
  versions.push_back(std::make_unique<sealog::OrderedIndex>());
  const auto put = [&](const std::string& key, size_t offset) {
    versions[0]->Put({reinterpret_cast<const uint8_t*>(key.data()), key.size()}, static_cast<double>(offset));
  };
  for (size_t number = 0; number < kKeys; number++) put(KeyOf(number), 1'000'000'000 + number);
  std::mt19937 random(1);
  const size_t records = kInputBytes / record_bytes;
  double live = 0;
  for (size_t i = 0; i < records; i++) {
    const std::string key = KeyOf(random() % kKeys);
    segment.Record(std::string(record_bytes, 'v'), {.has_key = true, .key = key});
    if (random() % 2 == 0) put(key, i);
    if (i % 64 == 63) segment.Commit();
  }
  segment.Commit();
  const uint64_t end = segment.bytes.size();
  const int source = OpenUnnamed();
  const int out = OpenUnnamed();
  if (sealog::WriteFull(io, source, segment.bytes.data(), end, 0) != 0) return false;

  bool good = true;
  const double compacted = BestSeconds([&] {
    double numbers[sealog::kCompactLength] = {};
    numbers[sealog::kCompactSeed] = segment.seed;
    numbers[sealog::kCompactMaxRecord] = 1 << 24;
    numbers[sealog::kCompactTombstonesBefore] = -1;
    numbers[sealog::kCompactOutFd] = out;
    numbers[sealog::kCompactOutPosition] = static_cast<double>(sealog::kSegmentHeaderBytes);
    numbers[sealog::kCompactRunningTime] = numbers[sealog::kCompactMaxTime] = -1;
    numbers[sealog::kCompactFirstOffset] = numbers[sealog::kCompactLastOffset] = -1;
    numbers[sealog::kCompactMinTime] = HUGE_VAL;
    // A new file each time, as compaction has it.
    good = good && io.Ftruncate(out, 0) == 0 &&
           sealog::CompactFrames(io, source, sealog::kSegmentHeaderBytes, end, numbers, versions, nullptr) == 0 &&
           numbers[sealog::kCompactStop] == sealog::kStopEnd;
    live = numbers[sealog::kCompactKeptRecords] / static_cast<double>(records);
  });
  std::vector<uint8_t> work(256 * 1024);
  const double walked = BestSeconds([&] {
    std::vector<double> state = segment.State();
    good = good && sealog::WalkGroups(io, source, end, work.data(), work.size(), state.data(), nullptr, 0) == 0;
  });
  const auto rate = [&](double seconds) { return static_cast<double>(end) / seconds / 1e6; };
  std::printf("%8zu bytes a record, %2.0f %% live: compact %6.0f MB/s of input (%4.0f ns a record), walk %6.0f MB/s\n",
              record_bytes, live * 100, rate(compacted), compacted / static_cast<double>(records) * 1e9, rate(walked));
  for (const int fd : {source, out}) close(fd);
  return good;
}

}  // namespace

int main() {
  sealog::PosixIo io;
  for (const size_t record_bytes : {size_t{64}, size_t{256}, size_t{1024}, size_t{16384}}) {
    if (Measure(io, record_bytes)) continue;
    std::perror("compact_bench");
    return 1;
  }
  return 0;
}
