#include "posix_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#if defined(__linux__)
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#endif

namespace sealog {

namespace {

template <typename Call>
auto RetryInterrupted(Call call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

#if defined(__linux__)
// statx, as fstat would need a newer glibc than everything else here.
int StatAt(int fd, const char* path, int flags, FileStat* out) {
  struct statx found;
  const int status = RetryInterrupted([&] { return statx(fd, path, flags, STATX_SIZE | STATX_INO, &found); });
  if (status < 0) return status;
  *out = {found.stx_size, found.stx_dev_major, found.stx_dev_minor, found.stx_ino};
  return 0;
}
#else
void CopyStat(const struct stat& found, FileStat* out) {
  out->size = static_cast<uint64_t>(found.st_size);
  out->device_major = static_cast<uint32_t>(major(found.st_dev));
  out->device_minor = static_cast<uint32_t>(minor(found.st_dev));
  out->inode = static_cast<uint64_t>(found.st_ino);
}
#endif

#if defined(__APPLE__)
// fsync leaves the data in the cache of the drive there.
int SyncThroughDrive(int fd) {
  if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
  return fsync(fd);
}
#endif

// Keeps SIGPIPE off the calling thread for a scope: a write to a closed socket is a result, not the end of the process.
class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~SigpipeBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SigpipeBlock(const SigpipeBlock&) = delete;
  SigpipeBlock& operator=(const SigpipeBlock&) = delete;

  // After -EPIPE: takes the signal that came with it back. Where it was blocked before, it stays so.
  void Discard() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    sigset_t pending;
    int signal;
    if (sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1) sigwait(&pipe_, &signal);
  }

 private:
  sigset_t pipe_;
  sigset_t before_;
};

// The three systems agree on nothing but the name. Bytes sent or -errno.
int64_t SendFileOnce([[maybe_unused]] int socket, [[maybe_unused]] int file, [[maybe_unused]] uint64_t position,
                     [[maybe_unused]] size_t length) {
#if defined(__linux__)
  auto from = static_cast<off_t>(position);
  const ssize_t sent = sendfile(socket, file, &from, length);
  return sent >= 0 ? sent : -errno;
#elif defined(__APPLE__)
  // An interrupted or full send tells what it did in `sent`, and so does one that met the end of the file.
  auto sent = static_cast<off_t>(length);
  const int status = sendfile(file, socket, static_cast<off_t>(position), &sent, nullptr, 0);
  return status == 0 || sent > 0 ? sent : -errno;
#elif defined(__FreeBSD__)
  off_t sent = 0;
  const int status = sendfile(file, socket, static_cast<off_t>(position), length, nullptr, &sent, 0);
  return status == 0 || sent > 0 ? sent : -errno;
#else
  return -ENOSYS;
#endif
}

}  // namespace

PosixIo::~PosixIo() {
  for (const int fd : open_) close(fd);
}

int PosixIo::Open(const char* path, int flags, int mode) {
  const int fd = RetryInterrupted([&] { return open(path, flags | O_CLOEXEC, mode); });
  if (fd < 0) return fd;
  MutexLock lock(mutex_);
  open_.insert(fd);
  return fd;
}

int PosixIo::Close(int fd) {
  {
    // Before the call: after it, the number may belong to a file that another thread has opened.
    MutexLock lock(mutex_);
    open_.erase(fd);
  }
  // Not retried: after EINTR the descriptor is gone on Linux, and might already belong to another thread.
  return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

ssize_t PosixIo::Pread(int fd, void* into, size_t length, uint64_t position) {
  return RetryInterrupted([&] { return pread(fd, into, length, static_cast<off_t>(position)); });
}

ssize_t PosixIo::PreadResident([[maybe_unused]] int fd, [[maybe_unused]] void* into, [[maybe_unused]] size_t length,
                               [[maybe_unused]] uint64_t position) {
#if defined(__linux__) && defined(RWF_NOWAIT)
  const iovec part = {into, length};
  // The system call itself, which musl had no function for until lately. The upper half counts on 32-bit systems only.
  const auto upper = static_cast<long>(sizeof(long) < 8 ? position >> 32 : 0);
  const long got = syscall(SYS_preadv2, fd, &part, 1L, static_cast<long>(position), upper, long{RWF_NOWAIT});
  return got >= 0 ? static_cast<ssize_t>(got) : -errno;
#else
  return -EOPNOTSUPP;
#endif
}

ssize_t PosixIo::Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) {
  return RetryInterrupted([&] { return pwritev(fd, parts, count, static_cast<off_t>(position)); });
}

int PosixIo::Fdatasync(int fd) {
#if defined(__APPLE__)
  return RetryInterrupted([&] { return SyncThroughDrive(fd); });
#else
  return RetryInterrupted([&] { return fdatasync(fd); });
#endif
}

int PosixIo::Fsync(int fd) {
#if defined(__APPLE__)
  return RetryInterrupted([&] { return SyncThroughDrive(fd); });
#else
  return RetryInterrupted([&] { return fsync(fd); });
#endif
}

int PosixIo::Ftruncate(int fd, uint64_t size) {
  return RetryInterrupted([&] { return ftruncate(fd, static_cast<off_t>(size)); });
}

int PosixIo::Allocate([[maybe_unused]] int fd, [[maybe_unused]] uint64_t from, [[maybe_unused]] uint64_t length) {
#if defined(__linux__)
  return RetryInterrupted([&] { return fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(length)); });
#else
  return -EOPNOTSUPP;
#endif
}

int PosixIo::Stat(int fd, FileStat* out) {
#if defined(__linux__)
  return StatAt(fd, "", AT_EMPTY_PATH, out);
#else
  struct stat found;
  if (fstat(fd, &found) != 0) return -errno;
  CopyStat(found, out);
  return 0;
#endif
}

int PosixIo::StatPath(const char* path, FileStat* out) {
#if defined(__linux__)
  return StatAt(AT_FDCWD, path, 0, out);
#else
  struct stat found;
  if (stat(path, &found) != 0) return -errno;
  CopyStat(found, out);
  return 0;
#endif
}

int PosixIo::Rename(const char* from, const char* to) {
  return RetryInterrupted([&] { return rename(from, to); });
}

int PosixIo::Unlink(const char* path) {
  return RetryInterrupted([&] { return unlink(path); });
}

int PosixIo::Mkdir(const char* path, int mode) {
  return RetryInterrupted([&] { return mkdir(path, static_cast<mode_t>(mode)); });
}

int PosixIo::List(const char* path, std::string* names) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return -errno;
  names->clear();
  int status = 0;
  for (;;) {
    // readdir tells the end from a failure by errno alone.
    errno = 0;
    const dirent* entry = readdir(directory);
    if (entry == nullptr) {
      status = -errno;
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    names->append(entry->d_name).push_back('\0');
  }
  closedir(directory);
  return status;
}

int PosixIo::SyncDirectory(const char* path) {
  const int fd = Open(path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return fd;
  const int status = Fsync(fd);
  const int closed = Close(fd);
  return status < 0 ? status : closed;
}

int64_t PosixIo::SeekData(int fd, uint64_t from) {
#if defined(SEEK_DATA)
  const off_t found = lseek(fd, static_cast<off_t>(from), SEEK_DATA);
  if (found >= 0) return found;
  if (errno == ENXIO) {
    const off_t end = lseek(fd, 0, SEEK_END);
    return end >= 0 ? end : -errno;
  }
  return errno == EINVAL || errno == EOPNOTSUPP ? static_cast<int64_t>(from) : -errno;
#else
  (void)fd;
  return static_cast<int64_t>(from);
#endif
}

int PosixIo::Evict([[maybe_unused]] int fd) {
#if defined(POSIX_FADV_DONTNEED)
  return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
#else
  return 0;
#endif
}

// A hard link is a name, too. A write lease is granted only for the one descriptor of a file; it is given back at once:
// who opened the file meanwhile would be held up, and this process would get a signal, by default SIGIO, which ends it.
int PosixIo::HasOtherUsers([[maybe_unused]] int fd) {
#if defined(F_SETLEASE) && defined(F_SETSIG)
  struct stat found;
  if (fstat(fd, &found) != 0 || found.st_nlink > 0) return 1;
  if (fcntl(fd, F_SETSIG, SIGURG) != 0) return 1;  // ignored unless somebody handles it
  if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return 1;
  return fcntl(fd, F_SETLEASE, F_UNLCK) == 0 ? 0 : 1;
#else
  return 1;
#endif
}

int PosixIo::Lock([[maybe_unused]] int fd) {
#if defined(F_OFD_SETLK)
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  const int status = RetryInterrupted([&] { return fcntl(fd, F_OFD_SETLK, &whole); });
  return status == -EACCES ? -EAGAIN : status;
#else
  return -ENOSYS;
#endif
}

int PosixIo::ProbeAbstractSocket([[maybe_unused]] const char* name) {
#if defined(__linux__)
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(name);
  // The first byte of the path stays 0: that makes the name an abstract one.
  if (length + 1 > sizeof address.sun_path) return -ENAMETOOLONG;
  memcpy(address.sun_path + 1, name, length);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const auto address_length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  const int status = bind(fd, reinterpret_cast<sockaddr*>(&address), address_length) == 0 ? 0 : -errno;
  Close(fd);
  return status;
#else
  return -ENOSYS;
#endif
}

int64_t PosixIo::SendFile(int socket, int file, uint64_t position, size_t length) {
  // macOS and FreeBSD take 0 for "to the end of the file".
  if (length == 0) return 0;
  SigpipeBlock block;
  for (;;) {
    const int64_t sent = SendFileOnce(socket, file, position, length);
    if (sent == -EPIPE) block.Discard();
    if (sent != -EINTR) return sent;
  }
}

int PosixIo::IsResident(int fd, uint64_t position) {
  char byte;
  const ssize_t got = PreadResident(fd, &byte, 1, position);
  if (got >= 0) return 1;
  return got == -EAGAIN ? 0 : -EOPNOTSUPP;
}

void PosixIo::ReadAhead([[maybe_unused]] int fd, [[maybe_unused]] uint64_t position, [[maybe_unused]] uint64_t length) {
#if defined(POSIX_FADV_WILLNEED)
  posix_fadvise(fd, static_cast<off_t>(position), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
#elif defined(__APPLE__)
  radvisory range = {static_cast<off_t>(position), static_cast<int>(length)};
  fcntl(fd, F_RDADVISE, &range);
#endif
}

int PosixIo::WriteBack([[maybe_unused]] int fd, [[maybe_unused]] uint64_t position, [[maybe_unused]] uint64_t length,
                       [[maybe_unused]] bool wait) {
#if defined(SYNC_FILE_RANGE_WRITE)
  const unsigned flags = SYNC_FILE_RANGE_WRITE | (wait ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER : 0u);
  const int status = RetryInterrupted(
      [&] { return sync_file_range(fd, static_cast<off_t>(position), static_cast<off_t>(length), flags); });
  // A sandbox may lack the call or forbid it.
  return status == -ENOSYS || status == -EPERM ? 0 : status;
#else
  return 0;
#endif
}

int PosixIo::DuplicateSocket(int fd) {
  const int duplicate = RetryInterrupted([&] { return fcntl(fd, F_DUPFD_CLOEXEC, 0); });
  if (duplicate < 0) return duplicate;
  MutexLock lock(mutex_);
  open_.insert(duplicate);
  return duplicate;
}

void PosixIo::ShutDownSocket(int fd) { shutdown(fd, SHUT_RDWR); }

}  // namespace sealog
