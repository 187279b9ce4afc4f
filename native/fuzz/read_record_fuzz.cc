// ReadRecord and ReadMany over any bytes: a record that is read is the one that a scan lists.
#include "../core/read_many.h"
#include "../core/read_record.h"
#include "../core/scan.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

// Finds the record by verifying everything on the way; false when a scan does not get there.
bool ScanFor(Input& input, uint64_t* position, uint64_t* batch_first, std::vector<uint8_t>* value) {
  std::vector<double> numbers(kScanLength, 0);
  numbers[kScanSeed] = kSeed;
  numbers[kScanOffset] = static_cast<double>(kBaseOffset);
  numbers[kScanBatchFirst] = -1;
  numbers[kScanFrom] = static_cast<double>(input.offset);
  numbers[kScanMaxRecord] = 1 << 30;
  numbers[kScanSparse] = input.sparse ? 1 : 0;
  std::vector<uint8_t> bytes(input.io.bytes.size());
  uint32_t row[kScanColumns];
  Require(ScanFrames(input.io, 3, kSegmentHeaderBytes, bytes.size(), bytes.data(), bytes.size(), numbers.data(), row,
                     kScanColumns) == 0);
  if (numbers[kScanCount] != 1 || LoadU64(bytes.data() + row[0] + 8) != input.offset) return false;
  *position = kSegmentHeaderBytes + row[0];
  *batch_first = input.offset - row[3];
  value->assign(bytes.begin() + row[1], bytes.begin() + row[1] + row[2]);
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint64_t end = input.io.bytes.size();
  uint64_t position = 0;
  uint64_t batch_first = 0;
  std::vector<uint8_t> value;
  const bool listed = ScanFor(input, &position, &batch_first, &value);

  std::vector<double> out(kOutLength, 0);
  std::vector<uint8_t> bytes(input.room);
  const int status = ReadRecord(input.io, 3, kSeed, kSegmentHeaderBytes, end, kBaseOffset, -1, input.offset,
                                input.sparse, bytes.data(), bytes.size(), out.data());
  Require(status >= kReadOk && status <= kReadNewer);
  if (status == kReadOk) {
    RequireGoodFrame(input.io.bytes, static_cast<uint64_t>(out[kOutFramePosition]), input.offset);
    Require(out[kOutValueStart] + out[kOutValueLength] <= static_cast<double>(bytes.size()));
    Require(out[kOutKeyLength] < 0 || out[kOutKeyStart] + out[kOutKeyLength] == out[kOutValueStart]);
  }
  if (listed) {
    Require(status == kReadOk || status == kReadLarge);
    Require(out[kOutFramePosition] == static_cast<double>(position));
    if (status == kReadOk) {
      // Sparse segments name the batch in each of its records; one that does not is not what sealog writes.
      if (!input.sparse) Require(out[kOutBatchFirst] == static_cast<double>(batch_first));
      Require(out[kOutValueLength] == static_cast<double>(value.size()));
      Require(std::equal(value.begin(), value.end(), bytes.begin() + static_cast<long>(out[kOutValueStart])));
    }
  }

  double rows[2 * kManyWidth] = {};
  for (double* row : {rows, rows + kManyWidth}) {
    row[kManySeed] = kSeed;
    row[kManyPosition] = static_cast<double>(listed ? position : input.position);
    row[kManyEnd] = static_cast<double>(end);
    row[kManyOffset] = static_cast<double>(input.offset);
    row[kManyBatchFirst] = -1;
  }
  Require(ReadMany(input.io, rows, 2, bytes.data(), bytes.size()) == 0);
  for (const double* row : {rows, rows + kManyWidth}) {
    Require(row[kManyStatus] >= kReadOk && row[kManyStatus] <= kReadNoRoom);
    if (listed) Require(row[kManyStatus] == kReadOk || row[kManyStatus] == kReadNoRoom);
    if (row[kManyStatus] != kReadOk) continue;
    Require(row[kManyValueStart] + row[kManyValueLength] <= static_cast<double>(bytes.size()));
    Require(LoadU64(bytes.data() + static_cast<size_t>(row[kManyFrameStart]) + 8) == input.offset);
  }
  return 0;
}
