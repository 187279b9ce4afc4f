#pragma once

#include <atomic>
#include <vector>

#include "io.h"
#include "threading.h"

namespace sealog {

// Writes down every call that changes the disk, in an order that holds across threads, while `recording` is on: what a
// crash replayer builds its images from. It sits below FaultingIo, so that what never reached the system is not in the
// recording. Layout of the entries: `takeRecording` in lib/kernels/kernels.ts.
class RecordingIo final : public Io {
 public:
  explicit RecordingIo(Io& inner) : inner_(inner) {}

  void Record(bool on) { on_.store(on); }
  void Note(double number);
  // The entries so far; the next recording starts empty.
  std::vector<uint8_t> Take();

  int Open(const char* path, int flags, int mode) override;
  int Close(int fd) override;
  ssize_t Pread(int fd, void* into, size_t length, uint64_t position) override {
    return inner_.Pread(fd, into, length, position);
  }
  ssize_t PreadResident(int fd, void* into, size_t length, uint64_t position) override {
    return inner_.PreadResident(fd, into, length, position);
  }
  ssize_t Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) override;
  int Fdatasync(int fd) override;
  int Fsync(int fd) override;
  int Ftruncate(int fd, uint64_t size) override;
  int Allocate(int fd, uint64_t from, uint64_t length) override;
  int Stat(int fd, FileStat* out) override { return inner_.Stat(fd, out); }
  int StatPath(const char* path, FileStat* out) override { return inner_.StatPath(path, out); }
  int Rename(const char* from, const char* to) override;
  int Unlink(const char* path) override;
  int Mkdir(const char* path, int mode) override;
  int List(const char* path, std::string* names) override { return inner_.List(path, names); }
  int SyncDirectory(const char* path) override;
  int64_t SeekData(int fd, uint64_t from) override { return inner_.SeekData(fd, from); }
  int Evict(int fd) override { return inner_.Evict(fd); }
  int HasOtherUsers(int fd) override { return inner_.HasOtherUsers(fd); }
  int Lock(int fd) override { return inner_.Lock(fd); }
  int ProbeAbstractSocket(const char* name) override { return inner_.ProbeAbstractSocket(name); }
  int64_t SendFile(int socket, int file, uint64_t position, size_t length) override {
    return inner_.SendFile(socket, file, position, length);
  }
  int IsResident(int fd, uint64_t position) override { return inner_.IsResident(fd, position); }
  void ReadAhead(int fd, uint64_t position, uint64_t length) override { inner_.ReadAhead(fd, position, length); }
  int WriteBack(int fd, uint64_t position, uint64_t length, bool wait) override {
    return inner_.WriteBack(fd, position, length, wait);
  }
  int DuplicateSocket(int fd) override { return inner_.DuplicateSocket(fd); }
  void ShutDownSocket(int fd) override { inner_.ShutDownSocket(fd); }
  void CloseSocket(int fd) override { inner_.CloseSocket(fd); }

 private:
  struct Entry {
    uint8_t kind;
    int fd = 0;
    int result = 0;
    double a = 0;
    double b = 0;
    const char* path = "";
    const char* path2 = "";
    const struct iovec* parts = nullptr;
    int part_count = 0;
  };

  void AppendLocked(const Entry& entry);
  template <typename Call>
  int RecordedCall(Entry entry, Call call);
  template <typename Call>
  int RecordedSync(Entry begin, uint8_t end_kind, Call call);

  Io& inner_;
  std::atomic<bool> on_{false};
  Mutex mutex_;
  std::vector<uint8_t> bytes_;
};

}  // namespace sealog
