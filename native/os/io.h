// Every system call of the C++ core goes through this table, so that tests can make any of them fail or record them
// all. All functions return a value >= 0, or -errno. They are called from several threads at once and keep no state of
// the caller.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

struct iovec;

namespace sealog {

struct FileStat {
  uint64_t size;
  uint32_t device_major;
  uint32_t device_minor;
  uint64_t inode;
};

class Io {
 public:
  virtual ~Io() = default;
  Io() = default;
  Io(const Io&) = delete;
  Io& operator=(const Io&) = delete;

  // O_CLOEXEC is added.
  virtual int Open(const char* path, int flags, int mode) = 0;
  virtual int Close(int fd) = 0;
  // One system call; may return less than asked for. EINTR is retried inside.
  virtual ssize_t Pread(int fd, void* into, size_t length, uint64_t position) = 0;
  // The same for what can be had without waiting for a disk: -EAGAIN when nothing can, -EOPNOTSUPP when the system does
  // not tell.
  virtual ssize_t PreadResident(int fd, void* into, size_t length, uint64_t position) = 0;
  virtual ssize_t Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) = 0;
  virtual int Fdatasync(int fd) = 0;
  virtual int Fsync(int fd) = 0;
  virtual int Ftruncate(int fd, uint64_t size) = 0;
  // Real fallocate (extends the file), never the emulation: -EOPNOTSUPP where there is none.
  virtual int Allocate(int fd, uint64_t from, uint64_t length) = 0;
  virtual int Stat(int fd, FileStat* out) = 0;
  virtual int StatPath(const char* path, FileStat* out) = 0;
  virtual int Rename(const char* from, const char* to) = 0;
  virtual int Unlink(const char* path) = 0;
  virtual int Mkdir(const char* path, int mode) = 0;
  // Names, each followed by a NUL; without "." and "..".
  virtual int List(const char* path, std::string* names) = 0;
  virtual int SyncDirectory(const char* path) = 0;
  // First position >= from that may hold data (SEEK_DATA); the file's end when there is none; `from` where unsupported.
  virtual int64_t SeekData(int fd, uint64_t from) = 0;
  virtual int Evict(int fd) = 0;
  // 0: the file has no name any more, and no process has it open by another descriptor; 1: it has, or the system does
  // not tell.
  virtual int HasOtherUsers(int fd) = 0;
  // Exclusive OFD lock, not waited for; -EAGAIN when held, -ENOSYS where there is none.
  virtual int Lock(int fd) = 0;
  // 0 when no process is bound to this abstract socket, else -EADDRINUSE; -ENOSYS off Linux.
  virtual int ProbeAbstractSocket(const char* name) = 0;

  // sendfile(2), one call: at most `length` bytes of `file` from `position` on. The bytes sent, 0 at the end of the
  // file, -EAGAIN when the socket has no room, -EPIPE (and no signal) when it is closed; -ENOSYS where there is none.
  virtual int64_t SendFile(int socket, int file, uint64_t position, size_t length) = 0;
  // 1: the byte at `position` can be had without waiting for a disk (or lies behind the end), 0: it cannot;
  // -EOPNOTSUPP: the file system does not tell.
  virtual int IsResident(int fd, uint64_t position) = 0;
  // Makes the system fetch these bytes soon, best effort.
  virtual void ReadAhead(int fd, uint64_t position, uint64_t length) = 0;
  // Starts writing these bytes back to the disk; with `wait`, ends when that is done. Success promises nothing, but
  // -errno of a write back that failed must not be ignored: no later sync of this descriptor tells it again.
  virtual int WriteBack(int fd, uint64_t position, uint64_t length, bool wait) = 0;
  // Sockets are no files: these are not among the calls that count as `open` and `close`.
  virtual int DuplicateSocket(int fd) = 0;
  virtual void ShutDownSocket(int fd) = 0;
  virtual void CloseSocket(int fd) = 0;
};

// Loops around Io::Pread; returns the bytes read (short only at end of file) or -errno.
int64_t ReadFull(Io& io, int fd, void* into, size_t length, uint64_t position);
// The same around Io::PreadResident: -EAGAIN unless all of it, to the end of the file at most, is in memory.
int64_t ReadFullResident(Io& io, int fd, void* into, size_t length, uint64_t position);
// Loops around Io::Pwritev; returns 0 or -errno.
int WriteFull(Io& io, int fd, const void* from, size_t length, uint64_t position);

}  // namespace sealog
