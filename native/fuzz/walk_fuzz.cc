// WalkGroups over any bytes: the smallest buffer sees what the largest sees, and a walk that is taken up again where it
// stopped for room ends in the same state.
#include "../core/walk.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

struct Walked {
  std::vector<double> numbers;
  std::vector<double> entries;
};

Walked WalkAll(Input& input, size_t work_bytes, size_t entry_room) {
  Walked walked{FirstState(input.sparse), {}};
  std::vector<uint8_t> work(work_bytes);
  std::vector<double> entries(entry_room * kEntryWidth);
  double groups = 0;
  double marks = 0;
  for (;;) {
    const double before = walked.numbers[kStatePosition];
    Require(WalkGroups(input.io, 3, input.io.bytes.size(), work.data(), work.size(), walked.numbers.data(),
                       entries.data(), entries.size()) == 0);
    const auto count = static_cast<size_t>(walked.numbers[kWalkEntries]);
    Require(count <= entry_room);
    for (size_t i = 0; i < count; i++) {
      const double* entry = entries.data() + i * kEntryWidth;
      RequireGoodFrame(input.io.bytes, static_cast<uint64_t>(entry[1]), static_cast<uint64_t>(entry[0]));
      Require(entry[2] <= entry[0] && entry[1] < walked.numbers[kStatePosition]);
      walked.entries.insert(walked.entries.end(), entry, entry + kEntryWidth);
    }
    groups += walked.numbers[kWalkGroups];
    marks += walked.numbers[kWalkMarks];
    const double after = walked.numbers[kStatePosition];
    Require(after >= before && after <= walked.numbers[kWalkStopPosition]);
    Require(walked.numbers[kWalkStopPosition] <= static_cast<double>(input.io.bytes.size()));
    if (walked.numbers[kWalkStop] != kStopTableFull || after == before) break;
  }
  walked.numbers[kWalkGroups] = groups;
  walked.numbers[kWalkMarks] = marks;
  return walked;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const Walked large = WalkAll(input, input.io.bytes.size() + kMinWorkBytes, 512);
  const Walked small = WalkAll(input, input.room, 512);
  Require(large.numbers == small.numbers && large.entries == small.entries);
  const Walked few = WalkAll(input, input.room, 4);
  if (few.numbers[kWalkStop] != kStopTableFull) {
    for (size_t i = 0; i < kStateLength; i++) Require(few.numbers[i] == large.numbers[i]);
    Require(few.entries == large.entries);
  }
  return 0;
}
