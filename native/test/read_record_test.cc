#include "../core/read_record.h"

#include "../core/read_many.h"
#include "../core/window_check.h"
#include "check.h"
#include "memory_io.h"
#include "segment_builder.h"

using namespace sealog;
using namespace sealog::test;

namespace {

struct Read {
  std::vector<double> out = std::vector<double>(kOutLength, -7);
  std::vector<uint8_t> bytes;
  int status = 0;

  explicit Read(size_t room = 128 * 1024) : bytes(room) {}

  int Run(MemoryIo& io, const SegmentBuilder& segment, const BuiltRecord& entry, uint64_t offset, uint32_t flags = 0) {
    status = ReadRecord(io, 3, segment.seed, entry.position, segment.bytes.size(), entry.offset,
                        static_cast<double>(entry.batch_first), offset, flags, bytes.data(), bytes.size(), out.data());
    return status;
  }
  std::string Part(size_t start, size_t length) const {
    return {reinterpret_cast<const char*>(bytes.data()) + static_cast<size_t>(out[start]),
            static_cast<size_t>(out[length])};
  }
};

void Expect(const Read& read, const BuiltRecord& record) {
  CHECK_EQ(read.status, kReadOk);
  if (read.status != kReadOk) return;
  CHECK_EQ(read.Part(kOutValueStart, kOutValueLength), record.value);
  CHECK_EQ(read.out[kOutKeyLength] >= 0, record.has_key);
  if (record.has_key) CHECK_EQ(read.Part(kOutKeyStart, kOutKeyLength), record.key);
  CHECK_EQ(read.out[kOutFramePosition], static_cast<double>(record.position));
  CHECK_EQ(read.out[kOutFrameBytes], static_cast<double>(record.frame_bytes));
  CHECK_EQ(read.out[kOutTimestamp], static_cast<double>(record.timestamp));
  CHECK_EQ(read.out[kOutBatchFirst], static_cast<double>(record.batch_first));
}

// Whatever part of the file is in memory: the record, or -EAGAIN.
void FromMemoryOrNotAtAll() {
  const SegmentBuilder segment = SmallSegment();
  for (const BuiltRecord& record : segment.records) {
    size_t found = 0;
    for (uint64_t resident = 0; resident <= segment.bytes.size(); resident += 4) {
      MemoryIo io(segment.bytes);
      io.resident_end = resident;
      Read read;
      read.Run(io, segment, segment.records[0], record.offset, kReadResident);
      if (read.status == kReadOk) {
        Expect(read, record);
        found++;
      } else {
        CHECK_EQ(read.status, -EAGAIN);
      }
    }
    // All that a first read asks for must be there, whether or not it is needed.
    CHECK(found > 0);
    Read large(kMinWindowBytes);
    MemoryIo io(segment.bytes);
    CHECK_EQ(large.Run(io, segment, record, record.offset, kReadResident), kReadOk);
  }
}

void FromEveryEntryToEveryRecord() {
  const SegmentBuilder segment = SmallSegment();
  for (const size_t longest : {SIZE_MAX, size_t{11}}) {
    MemoryIo io(segment.bytes);
    io.longest_read = longest;
    for (const BuiltRecord& entry : segment.records) {
      for (const BuiltRecord& record : segment.records) {
        Read read;
        read.Run(io, segment, entry, record.offset);
        if (record.offset >= entry.offset) {
          Expect(read, record);
        } else {
          CHECK_EQ(read.status, kReadNotFound);
        }
      }
      Read read;
      CHECK_EQ(read.Run(io, segment, entry, 108), kReadNotFound);
    }
  }
}

// Records and gaps that do not fit the first read, or no read at all.
void LargeRecords() {
  SegmentBuilder segment;
  segment.Record("0");
  segment.Record(std::string(7900, '1'), {.continues = true});
  segment.Record(std::string(20000, '2'), {.continues = true, .has_key = true, .key = "k"});
  segment.Record("3");
  segment.Record(std::string(150000, '4'));
  segment.Commit();
  segment.Record("5");
  segment.Commit();
  MemoryIo io(segment.bytes);
  for (const BuiltRecord& entry : segment.records) {
    for (const BuiltRecord& record : segment.records) {
      if (record.offset < entry.offset) continue;
      Read read;
      read.Run(io, segment, entry, record.offset);
      if (record.offset != 4) {
        Expect(read, record);
        continue;
      }
      CHECK_EQ(read.status, kReadLarge);
      CHECK_EQ(read.out[kOutFramePosition], static_cast<double>(record.position));
      CHECK_EQ(read.out[kOutFrameBytes], static_cast<double>(record.frame_bytes));
    }
  }
  io.reads = 0;
  Read read;
  read.Run(io, segment, segment.records[0], 0);
  CHECK_EQ(io.reads, 1L);
  read.Run(io, segment, segment.records[2], 2);
  CHECK_EQ(io.reads, 3L);
}

void NamesTheReason() {
  const SegmentBuilder segment = SmallSegment();
  const BuiltRecord& entry = segment.records[0];
  const BuiltRecord& target = segment.records[3];
  Read read;
  {
    MemoryIo io(segment.bytes);
    io.bytes[target.position + 30] ^= 1;
    CHECK_EQ(read.Run(io, segment, entry, target.offset), kReadChecksum);
    CHECK_EQ(read.Run(io, segment, entry, target.offset + 1), kReadOk);
  }
  {
    SegmentBuilder newer = segment;
    newer.bytes[target.position + 23] |= 0x20;
    newer.Reseal(target.position);
    MemoryIo io(newer.bytes);
    CHECK_EQ(read.Run(io, newer, entry, target.offset), kReadNewer);
    newer.bytes[target.position + 22] = 9;
    newer.Reseal(target.position);
    MemoryIo type(newer.bytes);
    CHECK_EQ(read.Run(type, newer, entry, target.offset), kReadNewer);
    CHECK_EQ(read.Run(type, newer, entry, target.offset + 1), kReadNewer);
  }
  {
    MemoryIo io(segment.bytes);
    io.bytes.resize(target.position + 39);
    CHECK_EQ(read.Run(io, segment, entry, target.offset), kReadChecksum);
    io.bytes.resize(target.position + 10);
    CHECK_EQ(read.Run(io, segment, entry, target.offset), kReadNotFound);
    io.failing_read = io.reads + 1;
    CHECK_EQ(read.Run(io, segment, entry, target.offset), -EIO);
  }
  {
    SegmentBuilder other = segment;
    other.seed ^= 1;
    MemoryIo io(segment.bytes);
    CHECK_EQ(read.Run(io, other, entry, entry.offset), kReadChecksum);
  }
}

void Sparse() {
  SegmentBuilder segment(10);
  segment.Record("10");
  segment.next_offset = 17;
  segment.Record("17", {.continues = true, .batch_index = 3});
  segment.next_offset = 19;
  segment.Record("19", {.batch_index = 5});
  segment.next_offset = 40;
  segment.Record("40");
  segment.Commit();
  MemoryIo io(segment.bytes);
  for (const BuiltRecord& entry : segment.records) {
    for (const BuiltRecord& record : segment.records) {
      if (record.offset < entry.offset) continue;
      Read read;
      read.Run(io, segment, entry, record.offset, true);
      Expect(read, record);
    }
  }
  Read read;
  CHECK_EQ(read.Run(io, segment, segment.records[0], 18, true), kReadNotFound);
  CHECK_EQ(read.Run(io, segment, segment.records[0], 41, true), kReadNotFound);
}

void Many() {
  SegmentBuilder segment = SmallSegment();
  segment.Record(std::string(10000, 'x'));
  segment.Record("short");
  segment.Commit();
  MemoryIo io(segment.bytes);
  std::vector<double> rows;
  for (const BuiltRecord& record : segment.records) {
    const double row[kManyWidth] = {3,
                                    static_cast<double>(segment.seed),
                                    static_cast<double>(record.position),
                                    static_cast<double>(segment.bytes.size()),
                                    static_cast<double>(record.offset),
                                    static_cast<double>(record.batch_first),
                                    -1,
                                    -1,
                                    -1,
                                    -1};
    rows.insert(rows.end(), row, row + kManyWidth);
  }
  const size_t count = segment.records.size();
  for (const size_t room : {size_t{0}, size_t{100}, size_t{500}, size_t{5000}, size_t{20000}}) {
    std::vector<uint8_t> bytes(room);
    CHECK_EQ(ReadMany(io, rows.data(), count, bytes.data(), bytes.size()), 0);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
      const double* row = rows.data() + i * kManyWidth;
      if (row[kManyStatus] == kReadNoRoom) {
        CHECK(room < 20000);
        continue;
      }
      CHECK_EQ(row[kManyStatus], 0.0);
      CHECK_EQ(std::string(reinterpret_cast<const char*>(bytes.data()) + static_cast<size_t>(row[kManyValueStart]),
                           static_cast<size_t>(row[kManyValueLength])),
               segment.records[i].value);
      CHECK_EQ(row[kManyFrameStart], static_cast<double>(end));
      end += segment.records[i].frame_bytes;
      CHECK(end <= room);
    }
  }
  std::vector<uint8_t> bytes(20000);
  // From an earlier frame, as index entries lead: nothing but the frames asked for stays in the buffer.
  std::vector<double> earlier = rows;
  for (size_t i = 1; i < count; i++) {
    earlier[i * kManyWidth + kManyPosition] = rows[(i - 1) * kManyWidth + kManyPosition];
    earlier[i * kManyWidth + kManyBatchFirst] = static_cast<double>(segment.records[i - 1].batch_first);
  }
  CHECK_EQ(ReadMany(io, earlier.data(), count, bytes.data(), bytes.size()), 0);
  uint64_t end = 0;
  for (size_t i = 0; i < count; i++) {
    const double* row = earlier.data() + i * kManyWidth;
    CHECK_EQ(row[kManyStatus], 0.0);
    CHECK_EQ(row[kManyFrameStart], static_cast<double>(end));
    CHECK_EQ(std::string(reinterpret_cast<const char*>(bytes.data()) + static_cast<size_t>(row[kManyValueStart]),
                         static_cast<size_t>(row[kManyValueLength])),
             segment.records[i].value);
    end += segment.records[i].frame_bytes;
  }
  io.bytes[segment.records[1].position + 3] ^= 1;
  CHECK_EQ(ReadMany(io, rows.data(), count, bytes.data(), bytes.size()), 0);
  CHECK_EQ(rows[kManyStatus], 0.0);
  CHECK_EQ(rows[kManyWidth + kManyStatus], static_cast<double>(kReadChecksum));
  CHECK_EQ(rows[2 * kManyWidth + kManyStatus], 0.0);
}

}  // namespace

int main() {
  FromMemoryOrNotAtAll();
  FromEveryEntryToEveryRecord();
  LargeRecords();
  NamesTheReason();
  Sparse();
  Many();
  return Finish();
}
