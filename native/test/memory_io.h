// Io over one file to read and any number of files to write, in memory; whatever else the core might call fails.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "../os/io.h"

namespace sealog::test {

class MemoryIo : public Io {
 public:
  explicit MemoryIo(std::vector<uint8_t> content = {}) : bytes(std::move(content)) {}

  std::vector<uint8_t> bytes;
  // A read returns at most so many bytes.
  size_t longest_read = SIZE_MAX;
  // Bytes from here on would have to be read from a disk.
  uint64_t resident_end = UINT64_MAX;
  // When not 0, the read with this number (from 1) fails with EIO.
  long failing_read = 0;
  long reads = 0;
  // The same for waiting until something is written back.
  long failing_write_back = 0;
  long write_backs = 0;
  // What was written, by descriptor; a write to any other fails.
  std::map<int, std::vector<uint8_t>> written;

  ssize_t Pread(int, void* into, size_t length, uint64_t position) override {
    if (++reads == failing_read) return -EIO;
    if (position >= bytes.size()) return 0;
    const size_t count = std::min({length, longest_read, bytes.size() - static_cast<size_t>(position)});
    memcpy(into, bytes.data() + position, count);
    return static_cast<ssize_t>(count);
  }

  ssize_t Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) override {
    const auto file = written.find(fd);
    if (file == written.end()) return -EBADF;
    size_t at = static_cast<size_t>(position);
    for (int i = 0; i < count; i++) {
      file->second.resize(std::max(file->second.size(), at + parts[i].iov_len));
      memcpy(file->second.data() + at, parts[i].iov_base, parts[i].iov_len);
      at += parts[i].iov_len;
    }
    return static_cast<ssize_t>(at - position);
  }

  // Blocks of 512 zero bytes are holes.
  int64_t SeekData(int, uint64_t from) override {
    constexpr uint64_t kBlock = 512;
    for (uint64_t at = from; at < bytes.size(); at++) {
      if (bytes[at] != 0) return static_cast<int64_t>(std::max(from, at / kBlock * kBlock));
    }
    return static_cast<int64_t>(bytes.size());
  }

  int64_t SendFile(int, int, uint64_t, size_t) override { return -ENOSYS; }
  ssize_t PreadResident(int fd, void* into, size_t length, uint64_t position) override {
    if (position >= resident_end && position < bytes.size()) return -EAGAIN;
    const uint64_t resident = position < resident_end ? resident_end - position : length;
    return Pread(fd, into, static_cast<size_t>(std::min<uint64_t>(length, resident)), position);
  }
  int IsResident(int, uint64_t) override { return -EOPNOTSUPP; }
  void ReadAhead(int, uint64_t, uint64_t) override {}
  int WriteBack(int, uint64_t, uint64_t, bool wait) override {
    return wait && ++write_backs == failing_write_back ? -EIO : 0;
  }
  int DuplicateSocket(int) override { return -ENOSYS; }
  void ShutDownSocket(int) override {}
  void CloseSocket(int) override {}
  int Open(const char*, int, int) override { return -ENOSYS; }
  int Close(int) override { return -ENOSYS; }
  int Fdatasync(int) override { return -ENOSYS; }
  int Fsync(int) override { return -ENOSYS; }
  int Ftruncate(int, uint64_t) override { return -ENOSYS; }
  int Allocate(int, uint64_t, uint64_t) override { return -ENOSYS; }
  int Stat(int, FileStat*) override { return -ENOSYS; }
  int StatPath(const char*, FileStat*) override { return -ENOSYS; }
  int Rename(const char*, const char*) override { return -ENOSYS; }
  int Unlink(const char*) override { return -ENOSYS; }
  int Mkdir(const char*, int) override { return -ENOSYS; }
  int List(const char*, std::string*) override { return -ENOSYS; }
  int SyncDirectory(const char*) override { return -ENOSYS; }
  int Evict(int) override { return -ENOSYS; }
  int HasOtherUsers(int) override { return -ENOSYS; }
  int Lock(int) override { return -ENOSYS; }
  int ProbeAbstractSocket(const char*) override { return -ENOSYS; }
};

}  // namespace sealog::test
