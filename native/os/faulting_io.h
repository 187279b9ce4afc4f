#pragma once

#include <vector>

#include "io.h"
#include "io_kinds.h"
#include "threading.h"

namespace sealog {

// Lets chosen calls fail, or transfer less than asked for, and counts them all. The rest goes to `inner`.
class FaultingIo final : public Io {
 public:
  explicit FaultingIo(Io& inner) : inner_(inner) {}

  // The `nth` call of the kind from now on (1-based), or all from that one on, return -error; with short_bytes > 0 a
  // read, write or sendfile of that turn transfers at most so many bytes instead.
  void Fault(IoKind kind, uint64_t nth, int error, bool forever, size_t short_bytes);
  void ClearFaults();
  uint64_t Count(IoKind kind);
  void ResetCounts();

  int Open(const char* path, int flags, int mode) override;
  // A close that fails closes nevertheless, as on Linux.
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
  int64_t SeekData(int fd, uint64_t from) override { return inner_.SeekData(fd, from); }
  int Evict(int fd) override { return inner_.Evict(fd); }
  int HasOtherUsers(int fd) override { return inner_.HasOtherUsers(fd); }
  int Lock(int fd) override { return inner_.Lock(fd); }
  int ProbeAbstractSocket(const char* name) override { return inner_.ProbeAbstractSocket(name); }
  int64_t SendFile(int socket, int file, uint64_t position, size_t length) override;
  int IsResident(int fd, uint64_t position) override { return inner_.IsResident(fd, position); }
  void ReadAhead(int fd, uint64_t position, uint64_t length) override { inner_.ReadAhead(fd, position, length); }
  int WriteBack(int fd, uint64_t position, uint64_t length, bool wait) override {
    return inner_.WriteBack(fd, position, length, wait);
  }
  int DuplicateSocket(int fd) override { return inner_.DuplicateSocket(fd); }
  void ShutDownSocket(int fd) override { inner_.ShutDownSocket(fd); }
  void CloseSocket(int fd) override { inner_.CloseSocket(fd); }

 private:
  struct PlannedFault {
    IoKind kind;
    // Calls to let pass before it strikes.
    uint64_t calls_left;
    int error;
    bool forever;
    size_t short_bytes;
  };

  // Counts the call; returns 0 when it is to go on, else the (negative) result. *short_bytes > 0: it goes on, but not
  // further.
  int Strike(IoKind kind, size_t* short_bytes = nullptr);

  Io& inner_;
  Mutex mutex_;
  std::vector<PlannedFault> faults_;
  uint64_t counts_[kIoKinds] = {};
};

}  // namespace sealog
