// Segments packed into blocks and back, in memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../core/compression.h"
#include "../core/pack.h"
#include "../core/seam.h"
#include "../core/unpack.h"
#include "memory_io.h"
#include "segment_builder.h"

namespace sealog::test {

inline constexpr int kSource = 3;
inline constexpr int kArchive = 4;
inline constexpr double kMaxRecord = 1 << 24;

struct PackQuery {
  double level = 3;
  double block_bytes = 4096;
  bool sparse = false;
  double offset = -1;
  double batch_first = -1;
  uint64_t position = kSegmentHeaderBytes;
  // 0: the end of the file.
  uint64_t end = 0;
  size_t rows = 1000;
  Dictionary* dictionary = nullptr;
};

// The numbers of a request that begins at the start of the archive.
inline std::vector<double> PackNumbers(uint32_t seed, const PackQuery& query) {
  std::vector<double> numbers(kPackLength, 0);
  numbers[kPackSeed] = seed;
  numbers[kPackMaxRecord] = kMaxRecord;
  numbers[kPackSparse] = query.sparse ? 1 : 0;
  numbers[kPackOutFd] = kArchive;
  numbers[kPackLevel] = query.level;
  numbers[kPackBlockBytes] = query.block_bytes;
  numbers[kPackOffset] = query.offset;
  numbers[kPackBatchFirst] = query.batch_first;
  return numbers;
}

struct Packed {
  int status = 0;
  std::vector<double> numbers;
  // Rows of blocks, of all calls.
  std::vector<double> rows;
  std::vector<uint8_t> archive;

  int stop() const { return static_cast<int>(numbers[kPackStop]); }
  size_t blocks() const { return rows.size() / kPackColumns; }
  const double* row(size_t block) const { return rows.data() + block * kPackColumns; }
};

// Packs all there is, in as many calls as the rows of one call ask for.
inline Packed Pack(Io& io, MemoryIo& memory, uint32_t seed, const PackQuery& query,
                   const std::atomic<bool>* canceled = nullptr) {
  memory.written[kArchive].clear();
  Packed packed;
  packed.numbers = PackNumbers(seed, query);
  const uint64_t end = query.end == 0 ? memory.bytes.size() : query.end;
  std::vector<double> entries(query.rows * kPackColumns);
  uint64_t position = query.position;
  do {
    packed.status = PackFrames(io, kSource, position, end, packed.numbers.data(), entries.data(), entries.size(),
                               query.dictionary, canceled);
    if (packed.status < 0) return packed;
    const auto count = static_cast<std::ptrdiff_t>(packed.numbers[kPackCount]);
    packed.rows.insert(packed.rows.end(), entries.begin(),
                       entries.begin() + count * static_cast<std::ptrdiff_t>(kPackColumns));
    position = static_cast<uint64_t>(packed.numbers[kPackNextPosition]);
  } while (packed.stop() == kStopTableFull);
  packed.archive = memory.written[kArchive];
  return packed;
}

struct Unpacked {
  int status = 0;
  std::vector<uint8_t> bytes;
};

inline Unpacked Unpack(Io& io, uint64_t position, uint64_t packed_bytes, size_t length, uint32_t seed,
                       Dictionary* dictionary = nullptr, Decompressors* decompressors = nullptr) {
  // Of exactly this size, so that AddressSanitizer sees what is written behind it.
  Unpacked unpacked{0, std::vector<uint8_t>(length, 0xAA)};
  unpacked.status =
      UnpackBlock(io, kSource, position, packed_bytes, unpacked.bytes.data(), length, seed, dictionary, decompressors);
  return unpacked;
}

// The segment's frames from all blocks; empty when one of them cannot be unpacked.
inline std::vector<uint8_t> UnpackAll(const Packed& packed, uint32_t seed, Dictionary* dictionary = nullptr,
                                      Decompressors* decompressors = nullptr) {
  MemoryIo io(packed.archive);
  std::vector<uint8_t> frames;
  for (size_t block = 0; block < packed.blocks(); block++) {
    const double* row = packed.row(block);
    const Unpacked unpacked =
        Unpack(io, static_cast<uint64_t>(row[kPackBlockOutPosition]), static_cast<uint64_t>(row[kPackBlockOutBytes]),
               static_cast<size_t>(row[kPackBlockFrameBytes]), seed, dictionary, decompressors);
    if (unpacked.status != 0) return {};
    frames.insert(frames.end(), unpacked.bytes.begin(), unpacked.bytes.end());
  }
  return frames;
}

}  // namespace sealog::test
