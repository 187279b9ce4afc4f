// FindGroup over any bytes: a group that is found is one that a walk from its start accepts, and none that a walk
// accepts is missed.
#include "../core/find_group.h"
#include "../core/walk.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

void RequireWalkable(Input& input, const std::vector<double>& found) {
  std::vector<double> state = FirstState(false);
  state[kStatePosition] = found[kFindGroupStart];
  state[kStateNextOffset] = found[kFindFirstOffset];
  state[kStateChain] = found[kFindPrevChain];
  std::vector<uint8_t> work(kMinWorkBytes);
  const auto end = static_cast<uint64_t>(found[kFindCommitPosition]) + kCommitFrameBytes;
  Require(WalkGroups(input.io, 3, end, work.data(), work.size(), state.data(), nullptr, 0) == 0);
  Require(state[kWalkStop] == kStopEnd && state[kStatePosition] == static_cast<double>(end));
  Require(state[kWalkGroups] + state[kWalkMarks] == 1);
  Require(state[kStateRecords] == found[kFindRecords] && state[kStateChain] == found[kFindChain]);
  Require(state[kStateNextOffset] == found[kFindEndOffset] && state[kWalkLastSynced] == found[kFindSyncedOffset]);
  Require(state[kStateEpoch] == found[kFindEpoch] && found[kFindSyncedOffset] <= found[kFindFirstOffset]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint64_t end = input.io.bytes.size();
  std::vector<double> found(kFindLength, 0);
  found[kFindSeed] = kSeed;
  found[kFindMaxRecord] = static_cast<double>(kMaxRecord);
  const int status = FindGroup(input.io, 3, input.position, end, found.data());
  Require(status == 0 || status == 1);
  if (status == 1) {
    Require(found[kFindCommitPosition] >= static_cast<double>(input.position));
    RequireWalkable(input, found);
  }

  // The last group of a walk from the start: what FindGroup says from its commit frame on must name it, unless it was
  // found to be synced further than a group can know.
  std::vector<double> state = FirstState(false);
  std::vector<uint8_t> work(kMinWorkBytes);
  Require(WalkGroups(input.io, 3, end, work.data(), work.size(), state.data(), nullptr, 0) == 0);
  if (state[kWalkLastCommit] < 0 || state[kWalkLastSynced] > static_cast<double>(kBaseOffset)) return 0;
  const auto commit = static_cast<uint64_t>(state[kWalkLastCommit]);
  Require(FindGroup(input.io, 3, commit, end, found.data()) == 1);
  Require(found[kFindCommitPosition] == static_cast<double>(commit));
  return 0;
}
