// RenderChunk over any bytes: the smallest buffers write what the largest write, and that is what a scan lists.
#include <string>

#include "../core/render.h"
#include "../core/scan.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;

namespace {

constexpr int kSource = 3;
constexpr int kContent = 4;
constexpr int kPositions = 5;

struct Query {
  int form;
  uint64_t from;
  uint64_t chunk_bytes;
};

struct Chunk {
  std::vector<double> numbers;
  std::vector<uint8_t> content;
  std::vector<uint8_t> positions;
};

Chunk Render(Input& input, const Query& query, const RenderBuffers& buffers) {
  input.io.written[kContent].clear();
  input.io.written[kPositions].clear();
  Chunk chunk{std::vector<double>(kRenderLength, 0), {}, {}};
  chunk.numbers[kRenderSeed] = kSeed;
  chunk.numbers[kRenderMaxRecord] = static_cast<double>(kMaxRecord);
  chunk.numbers[kRenderSparse] = input.sparse ? 1 : 0;
  chunk.numbers[kRenderFrom] = static_cast<double>(query.from);
  chunk.numbers[kRenderOffset] = -1;
  chunk.numbers[kRenderBatchFirst] = -1;
  chunk.numbers[kRenderForm] = query.form;
  chunk.numbers[kRenderChunkBytes] = static_cast<double>(query.chunk_bytes);
  chunk.numbers[kRenderContentFd] = kContent;
  chunk.numbers[kRenderPositionsFd] = kPositions;
  Require(RenderChunk(input.io, kSource, kSegmentHeaderBytes, input.io.bytes.size(), chunk.numbers.data(), nullptr,
                      buffers) == 0);
  chunk.content = input.io.written[kContent];
  chunk.positions = input.io.written[kPositions];
  return chunk;
}

// Without damage: with it the content may hold pieces of a record that is none.
bool IsWhole(const Chunk& chunk) {
  const double stop = chunk.numbers[kRenderStop];
  return stop == kStopEnd || stop == kStopFull || stop == kStopFooter || stop == kStopZero;
}

// The chunk from what a scan of the whole file lists.
void CompareWithScan(const Input& input, const Query& query, const Chunk& chunk) {
  test::MemoryIo io(input.io.bytes);
  std::vector<double> numbers(kScanLength, 0);
  numbers[kScanSeed] = kSeed;
  numbers[kScanOffset] = -1;
  numbers[kScanBatchFirst] = -1;
  numbers[kScanMaxRecord] = static_cast<double>(kMaxRecord);
  numbers[kScanSparse] = input.sparse ? 1 : 0;
  std::vector<uint8_t> bytes(input.io.bytes.size());
  std::vector<uint32_t> table(input.io.bytes.size() / kFrameHeaderBytes * kScanColumns + kScanColumns);
  Require(ScanFrames(io, kSource, kSegmentHeaderBytes, io.bytes.size(), bytes.data(), bytes.size(), numbers.data(),
                     table.data(), table.size()) == 0);
  std::string content = query.form == kFormJson ? "[" : "";
  std::string positions(kRenderPositionsStart, '\0');
  uint64_t count = 0;
  uint64_t payload = 0;
  double stop = numbers[kScanStop];
  for (size_t i = 0; i < static_cast<size_t>(numbers[kScanCount]); i++) {
    const uint32_t* row = table.data() + i * kScanColumns;
    const uint8_t* frame = bytes.data() + row[0];
    if (LoadU64(frame + kFrameOffsetAt) < query.from) continue;
    if (query.form == kFormJson && count > 0) content += ",";
    const uint64_t position[2] = {content.size(), LoadU64(frame + kFrameOffsetAt)};
    positions.append(reinterpret_cast<const char*>(position), input.sparse ? 16 : 8);
    if (frame[kFrameTypeAt] == kFrameRecord) {
      content.append(reinterpret_cast<const char*>(bytes.data()) + row[1], row[2]);
    } else if (query.form != kFormRaw) {
      content += "null";
    }
    if (query.form == kFormNdjson) content += "\n";
    count++;
    payload += row[2];
    if (query.chunk_bytes > 0 && payload >= query.chunk_bytes && (frame[kFrameFlagsAt] & kFlagBatchContinues) == 0) {
      stop = kStopFull;
      break;
    }
  }
  if (query.form == kFormJson) content += "]";
  Require(chunk.numbers[kRenderStop] == stop);
  Require(chunk.numbers[kRenderCount] == static_cast<double>(count));
  Require(chunk.numbers[kRenderPayload] == static_cast<double>(payload));
  if (!IsWhole(chunk)) return;
  Require(std::string(chunk.content.begin(), chunk.content.end()) == content);
  Require(chunk.numbers[kRenderCrc] == Crc32cExtend(0, content.data(), content.size()));
  if (count == 0) {
    Require(chunk.positions.empty());
  } else {
    Require(std::string(chunk.positions.begin(), chunk.positions.end()) == positions);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const Query query = {1 + static_cast<int>(size % 3), input.offset, input.position - kSegmentHeaderBytes};
  const Chunk large = Render(input, query, {64 * 1024, 4096, 4096});
  const Chunk small = Render(input, query, {input.room, input.room % 50 + 1, input.room % 30 + 1});
  const bool whole = IsWhole(large);
  for (const size_t i :
       {kRenderCount, kRenderLast, kRenderPayload, kRenderStop, kRenderNextPosition, kRenderNextOffset}) {
    Require(large.numbers[i] == small.numbers[i]);
  }
  Require(!whole ||
          (large.numbers == small.numbers && large.content == small.content && large.positions == small.positions));
  CompareWithScan(input, query, large);
  return 0;
}
