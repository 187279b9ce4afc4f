// Writing a file through a buffer of any size.
#include "../core/buffered_writer.h"

#include "../core/crc32c.h"
#include "check.h"
#include "memory_io.h"

namespace sealog::test {
namespace {

constexpr int kFile = 3;
constexpr size_t kPosition = 100;

std::vector<uint8_t> MakeContent(size_t length) {
  std::vector<uint8_t> content(length);
  for (size_t i = 0; i < length; i++) content[i] = static_cast<uint8_t>((i * 2654435761u) >> 13);
  return content;
}

void AppendInPieces(BufferedWriter* writer, const std::vector<uint8_t>& content) {
  size_t at = 0;
  for (size_t piece = 1; at < content.size(); piece = piece * 7 % 100003) {
    const size_t length = std::min(piece, content.size() - at);
    writer->Append(content.data() + at, length);
    at += length;
  }
}

void TestWritesAll() {
  const std::vector<uint8_t> content = MakeContent(3 << 20);
  for (const size_t capacity : {size_t{1}, size_t{1000}, size_t{256} * 1024}) {
    MemoryIo io;
    io.written[kFile] = {};
    std::vector<uint8_t> buffer(capacity);
    BufferedWriter writer(io, kFile, kPosition, buffer.data(), capacity);
    AppendInPieces(&writer, content);
    CHECK_EQ(writer.Flush(), 0);
    CHECK_EQ(writer.bytes(), uint64_t{content.size()});
    CHECK_EQ(writer.crc(), Crc32cExtend(0, content.data(), content.size()));
    const std::vector<uint8_t>& written = io.written[kFile];
    CHECK(std::equal(content.begin(), content.end(), written.begin() + kPosition, written.end()));
  }
}

// The sync at the end hears nothing of it any more.
void TestFailedWriteBackStays() {
  const std::vector<uint8_t> content = MakeContent(4 << 20);
  for (const long failing : {1, 2}) {
    MemoryIo io;
    io.written[kFile] = {};
    io.failing_write_back = failing;
    std::vector<uint8_t> buffer(64 * 1024);
    BufferedWriter writer(io, kFile, kPosition, buffer.data(), buffer.size());
    AppendInPieces(&writer, content);
    CHECK_EQ(writer.status(), -EIO);
    CHECK_EQ(writer.Flush(), -EIO);
    CHECK(io.written[kFile].size() < content.size());
  }
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestWritesAll();
  TestFailedWriteBackStays();
  return Finish();
}
