// What the readers cost beyond their reads: a scan and a walk of 256-byte records, single records by index entry.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "../core/read_record.h"
#include "../core/scan.h"
#include "../core/walk.h"
#include "../os/posix_io.h"
#include "../test/segment_builder.h"

namespace {

constexpr size_t kRecords = 100000;

template <typename Run>
double BestNanoseconds(double operations, Run run) {
  double best = 1e18;
  for (int round = 0; round < 9; round++) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    if (took.count() / operations < best) best = took.count() / operations;
  }
  return best;
}

}  // namespace

int main() {
  sealog::test::SegmentBuilder segment;
  for (size_t i = 0; i < kRecords; i++) {
    segment.Record(std::string(256, 'v'));
    if (i % 64 == 63) segment.Commit();
  }
  segment.Commit();
  char path[] = "/dev/shm/sealog-read-bench-XXXXXX";
  const int fd = mkstemp(path);
  sealog::PosixIo io;
  if (fd < 0 || unlink(path) != 0 || sealog::WriteFull(io, fd, segment.bytes.data(), segment.bytes.size(), 0) != 0) {
    std::perror(path);
    return 1;
  }
  const uint64_t end = segment.bytes.size();

  std::vector<uint8_t> bytes(256 * 1024);
  std::vector<uint32_t> table(4096 * sealog::kScanColumns);
  std::vector<double> numbers(sealog::kScanLength, 0);
  numbers[sealog::kScanSeed] = segment.seed;
  numbers[sealog::kScanOffset] = -1;
  numbers[sealog::kScanBatchFirst] = -1;
  numbers[sealog::kScanMaxRecord] = 1 << 24;
  size_t listed = 0;
  const double scan = BestNanoseconds(kRecords, [&] {
    listed = 0;
    for (uint64_t at = sealog::kSegmentHeaderBytes; at < end;) {
      sealog::ScanFrames(io, fd, at, end, bytes.data(), bytes.size(), numbers.data(), table.data(), table.size());
      listed += static_cast<size_t>(numbers[sealog::kScanCount]);
      at = static_cast<uint64_t>(numbers[sealog::kScanNextPosition]);
    }
  });
  const double bare = BestNanoseconds(kRecords, [&] {
    for (uint64_t at = 0; at < end; at += bytes.size()) io.Pread(fd, bytes.data(), bytes.size(), at);
  });
  std::printf("scan   %6.1f ns a record of 256 bytes (pread alone %.1f), %zu listed\n", scan, bare, listed);

  std::vector<double> state;
  const double walk = BestNanoseconds(kRecords, [&] {
    state = segment.State();
    sealog::WalkGroups(io, fd, end, bytes.data(), bytes.size(), state.data(), nullptr, 0);
  });
  std::printf("walk   %6.1f ns a record, %.0f records\n", walk, state[sealog::kStateRecords]);

  std::mt19937 random(1);
  std::vector<uint8_t> copy(128 * 1024);
  std::vector<double> out(sealog::kOutLength);
  std::vector<size_t> order(kRecords);
  for (auto& i : order) i = random() % kRecords;
  size_t found = 0;
  const double read = BestNanoseconds(kRecords, [&] {
    found = 0;
    for (const size_t i : order) {
      const auto& entry = segment.records[i - i % 14];
      found += sealog::ReadRecord(io, fd, segment.seed, entry.position, end, entry.offset, -1, i, false, copy.data(),
                                  copy.size(), out.data()) == sealog::kReadOk;
    }
  });
  const double window = BestNanoseconds(kRecords, [&] {
    for (const size_t i : order) io.Pread(fd, copy.data(), 8192, segment.records[i - i % 14].position);
  });
  std::printf("record %6.1f ns, its pread alone %.1f, %zu found\n", read, window, found);
  return close(fd);
}
