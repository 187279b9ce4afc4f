// Payload a second that one thread renders from the page cache to memory, and what its parts cost: the frames' checks
// alone (a walk) and the checksum of the content.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "../core/checksum.h"
#include "../core/render.h"
#include "../core/walk.h"
#include "../os/posix_io.h"
#include "../test/segment_builder.h"

namespace {

constexpr size_t kPayloadBytes = 64 * 1024 * 1024;

int OpenUnnamed() {
  char path[] = "/dev/shm/sealog-render-bench-XXXXXX";
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

bool Measure(sealog::Io& io, size_t record_bytes) {
  sealog::test::SegmentBuilder segment;
  const size_t records = kPayloadBytes / record_bytes;
  for (size_t i = 0; i < records; i++) {
    segment.Record(std::string(record_bytes, 'v'));
    if (i % 64 == 63) segment.Commit();
  }
  segment.Commit();
  const uint64_t end = segment.bytes.size();
  const int source = OpenUnnamed();
  const int content = OpenUnnamed();
  const int positions = OpenUnnamed();
  if (sealog::WriteFull(io, source, segment.bytes.data(), end, 0) != 0) return false;

  bool good = true;
  double numbers[sealog::kRenderLength] = {};
  const double rendered = BestSeconds([&] {
    numbers[sealog::kRenderSeed] = segment.seed;
    numbers[sealog::kRenderMaxRecord] = 1 << 24;
    numbers[sealog::kRenderBatchFirst] = -1;
    numbers[sealog::kRenderForm] = sealog::kFormNdjson;
    numbers[sealog::kRenderContentFd] = content;
    numbers[sealog::kRenderPositionsFd] = positions;
    // A new file each time, as sealing has it.
    good = good && io.Ftruncate(content, 0) == 0 && io.Ftruncate(positions, 0) == 0 &&
           sealog::RenderChunk(io, source, sealog::kSegmentHeaderBytes, end, numbers, nullptr) == 0 &&
           numbers[sealog::kRenderCount] == static_cast<double>(records);
  });
  std::vector<uint8_t> work(256 * 1024);
  const double walked = BestSeconds([&] {
    std::vector<double> state = segment.State();
    good = good && sealog::WalkGroups(io, source, end, work.data(), work.size(), state.data(), nullptr, 0) == 0;
  });
  const double summed =
      BestSeconds([&] { good = good && sealog::ChecksumFile(io, content, 0, UINT64_MAX, numbers, nullptr) == 0; });
  const auto rate = [](double seconds) { return kPayloadBytes / seconds / 1e6; };
  std::printf("%8zu bytes a record: render %6.0f MB/s of payload, walk %6.0f MB/s, checksum %6.0f MB/s\n", record_bytes,
              rate(rendered), rate(walked), rate(summed));
  for (const int fd : {source, content, positions}) close(fd);
  return good;
}

}  // namespace

int main() {
  sealog::PosixIo io;
  for (const size_t record_bytes : {size_t{64}, size_t{256}, size_t{1024}, size_t{16384}, size_t{1048576}}) {
    if (Measure(io, record_bytes)) continue;
    std::perror("render_bench");
    return 1;
  }
  return 0;
}
