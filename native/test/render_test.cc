// Content and positions of sealed chunks against what the records say, through buffers of any size, with damage and
// with system calls that fail; checksums of files; and the pool that both run on.
#include "../core/render.h"

#include <cmath>

#include "../core/file_request.h"
#include "../os/faulting_io.h"
#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

using namespace sealog;
using namespace sealog::test;

namespace {

constexpr int kSource = 3;
constexpr int kContent = 4;
constexpr int kPositions = 5;
constexpr uint64_t kMaxRecord = 1 << 24;

struct Query {
  int form = kFormJson;
  uint64_t chunk_bytes = 0;
  uint64_t from = 0;
  uint64_t position = kSegmentHeaderBytes;
  double offset = -1;
  double batch_first = -1;
  bool sparse = false;
  // 0: the end of the file.
  uint64_t end = 0;
};

struct Chunk {
  int status = 0;
  std::vector<double> numbers = std::vector<double>(kRenderLength, NAN);
  std::string content;
  std::string positions;
};

Chunk Run(Io& io, MemoryIo& memory, uint32_t seed, const Query& query, const RenderBuffers& buffers,
          const std::atomic<bool>* canceled = nullptr) {
  memory.written[kContent].clear();
  memory.written[kPositions].clear();
  Chunk chunk;
  double* numbers = chunk.numbers.data();
  numbers[kRenderSeed] = seed;
  numbers[kRenderMaxRecord] = static_cast<double>(kMaxRecord);
  numbers[kRenderSparse] = query.sparse ? 1 : 0;
  numbers[kRenderFrom] = static_cast<double>(query.from);
  numbers[kRenderOffset] = query.offset;
  numbers[kRenderBatchFirst] = query.batch_first;
  numbers[kRenderForm] = query.form;
  numbers[kRenderChunkBytes] = static_cast<double>(query.chunk_bytes);
  numbers[kRenderContentFd] = kContent;
  numbers[kRenderPositionsFd] = kPositions;
  const uint64_t end = query.end == 0 ? memory.bytes.size() : query.end;
  chunk.status = RenderChunk(io, kSource, query.position, end, numbers, canceled, buffers);
  const auto& content = memory.written[kContent];
  const auto& positions = memory.written[kPositions];
  chunk.content.assign(content.begin(), content.end());
  if (positions.size() > kRenderPositionsStart) {
    chunk.positions.assign(positions.begin() + kRenderPositionsStart, positions.end());
  }
  return chunk;
}

int StopOf(const Chunk& chunk) { return static_cast<int>(chunk.numbers[kRenderStop]); }

// What docs say, in the simplest way.
struct Expected {
  std::string content;
  std::string positions;
  uint64_t count = 0;
  double last = -1;
  uint64_t payload = 0;
  int stop = kStopEnd;
  uint64_t next_position = 0;
};

Expected Expect(const SegmentBuilder& segment, const Query& query) {
  Expected chunk;
  const uint64_t end = query.end == 0 ? segment.bytes.size() : query.end;
  chunk.next_position = end;
  if (query.form == kFormJson) chunk.content = "[";
  for (const BuiltRecord& record : segment.records) {
    if (record.offset < query.from || record.position < query.position || record.position >= end) continue;
    if (query.form == kFormJson && chunk.count > 0) chunk.content += ",";
    const uint64_t row[2] = {chunk.content.size(), record.offset};
    chunk.positions.append(reinterpret_cast<const char*>(row), query.sparse ? 16 : 8);
    const uint8_t* frame = segment.bytes.data() + record.position;
    if (frame[kFrameTypeAt] == kFrameTombstone) {
      chunk.content += query.form == kFormRaw ? "" : "null";
    } else {
      chunk.content += record.value;
    }
    if (query.form == kFormNdjson) chunk.content += "\n";
    chunk.count++;
    chunk.last = static_cast<double>(record.offset);
    chunk.payload += record.value.size();
    const bool continues = (frame[kFrameFlagsAt] & kFlagBatchContinues) != 0;
    if (query.chunk_bytes > 0 && !continues && chunk.payload >= query.chunk_bytes) {
      chunk.stop = kStopFull;
      chunk.next_position = record.position + record.frame_bytes;
      break;
    }
  }
  if (query.form == kFormJson) chunk.content += "]";
  return chunk;
}

void CheckChunk(const Chunk& chunk, const Expected& expected) {
  CHECK_EQ(chunk.status, 0);
  CHECK_EQ(StopOf(chunk), expected.stop);
  CHECK(chunk.content == expected.content);
  CHECK(chunk.positions == expected.positions);
  CHECK_EQ(chunk.numbers[kRenderCount], static_cast<double>(expected.count));
  CHECK_EQ(chunk.numbers[kRenderLast], expected.last);
  CHECK_EQ(chunk.numbers[kRenderPayload], static_cast<double>(expected.payload));
  CHECK_EQ(chunk.numbers[kRenderBytes], static_cast<double>(expected.content.size()));
  CHECK_EQ(chunk.numbers[kRenderCrc], Crc32cExtend(0, expected.content.data(), expected.content.size()));
  CHECK_EQ(chunk.numbers[kRenderPositionsCrc], Crc32cExtend(0, expected.positions.data(), expected.positions.size()));
  CHECK_EQ(chunk.numbers[kRenderNextPosition], static_cast<double>(expected.next_position));
}

const RenderBuffers kBuffers[] = {{128, 1, 1}, {136, 7, 20}, {256, 64, 16}, {}};

void CheckAll(const SegmentBuilder& segment, const Query& query) {
  MemoryIo io(segment.bytes);
  const Expected expected = Expect(segment, query);
  for (const RenderBuffers& buffers : kBuffers) {
    for (const size_t longest_read : {size_t{5}, SIZE_MAX}) {
      io.longest_read = longest_read;
      CheckChunk(Run(io, io, segment.seed, query, buffers), expected);
    }
  }
}

constexpr int kForms[] = {kFormJson, kFormNdjson, kFormRaw};

void TestFormsAndChunkSizes() {
  const SegmentBuilder segment = SmallSegment();
  for (const int form : kForms) {
    for (uint64_t chunk_bytes = 0; chunk_bytes < 100; chunk_bytes++) {
      CheckAll(segment, {.form = form, .chunk_bytes = chunk_bytes, .offset = 100});
    }
  }
  MemoryIo io(segment.bytes);
  CHECK(Run(io, io, segment.seed, {.chunk_bytes = 6}, {}).content == "[first,,a batch,of three rec,ords..]");
  CHECK(Run(io, io, segment.seed, {.form = kFormNdjson, .from = 106}, {}).content ==
        "null\nthe last record of the segment\n");
  const Chunk none = Run(io, io, segment.seed, {.end = kSegmentHeaderBytes}, {});
  CHECK(none.content == "[]" && none.positions.empty());
  CHECK_EQ(none.numbers[kRenderLast], -1.0);
  CHECK_EQ(none.numbers[kRenderNextOffset], -1.0);
  CHECK_EQ(none.numbers[kRenderPositionsCrc], 0.0);
  CHECK_EQ(Run(io, io, segment.seed, {.form = 4}, {}).status, -EINVAL);
  CHECK_EQ(Run(io, io, segment.seed, {}, {.window = 127}).status, -EINVAL);
}

void TestValuesOfEveryLength() {
  SegmentBuilder segment;
  for (size_t i = 0; i < 300; i++) {
    segment.Record(std::string(i, static_cast<char>('a' + i % 26)),
                   {.continues = i % 5 == 2, .has_key = i % 3 == 0, .key = std::string(i * 7 % 200, 'k')});
    if (i % 10 == 9) segment.Commit();
  }
  // A tombstone has no value; one that has shows that it counts as it does at the append, and is null all the same.
  segment.Record("", {.type = kFrameTombstone, .has_key = true, .key = std::string(500, 'k')});
  segment.Record(std::string(600, 'x'), {.type = kFrameTombstone, .has_key = true, .key = "k"});
  segment.Record("end");
  segment.Commit();
  for (const int form : kForms) {
    for (const uint64_t chunk_bytes : {uint64_t{0}, uint64_t{1}, uint64_t{3000}}) {
      CheckAll(segment, {.form = form, .chunk_bytes = chunk_bytes, .offset = 0});
    }
  }
}

// One chunk after the other, as sealing goes; and each from places before it.
void TestChunksOfASegment() {
  SegmentBuilder segment(50);
  for (size_t i = 0; i < 120; i++) {
    segment.Record(std::string(i * 37 % 61, 'v'), {.continues = i % 40 > 20 && i % 40 < 39});
    if (i % 40 == 39) segment.Commit();
  }
  MemoryIo io(segment.bytes);
  Query query{.form = kFormNdjson, .chunk_bytes = 100, .from = 50, .offset = 50};
  uint64_t records = 0;
  for (int stop = kStopFull; stop == kStopFull;) {
    CheckAll(segment, query);
    const Chunk chunk = Run(io, io, segment.seed, query, {});
    records += static_cast<uint64_t>(chunk.numbers[kRenderCount]);
    Query from_start = query;
    from_start.position = kSegmentHeaderBytes;
    from_start.offset = 50;
    CheckChunk(Run(io, io, segment.seed, from_start, {}), Expect(segment, from_start));
    stop = StopOf(chunk);
    query.position = static_cast<uint64_t>(chunk.numbers[kRenderNextPosition]);
    query.offset = chunk.numbers[kRenderNextOffset];
    query.from = static_cast<uint64_t>(query.offset);
  }
  CHECK_EQ(records, uint64_t{120});
  CHECK_EQ(query.from, uint64_t{170});
}

void TestStartsInTheMiddle() {
  const SegmentBuilder segment = SmallSegment();
  for (const BuiltRecord& record : segment.records) {
    const bool inside = record.batch_first < record.offset;
    const Query query{.from = record.offset,
                      .position = record.position,
                      .offset = static_cast<double>(record.offset),
                      .batch_first = inside ? static_cast<double>(record.batch_first) : -1.0};
    CheckAll(segment, query);
    Query wrong = query;
    wrong.offset++;
    MemoryIo io(segment.bytes);
    CHECK_EQ(StopOf(Run(io, io, segment.seed, wrong, {})), kStopOrder);
    Query before = query;
    before.end = record.position;
    CHECK_EQ(Run(io, io, segment.seed, before, {}).content, "[]");
  }
}

void TestSparseSegments() {
  SegmentBuilder segment(7);
  for (int64_t i = 0; i < 30; i++) {
    segment.next_offset += static_cast<uint64_t>(i % 4);
    segment.Record(std::to_string(i), {.continues = i % 5 != 4, .has_key = true, .key = "key", .batch_index = i % 5});
    if (i % 10 == 9) segment.Commit();
  }
  for (const int form : kForms) {
    for (const uint64_t chunk_bytes : {0, 3, 8, 1000}) {
      // The last is the offset of no record.
      for (const uint64_t from : {uint64_t{7}, segment.records[5].offset, segment.records[9].offset + 1}) {
        CheckAll(segment, {.form = form, .chunk_bytes = chunk_bytes, .from = from, .offset = 7, .sparse = true});
      }
    }
  }
  MemoryIo io(segment.bytes);
  CHECK_EQ(StopOf(Run(io, io, segment.seed, {}, {})), kStopNewer);
}

void TestStopsAtTheFooter() {
  SegmentBuilder segment = SmallSegment();
  Expected expected = Expect(segment, {});
  expected.stop = kStopFooter;
  segment.Footer();
  MemoryIo io(segment.bytes);
  CheckChunk(Run(io, io, segment.seed, {}, {}), expected);
  expected.stop = kStopZero;
  io.bytes.resize(static_cast<size_t>(expected.next_position));
  io.bytes.resize(io.bytes.size() + 64);
  CheckChunk(Run(io, io, segment.seed, {}, {}), expected);
  // A file that is shorter than it is known to be.
  io.bytes.resize(static_cast<size_t>(expected.next_position));
  expected.stop = kStopFraming;
  CheckChunk(Run(io, io, segment.seed, {.end = expected.next_position + 1}, {}), expected);
}

void TestRecordsLargerThanAllBuffers() {
  SegmentBuilder segment;
  std::string large(3'000'001, ' ');
  for (size_t i = 0; i < large.size(); i++) large[i] = static_cast<char>('!' + i * 7 % 90);
  segment.Record("before", {.continues = true});
  segment.Record(large, {.has_key = true, .key = std::string(kKeyBytesLimit, 'k')});
  segment.Record(large.substr(0, 256 * 1024));
  segment.Record("", {.type = kFrameTombstone, .has_key = true, .key = "k"});
  segment.Record(large.substr(5, 600'000), {.type = kFrameTombstone, .has_key = true, .key = "k"});
  segment.Commit();
  MemoryIo io(segment.bytes);
  const RenderBuffers small{4096, 1000, 64};
  for (const int form : kForms) {
    for (const Query& query :
         {Query{.form = form}, Query{.form = form, .chunk_bytes = 7}, Query{.form = form, .from = 2}}) {
      const Expected expected = Expect(segment, query);
      CheckChunk(Run(io, io, segment.seed, query, {}), expected);
      CheckChunk(Run(io, io, segment.seed, query, small), expected);
    }
  }
  const uint64_t start = segment.records[1].position;
  const uint64_t length = segment.records[1].frame_bytes;
  const std::pair<uint64_t, int> damages[] = {{start + 30, kStopChecksum},
                                              {start + length / 2, kStopChecksum},
                                              {start + kFrameTypeAt, kStopChecksum},
                                              {start + kFrameOffsetAt + 7, kStopChecksum},
                                              {start + length - 1, kStopFraming}};
  CHECK(FrameBytes(large.size() + 2 + kKeyBytesLimit) - kFrameHeaderBytes > large.size() + 2 + kKeyBytesLimit);
  for (const auto& [at, stop] : damages) {
    io.bytes[at] ^= 0x40;
    const Chunk chunk = Run(io, io, segment.seed, {}, {});
    CHECK_EQ(chunk.status, 0);
    CHECK_EQ(StopOf(chunk), stop);
    CHECK_EQ(chunk.numbers[kRenderNextPosition], static_cast<double>(start));
    CHECK_EQ(chunk.numbers[kRenderCount], 1.0);
    CHECK_EQ(chunk.numbers[kRenderLast], 0.0);
    CHECK_EQ(chunk.numbers[kRenderPayload], 6.0);
    io.bytes[at] ^= 0x40;
  }
}

void TestEveryFlippedBit() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  for (const RenderBuffers& buffers : {RenderBuffers{128, 16, 16}, RenderBuffers{}}) {
    for (const Query& query : {Query{.offset = 100}, Query{.form = kFormRaw, .chunk_bytes = 20, .offset = 100},
                               Query{.from = 106, .offset = 100}}) {
      const Expected expected = Expect(segment, query);
      for (size_t bit = 0; bit < io.bytes.size() * 8; bit++) {
        const size_t byte = bit / 8;
        io.bytes[byte] ^= 1 << bit % 8;
        const Chunk chunk = Run(io, io, segment.seed, query, buffers);
        io.bytes[byte] ^= 1 << bit % 8;
        if (byte < kSegmentHeaderBytes || byte >= expected.next_position) {
          CheckChunk(chunk, expected);
          continue;
        }
        CHECK_EQ(chunk.status, 0);
        const int stop = StopOf(chunk);
        CHECK(stop == kStopChecksum || stop == kStopFraming || stop == kStopOrder);
        CHECK(chunk.numbers[kRenderNextPosition] <= static_cast<double>(byte));
      }
    }
  }
}

void TestFailingCalls() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo memory(segment.bytes);
  FaultingIo io(memory);
  const RenderBuffers buffers{128, 16, 24};
  const Expected expected = Expect(segment, {});
  for (const IoKind kind : {IoKind::kRead, IoKind::kWrite}) {
    io.ResetCounts();
    CheckChunk(Run(io, memory, segment.seed, {}, buffers), expected);
    const uint64_t calls = io.Count(kind);
    CHECK(calls >= 3);
    for (uint64_t nth = 1; nth <= calls; nth++) {
      io.Fault(kind, nth, ENOSPC, false, 0);
      CHECK_EQ(Run(io, memory, segment.seed, {}, buffers).status, -ENOSPC);
      io.ClearFaults();
      io.Fault(kind, nth, 0, true, 3);
      CheckChunk(Run(io, memory, segment.seed, {}, buffers), expected);
      io.ClearFaults();
    }
  }
  memory.written.erase(kPositions);
  double numbers[kRenderLength] = {};
  numbers[kRenderSeed] = segment.seed;
  numbers[kRenderMaxRecord] = kMaxRecord;
  numbers[kRenderForm] = kFormRaw;
  numbers[kRenderOffset] = 100;
  numbers[kRenderBatchFirst] = -1;
  numbers[kRenderContentFd] = kContent;
  for (const double fd : {-1.0, 1e300, double{kPositions}}) {
    numbers[kRenderPositionsFd] = fd;
    CHECK_EQ(RenderChunk(memory, kSource, kSegmentHeaderBytes, memory.bytes.size(), numbers, nullptr), -EBADF);
  }
}

// Turns a flag at the read with a number.
class CancelingIo final : public MemoryIo {
 public:
  CancelingIo(const std::vector<uint8_t>& content, long at) : MemoryIo(content), at_(at) {}
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override {
    if (reads + 1 == at_) canceled = true;
    return MemoryIo::Pread(fd, into, length, position);
  }
  std::atomic<bool> canceled{false};

 private:
  const long at_;
};

void TestCanceled() {
  SegmentBuilder segment;
  for (int i = 0; i < 50; i++) segment.Record(std::string(100, 'x'));
  segment.Record(std::string(10'000, 'x'));
  segment.Commit();
  const RenderBuffers buffers{256, 1000, 1000};
  CancelingIo whole(segment.bytes, 0);
  CHECK_EQ(Run(whole, whole, segment.seed, {}, buffers, &whole.canceled).status, 0);
  // In front of a frame, and within the large one.
  for (const long at : {1L, 20L, whole.reads - 10}) {
    CancelingIo io(segment.bytes, at);
    CHECK_EQ(Run(io, io, segment.seed, {}, buffers, &io.canceled).status, -ECANCELED);
    CHECK(io.reads <= at + 2);
  }
}

void TestRequest() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo io(segment.bytes);
  const Expected expected = Expect(segment, {});
  Chunk chunk = Run(io, io, segment.seed, {}, {});
  FileRequest request;
  request.operation = FileOperation::kRender;
  request.fd = kSource;
  request.a = static_cast<double>(kSegmentHeaderBytes);
  request.b = static_cast<double>(io.bytes.size());
  request.numbers = chunk.numbers.data();
  request.numbers_length = kRenderLength - 1;
  CHECK(CheckFileRequest(request) != nullptr);
  request.numbers_length = kRenderLength;
  CHECK(CheckFileRequest(request) == nullptr);
  io.written[kContent].clear();
  chunk.numbers[kRenderCrc] = 0;
  ExecuteFileRequest(io, &request);
  CHECK_EQ(request.status, int64_t{0});
  CheckChunk(chunk, expected);
  CHECK(std::string(io.written[kContent].begin(), io.written[kContent].end()) == expected.content);
}

}  // namespace

int main() {
  TestFormsAndChunkSizes();
  TestValuesOfEveryLength();
  TestChunksOfASegment();
  TestStartsInTheMiddle();
  TestSparseSegments();
  TestStopsAtTheFooter();
  TestRecordsLargerThanAllBuffers();
  TestEveryFlippedBit();
  TestFailingCalls();
  TestCanceled();
  TestRequest();
  return Finish();
}
