#include "faulting_io.h"

#include <sys/uio.h>

#include <algorithm>

namespace sealog {

void FaultingIo::Fault(IoKind kind, uint64_t nth, int error, bool forever, size_t short_bytes) {
  MutexLock lock(mutex_);
  faults_.push_back({kind, nth == 0 ? 0 : nth - 1, error, forever, short_bytes});
}

void FaultingIo::ClearFaults() {
  MutexLock lock(mutex_);
  faults_.clear();
}

uint64_t FaultingIo::Count(IoKind kind) {
  MutexLock lock(mutex_);
  return counts_[static_cast<size_t>(kind)];
}

void FaultingIo::ResetCounts() {
  MutexLock lock(mutex_);
  std::fill_n(counts_, kIoKinds, 0);
}

int FaultingIo::Strike(IoKind kind, size_t* short_bytes) {
  MutexLock lock(mutex_);
  counts_[static_cast<size_t>(kind)]++;
  int result = 0;
  for (size_t i = 0; i < faults_.size();) {
    PlannedFault& fault = faults_[i];
    if (fault.kind != kind) {
      i++;
      continue;
    }
    if (fault.calls_left > 0) {
      fault.calls_left--;
      i++;
      continue;
    }
    if (fault.short_bytes > 0 && short_bytes != nullptr) {
      *short_bytes = fault.short_bytes;
    } else {
      result = -fault.error;
    }
    if (fault.forever) {
      i++;
    } else {
      faults_.erase(faults_.begin() + static_cast<ptrdiff_t>(i));
    }
  }
  return result;
}

int FaultingIo::Open(const char* path, int flags, int mode) {
  const int fault = Strike(IoKind::kOpen);
  return fault != 0 ? fault : inner_.Open(path, flags, mode);
}

int FaultingIo::Close(int fd) {
  const int fault = Strike(IoKind::kClose);
  const int closed = inner_.Close(fd);
  return fault != 0 ? fault : closed;
}

ssize_t FaultingIo::Pread(int fd, void* into, size_t length, uint64_t position) {
  size_t short_bytes = 0;
  const int fault = Strike(IoKind::kRead, &short_bytes);
  if (fault != 0) return fault;
  return inner_.Pread(fd, into, short_bytes > 0 ? std::min(short_bytes, length) : length, position);
}

ssize_t FaultingIo::PreadResident(int fd, void* into, size_t length, uint64_t position) {
  size_t short_bytes = 0;
  const int fault = Strike(IoKind::kRead, &short_bytes);
  if (fault != 0) return fault;
  return inner_.PreadResident(fd, into, short_bytes > 0 ? std::min(short_bytes, length) : length, position);
}

ssize_t FaultingIo::Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) {
  size_t left = 0;
  const int fault = Strike(IoKind::kWrite, &left);
  if (fault != 0) return fault;
  if (left == 0) return inner_.Pwritev(fd, parts, count, position);
  std::vector<iovec> first;
  for (int i = 0; i < count && left > 0; i++) {
    const size_t length = std::min(left, parts[i].iov_len);
    first.push_back({parts[i].iov_base, length});
    left -= length;
  }
  return inner_.Pwritev(fd, first.data(), static_cast<int>(first.size()), position);
}

int FaultingIo::Fdatasync(int fd) {
  const int fault = Strike(IoKind::kDatasync);
  return fault != 0 ? fault : inner_.Fdatasync(fd);
}

int FaultingIo::Fsync(int fd) {
  const int fault = Strike(IoKind::kSync);
  return fault != 0 ? fault : inner_.Fsync(fd);
}

int FaultingIo::Ftruncate(int fd, uint64_t size) {
  const int fault = Strike(IoKind::kTruncate);
  return fault != 0 ? fault : inner_.Ftruncate(fd, size);
}

int FaultingIo::Allocate(int fd, uint64_t from, uint64_t length) {
  const int fault = Strike(IoKind::kAllocate);
  return fault != 0 ? fault : inner_.Allocate(fd, from, length);
}

int FaultingIo::Stat(int fd, FileStat* out) {
  const int fault = Strike(IoKind::kStat);
  return fault != 0 ? fault : inner_.Stat(fd, out);
}

int FaultingIo::StatPath(const char* path, FileStat* out) {
  const int fault = Strike(IoKind::kStat);
  return fault != 0 ? fault : inner_.StatPath(path, out);
}

int FaultingIo::Rename(const char* from, const char* to) {
  const int fault = Strike(IoKind::kRename);
  return fault != 0 ? fault : inner_.Rename(from, to);
}

int FaultingIo::Unlink(const char* path) {
  const int fault = Strike(IoKind::kUnlink);
  return fault != 0 ? fault : inner_.Unlink(path);
}

int FaultingIo::Mkdir(const char* path, int mode) {
  const int fault = Strike(IoKind::kMkdir);
  return fault != 0 ? fault : inner_.Mkdir(path, mode);
}

int FaultingIo::List(const char* path, std::string* names) {
  const int fault = Strike(IoKind::kList);
  return fault != 0 ? fault : inner_.List(path, names);
}

int FaultingIo::SyncDirectory(const char* path) {
  const int fault = Strike(IoKind::kSyncDirectory);
  return fault != 0 ? fault : inner_.SyncDirectory(path);
}

int64_t FaultingIo::SendFile(int socket, int file, uint64_t position, size_t length) {
  size_t short_bytes = 0;
  const int fault = Strike(IoKind::kSendFile, &short_bytes);
  if (fault != 0) return fault;
  return inner_.SendFile(socket, file, position, short_bytes > 0 ? std::min(length, short_bytes) : length);
}

}  // namespace sealog
