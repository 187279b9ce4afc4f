// Compaction against what docs/format.md says of sparse segments: batches, tombstones, several versions of the index,
// slices and buffers of any size, compacted segments compacted again.
#include <algorithm>
#include <random>

#include "compact_fixture.h"

using namespace sealog;
using namespace sealog::test;

namespace {

const CompactBuffers kBuffers[] = {{128, 1}, {136, 7}, {256, 4096}, {}};

void CheckAll(const SegmentBuilder& segment, const Query& query) {
  MemoryIo io(segment.bytes);
  const Expected expected = Expect(segment, query);
  for (const CompactBuffers& buffers : kBuffers) {
    for (const size_t longest_read : {size_t{5}, SIZE_MAX}) {
      io.longest_read = longest_read;
      CheckResult(Run(io, io, segment.seed, query, buffers), expected);
    }
  }
  CHECK(OffsetsIn(expected.bytes) == expected.offsets);
}

// Keys "a" to "f" over and over, alone and in batches, with tombstones and records without a key.
SegmentBuilder MixedSegment() {
  SegmentBuilder segment(100);
  std::mt19937 random(3);
  for (uint64_t i = 0; i < 60; i++) {
    RecordOptions options{.continues = i % 12 >= 5 && i % 12 < 10, .timestamp = 1000 + random() % 500};
    options.has_key = i % 7 != 3;
    options.key = std::string(1 + i % 3, static_cast<char>('a' + random() % 6));
    if (options.has_key && i % 5 == 2) options.type = kFrameTombstone;
    segment.Record(options.type == kFrameTombstone ? "" : std::string(random() % 40, 'v'), options);
    if (!options.continues && i % 4 == 0) segment.Commit();
  }
  segment.Commit();
  return segment;
}

// What the segment's records leave behind, up to the one with this offset.
Content Replay(const SegmentBuilder& segment, uint64_t end = UINT64_MAX) {
  Content content;
  for (const BuiltRecord& record : segment.records) {
    if (record.offset >= end || !record.has_key) continue;
    content.erase(record.key);
    if (TypeOf(segment, record) == kFrameRecord) content[record.key] = static_cast<double>(record.offset);
  }
  return content;
}

void TestWhatIsNeeded() {
  const SegmentBuilder segment = MixedSegment();
  const Content newest = Replay(segment);
  const Content half = Replay(segment, 130);
  Content later = newest;
  for (auto& [key, offset] : later) offset += 1000;
  for (const std::vector<Content>& contents :
       {std::vector{newest}, {Content{}}, {later}, {newest, half}, {later, half, newest}}) {
    for (const double before : {-1.0, 0.0, 1250.0, 1e9}) {
      CheckAll(segment, {.contents = contents, .tombstones_before = before, .offset = 100});
    }
  }
  // Nothing is left, and nothing there was.
  MemoryIo io(segment.bytes);
  SegmentBuilder dead;
  for (int i = 0; i < 10; i++) dead.Record("v", {.has_key = true, .key = "k"});
  dead.Commit();
  CheckAll(dead, {.contents = {{{"k", 10.0}}}});
  const Result none = Run(io, io, segment.seed, {.contents = {newest}, .end = kSegmentHeaderBytes}, {});
  CHECK_EQ(StopOf(none), kStopEnd);
  CHECK(none.bytes == OutHeader().bytes);
  CHECK_EQ(none.numbers[kCompactNextOffset], -1.0);
}

void TestTombstones() {
  struct Case {
    // Of the key in the newest version, -1: not there.
    double newest;
    double before;
    bool kept;
  };
  for (const Case& each : {Case{-1, -1, true},
                           {-1, 1000, true},
                           {-1, 1001, false},
                           {0, -1, true},
                           {0, 1001, true},
                           {2, -1, false},
                           {2, 1001, false}}) {
    SegmentBuilder segment;
    segment.Record("older", {.has_key = true, .key = "key"});
    segment.Record("", {.type = kFrameTombstone, .has_key = true, .key = "key"});
    segment.Commit();
    Content content{{"other", 7}};
    if (each.newest >= 0) content["key"] = each.newest;
    MemoryIo io(segment.bytes);
    const Result result = Run(io, io, segment.seed, {.contents = {content}, .tombstones_before = each.before}, {});
    CHECK_EQ(result.numbers[kCompactKeptTombstones], each.kept ? 1.0 : 0.0);
    CHECK_EQ(result.numbers[kCompactKeptRecords], (each.kept ? 1.0 : 0.0) + (each.newest == 0 ? 1.0 : 0.0));
  }
}

void TestSlices() {
  const SegmentBuilder segment = MixedSegment();
  MemoryIo io(segment.bytes);
  Query query{.contents = {Replay(segment)}, .tombstones_before = 1250, .offset = 100};
  const Expected expected = Expect(segment, query);
  int slices = 0;
  for (uint64_t slice = 1; slice < 4000; slice += slice < 300 ? 1 : 100) {
    query.slice_bytes = slice;
    const Result result = Run(io, io, segment.seed, query, {256, 100});
    CheckResult(result, expected);
    CHECK(OffsetsIn(result.bytes) == expected.offsets);
    CHECK_EQ(result.numbers[kCompactOutPosition], static_cast<double>(result.bytes.size()));
    slices += result.slices;
    // Without a file the count is the same.
    Query count = query;
    count.out = -1;
    const Result counted = Run(io, io, segment.seed, count, {});
    CHECK(counted.bytes == OutHeader().bytes);
    for (size_t i = kCompactOutPosition; i < kCompactNextOffset; i++) CHECK_EQ(counted.numbers[i], result.numbers[i]);
  }
  CHECK(slices > 500);
}

void TestCompactedAgain() {
  const SegmentBuilder segment = MixedSegment();
  const Content newest = Replay(segment);
  const Query first{.contents = {newest, Replay(segment, 115), Replay(segment, 140)}};
  const SegmentBuilder once = Reread(Expect(segment, first).bytes);
  const Query second{.contents = {newest}, .tombstones_before = 1250, .sparse = true, .offset = 100};
  CheckAll(once, second);
  // The way makes no difference.
  Query straight = second;
  straight.sparse = false;
  CHECK(Expect(once, second).bytes == Expect(segment, straight).bytes);
  MemoryIo io(once.bytes);
  CHECK_EQ(StopOf(Run(io, io, once.seed, {.contents = {newest}}, {})), kStopNewer);
}

void TestLargeRecordsAndGroups() {
  SegmentBuilder segment;
  const std::string large(700'001, 'l');
  for (int i = 0; i < 4; i++)
    segment.Record(large, {.continues = i < 3, .has_key = i % 2 == 0, .key = std::string(60'000, 'k')});
  segment.Record("between");
  segment.Record(std::string(300'000, 'm'));
  segment.Commit();
  for (int i = 0; i < 9000; i++) {
    segment.Record(std::string(300, 's'), {.has_key = true, .key = std::to_string(i % 6000)});
    if (i % 1000 == 999) segment.Commit();
  }
  MemoryIo io(segment.bytes);
  Query query{.contents = {Replay(segment)}, .offset = 0};
  const Expected expected = Expect(segment, query);
  for (const CompactBuffers& buffers : {CompactBuffers{}, {4096, 1000}}) {
    CheckResult(Run(io, io, segment.seed, query, buffers), expected);
  }
  CHECK(OffsetsIn(expected.bytes) == expected.offsets);
  query.slice_bytes = 1'000'000;
  const Result sliced = Run(io, io, segment.seed, query, {});
  CHECK_EQ(sliced.slices, 5);
  CheckResult(sliced, expected);
  CHECK(OffsetsIn(sliced.bytes) == expected.offsets);
}

}  // namespace

int main() {
  TestWhatIsNeeded();
  TestTombstones();
  TestSlices();
  TestCompactedAgain();
  TestLargeRecordsAndGroups();
  return Finish();
}
