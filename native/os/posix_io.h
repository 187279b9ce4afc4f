#pragma once

#include <unordered_set>

#include "io.h"
#include "threading.h"

namespace sealog {

// The system calls themselves. Descriptors that were opened here and not closed are closed with the object: the thread
// of JavaScript they served may have been terminated, and a lock must not outlive its writer.
class PosixIo : public Io {
 public:
  PosixIo() = default;
  ~PosixIo() override;

  int Open(const char* path, int flags, int mode) override;
  int Close(int fd) override;
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override;
  ssize_t PreadResident(int fd, void* into, size_t length, uint64_t position) override;
  ssize_t Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) override;
  int Fdatasync(int fd) override;
  int Fsync(int fd) override;
  int Ftruncate(int fd, uint64_t size) override;
  int Allocate(int fd, uint64_t from, uint64_t length) override;
  int Stat(int fd, FileStat* out) override;
  int StatPath(const char* path, FileStat* out) override;
  int Rename(const char* from, const char* to) override;
  int Unlink(const char* path) override;
  int Mkdir(const char* path, int mode) override;
  int List(const char* path, std::string* names) override;
  int SyncDirectory(const char* path) override;
  int64_t SeekData(int fd, uint64_t from) override;
  int Evict(int fd) override;
  int HasOtherUsers(int fd) override;
  int Lock(int fd) override;
  int ProbeAbstractSocket(const char* name) override;
  int64_t SendFile(int socket, int file, uint64_t position, size_t length) override;
  int IsResident(int fd, uint64_t position) override;
  void ReadAhead(int fd, uint64_t position, uint64_t length) override;
  int WriteBack(int fd, uint64_t position, uint64_t length, bool wait) override;
  int DuplicateSocket(int fd) override;
  void ShutDownSocket(int fd) override;
  void CloseSocket(int fd) override { Close(fd); }

 private:
  Mutex mutex_;
  std::unordered_set<int> open_;
};

}  // namespace sealog
