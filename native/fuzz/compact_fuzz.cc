// CompactFrames over any bytes: the smallest buffers write what the largest write, slices keep the same records, and
// what was written without damage is a good sparse segment of them.
#include "../core/compact.h"
#include "../core/walk.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

constexpr int kSource = 3;
constexpr int kOut = 4;
constexpr uint32_t kOutSeed = 0x0C0FFEE;

struct Result {
  std::vector<double> numbers;
  std::vector<uint8_t> bytes;
};

Result Compact(Input& input, const IndexVersions& versions, uint64_t slice_bytes, const CompactBuffers& buffers) {
  input.io.written[kOut].assign(kSegmentHeaderBytes, 0);
  Result result{std::vector<double>(kCompactLength, 0), {}};
  double* numbers = result.numbers.data();
  numbers[kCompactSeed] = kSeed;
  numbers[kCompactMaxRecord] = static_cast<double>(kMaxRecord);
  numbers[kCompactSparse] = input.sparse ? 1 : 0;
  numbers[kCompactOffset] = -1;
  numbers[kCompactSliceBytes] = static_cast<double>(slice_bytes);
  numbers[kCompactTombstonesBefore] = static_cast<double>(input.room);
  numbers[kCompactOutFd] = kOut;
  numbers[kCompactOutSeed] = kOutSeed;
  numbers[kCompactOutEpoch] = 1;
  numbers[kCompactOutPosition] = static_cast<double>(kSegmentHeaderBytes);
  numbers[kCompactRunningTime] = numbers[kCompactMaxTime] = -1;
  numbers[kCompactFirstOffset] = numbers[kCompactLastOffset] = -1;
  numbers[kCompactMinTime] = HUGE_VAL;
  uint64_t position = kSegmentHeaderBytes;
  do {
    Require(CompactFrames(input.io, kSource, position, input.io.bytes.size(), numbers, versions, nullptr, buffers) ==
            0);
    position = static_cast<uint64_t>(numbers[kCompactNextPosition]);
  } while (numbers[kCompactStop] == kStopFull);
  result.bytes = input.io.written[kOut];
  return result;
}

void RequireGoodSegment(const Result& result) {
  const std::vector<double>& numbers = result.numbers;
  test::MemoryIo io(result.bytes);
  std::vector<double> state = FirstState(true);
  state[kStateSeed] = kOutSeed;
  state[kStateNextOffset] = 0;
  std::vector<uint8_t> work(kMinWorkBytes);
  Require(WalkGroups(io, kSource, io.bytes.size(), work.data(), work.size(), state.data(), nullptr, 0) == 0);
  Require(state[kWalkStop] == kStopEnd);
  Require(state[kStatePosition] == numbers[kCompactOutPosition]);
  Require(state[kStateRecords] == numbers[kCompactKeptRecords]);
  Require(state[kStateChain] == numbers[kCompactOutChain]);
  Require(state[kStateMinTime] == numbers[kCompactMinTime]);
  Require(state[kStateMaxTime] == numbers[kCompactMaxTime]);
  Require(state[kStateRecords] == 0 || state[kStateNextOffset] == numbers[kCompactLastOffset] + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  // Every key of one byte is somewhere: about half of them live, all in one version or the other.
  IndexVersions versions;
  for (int i = 0; i < 2; i++) versions.push_back(std::make_unique<OrderedIndex>());
  for (unsigned byte = 0; byte < 256; byte++) {
    const auto key = static_cast<uint8_t>(byte);
    versions[byte % 2]->Put({&key, 1}, static_cast<double>(input.offset + byte % 8));
  }
  const Result large = Compact(input, versions, 0, {64 * 1024, 4096});
  const Result small = Compact(input, versions, 0, {input.room, input.room % 50 + 1});
  const bool whole = large.numbers[kCompactStop] == kStopEnd;
  for (size_t i = kCompactOutPosition; i < kCompactLength; i++) Require(large.numbers[i] == small.numbers[i]);
  Require(!whole || large.bytes == small.bytes);
  if (!whole) return 0;
  RequireGoodSegment(large);
  const Result sliced = Compact(input, versions, input.room, {64 * 1024, 4096});
  for (size_t i = kCompactRunningTime; i < kCompactStop; i++) Require(large.numbers[i] == sliced.numbers[i]);
  RequireGoodSegment(sliced);
  return 0;
}
