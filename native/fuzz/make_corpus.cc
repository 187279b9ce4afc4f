// Writes the first inputs of the fuzz targets: make_corpus <directory>
#include <cstdio>
#include <string>

#include "../test/segment_builder.h"
#include "input.h"

using namespace sealog;
using namespace sealog::fuzz;
using sealog::test::SegmentBuilder;

namespace {

int written = 0;

bool Write(const char* directory, const std::vector<uint8_t>& segment, uint8_t flags) {
  const std::string path = std::string(directory) + "/seed-" + std::to_string(written++);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return false;
  const uint8_t header[kInputHeaderBytes] = {flags, static_cast<uint8_t>(written), 0, 0, 3, 6, 0, 0};
  const size_t frames = segment.size() - kSegmentHeaderBytes;
  const bool good = std::fwrite(header, 1, sizeof header, file) == sizeof header &&
                    std::fwrite(segment.data() + kSegmentHeaderBytes, 1, frames, file) == frames;
  return std::fclose(file) == 0 && good;
}

SegmentBuilder Large() {
  SegmentBuilder segment(kBaseOffset);
  for (size_t i = 0; i < 12; i++) {
    segment.Record(std::string(i * 211 % 1500, 'r'), {.continues = i % 3 != 2, .has_key = i % 2 == 0, .key = "key"});
    if (i % 6 == 5) segment.Commit();
  }
  segment.Commit();
  segment.Footer();
  return segment;
}

SegmentBuilder Sparse() {
  SegmentBuilder segment(kBaseOffset);
  for (int64_t i = 0; i < 6; i++) {
    segment.next_offset += 2;
    segment.Record("sparse", {.continues = i % 2 == 0, .batch_index = i % 2});
  }
  segment.Commit();
  segment.Zeros(100);
  return segment;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus <directory>\n");
    return 2;
  }
  SegmentBuilder bridged = sealog::test::SmallSegment();
  bridged.bytes[bridged.commits[0].first + 30] ^= 1;
  for (const SegmentBuilder& segment : {sealog::test::SmallSegment(), Large(), Sparse(), bridged}) {
    for (const int flags : {0, kSealFrames + 0, kSealFrames | kSealGroups, kSealFrames | kSealGroups | kSparse,
                            kSealFrames | kShortReads, kSealFrames | kSealGroups | kLeaveLastCommit}) {
      if (!Write(argv[1], segment.bytes, static_cast<uint8_t>(flags))) {
        std::perror(argv[1]);
        return 1;
      }
    }
  }
  return 0;
}
