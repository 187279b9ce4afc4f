// Blocks of an archive: segments come back byte for byte, nothing damaged goes in, and damaged blocks are told from
// good ones without harm; dictionaries shared by threads.
#include "../core/pack.h"

#include <pthread.h>

#include <cmath>

#include "../core/file_request.h"
#include "../core/scan.h"
#include "../os/faulting_io.h"
#include "check.h"
#include "pack_fixture.h"

using namespace sealog;
using namespace sealog::test;

namespace {

// Records like those of a feed: much alike, with keys and batches, some of them larger than a window.
SegmentBuilder Feed(size_t records, size_t large = 0) {
  SegmentBuilder segment(1000);
  for (size_t i = 0; i < records; i++) {
    std::string value = "{\"id\":" + std::to_string(i * 7919) + ",\"name\":\"a name that repeats\",\"kind\":\"";
    value += std::string(i * 131 % 300, static_cast<char>('a' + i % 20)) + "\"}";
    if (large > 0 && i % 16 == 9) value.resize(large + i, 'z');
    segment.Record(value, {.continues = i % 5 == 1, .has_key = i % 3 == 0, .key = "key" + std::to_string(i % 40)});
    if (i % 10 == 9 && i % 5 != 1) segment.Commit();
  }
  segment.Record("", {.type = kFrameTombstone, .has_key = true, .key = "key"});
  segment.Commit();
  segment.Commit();
  segment.Footer();
  return segment;
}

SegmentBuilder SparseFeed() {
  SegmentBuilder segment(50);
  for (int64_t i = 0; i < 60; i++) {
    segment.next_offset += static_cast<uint64_t>(i % 4);
    segment.Record("sparse " + std::to_string(i), {.continues = i % 6 == 1, .batch_index = i % 3 == 0 ? 2 : -1});
    if (i % 12 == 11) segment.Commit();
  }
  segment.Commit();
  return segment;
}

std::vector<uint8_t> FramesOf(const SegmentBuilder& segment) {
  return {segment.bytes.begin() + static_cast<std::ptrdiff_t>(kSegmentHeaderBytes), segment.bytes.end()};
}

// The rows are about consecutive pieces of segment and archive, whole frames each, and name what a scan from there
// needs.
void CheckRows(const SegmentBuilder& segment, const Packed& packed, const PackQuery& query) {
  auto position = static_cast<double>(query.position);
  double out_position = 0;
  for (size_t block = 0; block < packed.blocks(); block++) {
    const double* row = packed.row(block);
    CHECK_EQ(row[kPackBlockPosition], position);
    CHECK_EQ(row[kPackBlockOutPosition], out_position);
    const auto start = static_cast<size_t>(position);
    const auto length = static_cast<size_t>(row[kPackBlockFrameBytes]);
    const uint64_t first = FrameBytes(LoadU32(segment.bytes.data() + start + 4));
    CHECK(static_cast<double>(length) <= query.block_bytes || length == first);
    std::vector<uint8_t> bytes(segment.bytes.begin() + static_cast<std::ptrdiff_t>(start),
                               segment.bytes.begin() + static_cast<std::ptrdiff_t>(start + length));
    double numbers[kScanLength] = {};
    numbers[kScanSeed] = segment.seed;
    numbers[kScanOffset] = row[kPackBlockOffset];
    numbers[kScanBatchFirst] = row[kPackBlockBatchFirst];
    numbers[kScanMaxRecord] = kMaxRecord;
    numbers[kScanSparse] = query.sparse ? 1 : 0;
    std::vector<uint32_t> table(4 * 4096);
    ScanBytes(start, start + length, bytes.data(), length, numbers, table.data(), table.size());
    const bool last = block + 1 == packed.blocks();
    CHECK(numbers[kScanStop] == kStopEnd || (last && numbers[kScanStop] == kStopFooter));
    position += row[kPackBlockFrameBytes];
    out_position += row[kPackBlockOutBytes];
  }
  CHECK_EQ(position, packed.numbers[kPackNextPosition]);
  CHECK_EQ(out_position, packed.numbers[kPackOutPosition]);
  CHECK_EQ(out_position, static_cast<double>(packed.archive.size()));
  CHECK_EQ(packed.numbers[kPackCrc],
           static_cast<double>(Crc32cExtend(0, packed.archive.data(), packed.archive.size())));
}

void CheckRoundTrip(const SegmentBuilder& segment, const PackQuery& query) {
  MemoryIo memory(segment.bytes);
  const Packed packed = Pack(memory, memory, segment.seed, query);
  CHECK_EQ(packed.status, 0);
  CHECK_EQ(packed.stop(), kStopEnd);
  CHECK_EQ(packed.numbers[kPackRecords], static_cast<double>(segment.records.size()));
  const bool empty = segment.bytes.size() == kSegmentHeaderBytes;
  CHECK_EQ(packed.numbers[kPackOffset], empty ? -1 : static_cast<double>(segment.next_offset));
  CHECK(UnpackAll(packed, segment.seed, query.dictionary) == FramesOf(segment));
  CheckRows(segment, packed, query);
}

void TestRoundTrips() {
  const auto dictionary =
      Dictionary::Create(reinterpret_cast<const uint8_t*>("{\"id\":,\"name\":\"a name that repeats\""), 34);
  for (const SegmentBuilder& segment : {Feed(300), Feed(1), SmallSegment(), Feed(40, 300'000), SegmentBuilder(5)}) {
    for (const double block_bytes : {1.0, 4096.0, 16384.0, 262144.0, 1073741824.0}) {
      CheckRoundTrip(segment, {.block_bytes = block_bytes});
      CheckRoundTrip(segment, {.block_bytes = block_bytes, .rows = 1});
      CheckRoundTrip(segment, {.level = 1, .block_bytes = block_bytes, .rows = 3, .dictionary = dictionary.get()});
    }
  }
  for (const double level : {1.0, 9.0, 22.0}) CheckRoundTrip(Feed(300), {.level = level, .block_bytes = 16384});
  for (const double block_bytes : {1.0, 200.0, 65536.0}) {
    CheckRoundTrip(SparseFeed(), {.block_bytes = block_bytes, .sparse = true, .rows = 2});
  }
}

void TestBadArguments() {
  const SegmentBuilder segment = SmallSegment();
  MemoryIo memory(segment.bytes);
  for (const PackQuery& query : {PackQuery{.level = 0}, PackQuery{.level = 23}, PackQuery{.block_bytes = 0},
                                 PackQuery{.block_bytes = 1073741825}, PackQuery{.level = NAN}}) {
    CHECK_EQ(Pack(memory, memory, segment.seed, query).status, -EINVAL);
  }
  const std::atomic<bool> canceled{true};
  CHECK_EQ(Pack(memory, memory, segment.seed, {}, &canceled).status, -ECANCELED);
}

// Every byte of a segment changed, every length cut: what a scan finds, packing finds at the same place.
void TestDamagedSegments() {
  const SegmentBuilder segment = SmallSegment();
  const auto compare = [&](MemoryIo& memory, uint64_t end) {
    double numbers[kScanLength] = {};
    numbers[kScanSeed] = segment.seed;
    numbers[kScanOffset] = numbers[kScanBatchFirst] = -1;
    numbers[kScanMaxRecord] = kMaxRecord;
    std::vector<uint8_t> bytes(4096);
    std::vector<uint32_t> table(4 * 64);
    CHECK_EQ(ScanFrames(memory, kSource, kSegmentHeaderBytes, end, bytes.data(), bytes.size(), numbers, table.data(),
                        table.size()),
             0);
    const Packed packed = Pack(memory, memory, segment.seed, {.block_bytes = 100, .end = end});
    CHECK_EQ(packed.status, 0);
    CHECK_EQ(packed.numbers[kPackStop], numbers[kScanStop]);
    CHECK_EQ(packed.numbers[kPackNextPosition], numbers[kScanNextPosition]);
  };
  for (size_t at = kSegmentHeaderBytes; at < segment.bytes.size(); at++) {
    MemoryIo memory(segment.bytes);
    memory.bytes[at] ^= static_cast<uint8_t>(1 << at % 8);
    compare(memory, segment.bytes.size());
  }
  for (size_t length = kSegmentHeaderBytes; length < segment.bytes.size(); length++) {
    MemoryIo memory({segment.bytes.begin(), segment.bytes.begin() + static_cast<std::ptrdiff_t>(length)});
    compare(memory, length);
    MemoryIo shorter(memory.bytes);
    CHECK_EQ(Pack(shorter, shorter, segment.seed, {.end = segment.bytes.size()}).stop(), kStopFraming);
  }
  SegmentBuilder behind = Feed(3);
  const uint64_t footer = behind.bytes.size() - kFooterFrameBytes;
  behind.Commit();
  MemoryIo memory(behind.bytes);
  const Packed packed = Pack(memory, memory, behind.seed, {});
  CHECK_EQ(packed.stop(), kStopFooter);
  CHECK_EQ(packed.numbers[kPackNextPosition], static_cast<double>(footer));
}

// A large record that changes between the check and the copy does not get in.
class ChangingIo : public MemoryIo {
 public:
  using MemoryIo::MemoryIo;
  size_t change_at = 0;
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override {
    if (length > 256 * 1024) bytes[change_at] ^= 1;
    return MemoryIo::Pread(fd, into, length, position);
  }
};

void TestChangingRecord() {
  SegmentBuilder segment(0);
  segment.Record(std::string(400'001, 'v'));
  segment.Commit();
  for (const size_t change_at : {size_t{5000}, size_t{400'000}}) {
    ChangingIo memory(segment.bytes);
    memory.change_at = change_at;
    CHECK_EQ(Pack(memory, memory, segment.seed, {}).stop(), kStopChecksum);
  }
  ChangingIo padding(segment.bytes);
  padding.change_at = static_cast<size_t>(segment.records[0].position + segment.records[0].frame_bytes - 1);
  CHECK_EQ(Pack(padding, padding, segment.seed, {}).stop(), kStopFraming);
}

void TestFaults() {
  const SegmentBuilder segment = Feed(60, 300'000);
  MemoryIo memory(segment.bytes);
  FaultingIo faulting(memory);
  for (int nth = 1; nth <= 3; nth++) {
    faulting.Fault(IoKind::kRead, nth, EIO, false, 0);
    CHECK_EQ(Pack(faulting, memory, segment.seed, {}).status, -EIO);
    faulting.ClearFaults();
  }
  faulting.Fault(IoKind::kWrite, 1, ENOSPC, false, 0);
  CHECK_EQ(Pack(faulting, memory, segment.seed, {}).status, -ENOSPC);
  faulting.ClearFaults();
  memory.longest_read = 1000;
  const Packed packed = Pack(faulting, memory, segment.seed, {.block_bytes = 65536});
  CHECK(UnpackAll(packed, segment.seed) == FramesOf(segment));

  MemoryIo archive(packed.archive);
  archive.failing_read = 1;
  const double* row = packed.row(0);
  CHECK_EQ(Unpack(archive, 0, static_cast<uint64_t>(row[kPackBlockOutBytes]),
                  static_cast<size_t>(row[kPackBlockFrameBytes]), segment.seed)
               .status,
           -EIO);
}

// Each bit of a block flipped, each length of it, lengths of the result that are not those of the block.
void TestDamagedBlocks() {
  const SegmentBuilder segment = SmallSegment();
  const auto dictionary = Dictionary::Create(segment.bytes.data() + kSegmentHeaderBytes, 100);
  const auto other = Dictionary::Create(segment.bytes.data() + kSegmentHeaderBytes + 9, 100);
  Decompressors decompressors;
  for (Dictionary* const used : {static_cast<Dictionary*>(nullptr), dictionary.get()}) {
    MemoryIo memory(segment.bytes);
    const Packed packed = Pack(memory, memory, segment.seed, {.dictionary = used});
    CHECK_EQ(packed.blocks(), size_t{1});
    const std::vector<uint8_t> frames = FramesOf(segment);
    const size_t size = packed.archive.size();
    const auto unpack = [&](const std::vector<uint8_t>& archive, size_t packed_bytes, size_t length, Dictionary* with) {
      MemoryIo io(archive);
      return Unpack(io, 0, packed_bytes, length, segment.seed, with, &decompressors);
    };
    CHECK(unpack(packed.archive, size, frames.size(), used).bytes == frames);
    for (size_t bit = 0; bit < size * 8; bit++) {
      std::vector<uint8_t> damaged = packed.archive;
      damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const Unpacked result = unpack(damaged, size, frames.size(), used);
      CHECK(result.status == kUnpackDamaged || (result.status == 0 && result.bytes == frames));
    }
    for (size_t length = 0; length < size; length++) {
      CHECK_EQ(unpack(packed.archive, length, frames.size(), used).status, kUnpackDamaged);
      const std::vector<uint8_t> cut(packed.archive.begin(),
                                     packed.archive.begin() + static_cast<std::ptrdiff_t>(length));
      CHECK_EQ(unpack(cut, size, frames.size(), used).status, kUnpackDamaged);
    }
    std::vector<uint8_t> longer = packed.archive;
    longer.insert(longer.end(), packed.archive.begin(), packed.archive.end());
    CHECK_EQ(unpack(longer, size + 1, frames.size(), used).status, kUnpackDamaged);
    CHECK_EQ(unpack(longer, size * 2, frames.size(), used).status, kUnpackDamaged);
    for (size_t length = 1; length < frames.size() * 2; length++) {
      if (length != frames.size()) CHECK_EQ(unpack(packed.archive, size, length, used).status, kUnpackDamaged);
    }
    if (used != nullptr) {
      CHECK_EQ(unpack(packed.archive, size, frames.size(), nullptr).status, kUnpackDamaged);
      CHECK_EQ(unpack(packed.archive, size, frames.size(), other.get()).status, kUnpackDamaged);
    }
  }
}

// Any content as a block: what zstd finds good and is no row of frames, and what promises more than it may have.
void TestForgedBlocks() {
  const auto unpack = [](const std::string& content, size_t length, int checksum, size_t claimed) {
    const Compressor compressor(ZSTD_createCCtx());
    ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_checksumFlag, checksum);
    std::vector<uint8_t> block(ZSTD_compressBound(content.size()));
    block.resize(ZSTD_compress2(compressor.get(), block.data(), block.size(), content.data(), content.size()));
    MemoryIo io(block);
    return Unpack(io, 0, claimed == 0 ? block.size() : claimed, length, 1).status;
  };
  const std::string frame = SegmentBuilder::MakeFrame(1, kFrameRecord, 0, 0, 0, "12345678").substr(4);
  CHECK_EQ(unpack(frame, 32, 1, 0), 0);
  CHECK_EQ(unpack(frame, 32, 0, 0), kUnpackDamaged);
  CHECK_EQ(unpack(frame, 32, 1, uint64_t{1} << 40), kUnpackDamaged);
  CHECK_EQ(unpack(frame + frame, 64, 1, 0), 0);
  for (size_t length = 1; length < 100; length++) {
    if (length != 64) CHECK_EQ(unpack(frame + frame, length, 1, 0), kUnpackDamaged);
  }
  CHECK_EQ(unpack("", 32, 1, 0), kUnpackDamaged);
  CHECK_EQ(unpack(frame + "1234", 36, 1, 0), kUnpackDamaged);
  CHECK_EQ(unpack(frame + std::string(20, '\xFF'), 56, 1, 0), kUnpackDamaged);
  // A thousand times its size, and a body that runs over the end.
  CHECK_EQ(unpack(std::string(1 << 26, '\0'), 4096, 1, 0), kUnpackDamaged);
  CHECK_EQ(unpack(std::string(8192, '\x10'), 8196, 1, 0), kUnpackDamaged);
}

struct Shared {
  SegmentBuilder segment = Feed(150);
  std::shared_ptr<Dictionary> dictionary =
      Dictionary::Create(segment.bytes.data() + kSegmentHeaderBytes, segment.bytes.size() / 3);
  Decompressors decompressors;
  std::atomic<int> wrong{0};
};

// Threads that prepare a dictionary at the same time, and end after its owner has let it go.
void TestSharedDictionary() {
  Shared shared;
  std::vector<pthread_t> threads(4);
  const auto run = [](void* argument) -> void* {
    auto* all = static_cast<Shared*>(argument);
    for (const double level : {1.0, 3.0, 6.0}) {
      MemoryIo memory(all->segment.bytes);
      const Packed packed =
          Pack(memory, memory, all->segment.seed, {.level = level, .dictionary = all->dictionary.get()});
      const bool good =
          UnpackAll(packed, all->segment.seed, all->dictionary.get(), &all->decompressors) == FramesOf(all->segment);
      if (!good) all->wrong++;
    }
    return nullptr;
  };
  for (pthread_t& thread : threads) CHECK_EQ(StartThread(&thread, run, &shared), 0);
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  CHECK_EQ(shared.wrong.load(), 0);
}

// A dictionary that looks like a trained one is a row of bytes like any other.
void TestDictionaryWithMagic() {
  std::string content = "\x37\xA4\x30\xEC" + std::string(200, '\x81');
  const auto dictionary = Dictionary::Create(reinterpret_cast<const uint8_t*>(content.data()), content.size());
  CheckRoundTrip(Feed(50), {.dictionary = dictionary.get()});
}

}  // namespace

int main() {
  TestRoundTrips();
  TestBadArguments();
  TestDamagedSegments();
  TestChangingRecord();
  TestFaults();
  TestDamagedBlocks();
  TestForgedBlocks();
  TestSharedDictionary();
  TestDictionaryWithMagic();
  return Finish();
}
