// ScanFrames over any bytes: what it lists is good, and a small buffer finds what a large one finds.
#include "../core/scan.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

struct Listed {
  std::vector<uint64_t> frames;
  std::vector<uint32_t> rest;
  uint64_t position;
  int stop;
  double next_offset;
  double batch_first;

  bool operator==(const Listed&) const = default;
};

Listed ScanAll(Input& input, size_t room, size_t rows) {
  std::vector<double> numbers(kScanLength, 0);
  numbers[kScanSeed] = kSeed;
  numbers[kScanOffset] = -1;
  numbers[kScanBatchFirst] = -1;
  numbers[kScanMaxRecord] = static_cast<double>(kMaxRecord);
  numbers[kScanSparse] = input.sparse ? 1 : 0;
  std::vector<uint8_t> bytes(room);
  std::vector<uint32_t> table(rows * kScanColumns);
  const uint64_t end = input.io.bytes.size();
  Listed listed{{}, {}, kSegmentHeaderBytes, kStopEnd, -1, -1};
  for (;;) {
    Require(ScanFrames(input.io, 3, listed.position, end, bytes.data(), bytes.size(), numbers.data(), table.data(),
                       table.size()) == 0);
    const auto count = static_cast<size_t>(numbers[kScanCount]);
    Require(count <= rows && numbers[kScanBatchEnd] <= numbers[kScanCount]);
    for (size_t i = 0; i < count; i++) {
      const uint32_t* row = table.data() + i * kScanColumns;
      Require(uint64_t{row[1]} + row[2] <= bytes.size());
      const uint64_t position = listed.position + row[0];
      RequireGoodFrame(input.io.bytes, position, LoadU64(bytes.data() + row[0] + 8));
      listed.frames.push_back(position);
      listed.rest.insert(listed.rest.end(), {row[1] - row[0], row[2], row[3]});
    }
    const auto next = static_cast<uint64_t>(numbers[kScanNextPosition]);
    Require(next >= listed.position && next <= end);
    listed.stop = static_cast<int>(numbers[kScanStop]);
    listed.next_offset = numbers[kScanNextOffset];
    listed.batch_first = numbers[kScanNextBatchFirst];
    if (listed.stop == kStopLarge) {
      const auto needed = static_cast<size_t>(numbers[kScanNeeded]);
      Require(next == listed.position && needed > bytes.size() && needed <= end);
      bytes.resize(needed);
      continue;
    }
    const bool goes_on = listed.stop == kStopTableFull || (listed.stop == kStopEnd && next < end);
    Require(!goes_on || next > listed.position);
    listed.position = next;
    if (!goes_on) return listed;
    numbers[kScanOffset] = listed.next_offset;
    numbers[kScanBatchFirst] = listed.batch_first;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const Listed small = ScanAll(input, input.room, 3);
  const Listed large = ScanAll(input, input.io.bytes.size() + 1, 4096);
  Require(small == large);
  return 0;
}
