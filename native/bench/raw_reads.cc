// Limits of reading.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>

#include "../core/crc32c.h"
#include "raw_limits.h"

namespace raw_limits {
namespace {

// xorshift64*: the same positions for the same seed on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DULL;
  }

 private:
  uint64_t state_;
};

struct OpenFile {
  int fd;
  uint64_t begin;  // within the files laid one behind the other
  uint64_t size;
};

std::vector<OpenFile> OpenFiles(const Arguments& arguments) {
  std::vector<OpenFile> files;
  uint64_t begin = 0;
  for (const std::string& path : arguments.Files()) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) FailErrno(path.c_str());
    struct stat status;
    if (fstat(fd, &status) != 0) FailErrno(path.c_str());
    files.push_back({fd, begin, static_cast<uint64_t>(status.st_size)});
    begin += static_cast<uint64_t>(status.st_size);
  }
  return files;
}

uint64_t ResidentBytes(const OpenFile& file) {
  if (file.size == 0) return 0;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  void* mapped = mmap(nullptr, file.size, PROT_READ, MAP_SHARED, file.fd, 0);
  if (mapped == MAP_FAILED) FailErrno("mmap");
  std::vector<uint8_t> pages((file.size + page - 1) / page);
  if (mincore(mapped, file.size, pages.data()) != 0) FailErrno("mincore");
  munmap(mapped, file.size);
  const auto resident = std::count_if(pages.begin(), pages.end(), [](uint8_t one) { return (one & 1) != 0; });
  return static_cast<uint64_t>(resident) * page;
}

// Syncs the files, as dirty pages stay, and drops them from the page cache. Returns how many bytes are there all the
// same.
uint64_t DropPages(const std::vector<OpenFile>& files) {
  uint64_t resident = 0;
  for (const OpenFile& file : files) {
    if (fdatasync(file.fd) != 0) FailErrno("fdatasync");
    const int failure = posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
    if (failure != 0) Fail("posix_fadvise", std::strerror(failure));
    resident += ResidentBytes(file);
  }
  return resident;
}

void DropPagesIfAsked(const Arguments& arguments, const std::vector<OpenFile>& files) {
  if (arguments.Number("evict", 0) == 0) return;
  const uint64_t total = files.back().begin + files.back().size;
  if (DropPages(files) > total / 100) Fail("evict", "the page cache keeps these files");
}

// Bytes that this process had read from disks so far.
uint64_t BytesFromDisk() {
  constexpr uint64_t kBlockBytes = 512;
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) FailErrno("getrusage");
  return static_cast<uint64_t>(usage.ru_inblock) * kBlockBytes;
}

}  // namespace

void RandomReads(const Arguments& arguments) {
  const uint64_t size = arguments.Number("size");
  const uint64_t count = arguments.Number("count");
  const std::vector<OpenFile> files = OpenFiles(arguments);
  const uint64_t total = files.back().begin + files.back().size;
  if (count == 0 || total <= size) Fail("pread", "nothing to read");
  std::vector<uint8_t> into(size);
  Random random(arguments.Number("seed", 1));

  struct Read {
    int fd;
    off_t position;
  };
  std::vector<Read> reads(count);
  for (Read& read : reads) {
    const uint64_t at = random.Next() % (total - size);
    const auto behind = std::upper_bound(files.begin(), files.end(), at,
                                         [](uint64_t value, const OpenFile& file) { return value < file.begin; });
    const OpenFile& file = *(behind - 1);
    const uint64_t within = std::min(at - file.begin, file.size > size ? file.size - size : 0);
    read = {file.fd, static_cast<off_t>(within)};
  }
  std::vector<double> samples(count);
  DropPagesIfAsked(arguments, files);
  const uint64_t disk_before = BytesFromDisk();

  uint64_t bytes = 0;
  const auto start = Clock::now();
  auto before = start;
  for (uint64_t i = 0; i < count; i++) {
    const ssize_t got = pread(reads[i].fd, into.data(), size, reads[i].position);
    if (got < 0) FailErrno("pread");
    bytes += static_cast<uint64_t>(got);
    const auto now = Clock::now();
    samples[i] = std::chrono::duration<double>(now - before).count();
    before = now;
  }
  const double seconds = SecondsSince(start);

  std::printf("{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"diskBytes\":%" PRIu64 ",\"seconds\":%.9g", count, bytes,
              BytesFromDisk() - disk_before, seconds);
  PrintPercentiles(&samples);
  std::printf("}\n");
}

void Scan(const Arguments& arguments) {
  const uint64_t block = arguments.Number("block");
  const bool with_crc = arguments.Number("crc", 0) != 0;
  const std::vector<OpenFile> files = OpenFiles(arguments);
  std::vector<uint8_t> into(block);
  uint32_t crc = 0;
  uint64_t bytes = 0;
  DropPagesIfAsked(arguments, files);

  const auto start = Clock::now();
  for (const OpenFile& file : files) {
    for (uint64_t position = 0; position < file.size;) {
      const ssize_t got = pread(file.fd, into.data(), block, static_cast<off_t>(position));
      if (got < 0) FailErrno("pread");
      if (got == 0) break;
      if (with_crc) crc = sealog::Crc32cExtend(crc, into.data(), static_cast<size_t>(got));
      position += static_cast<uint64_t>(got);
      bytes += static_cast<uint64_t>(got);
    }
  }
  const double seconds = SecondsSince(start);
  std::printf("{\"bytes\":%" PRIu64 ",\"seconds\":%.9g,\"crc\":%" PRIu32 "}\n", bytes, seconds, crc);
}

void Evict(const Arguments& arguments) {
  const std::vector<OpenFile> files = OpenFiles(arguments);
  const uint64_t resident = DropPages(files);
  std::printf("{\"bytes\":%" PRIu64 ",\"residentBytes\":%" PRIu64 "}\n", files.back().begin + files.back().size,
              resident);
}

}  // namespace raw_limits
