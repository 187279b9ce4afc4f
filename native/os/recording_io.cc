#include "recording_io.h"

#include <sys/uio.h>

#include <cstring>

namespace sealog {

namespace {

constexpr uint8_t kOpen = 1;
constexpr uint8_t kClose = 2;
constexpr uint8_t kWrite = 3;
constexpr uint8_t kSyncBegin = 4;
constexpr uint8_t kSyncEnd = 5;
constexpr uint8_t kTruncate = 6;
constexpr uint8_t kAllocate = 7;
constexpr uint8_t kRename = 8;
constexpr uint8_t kUnlink = 9;
constexpr uint8_t kMkdir = 10;
constexpr uint8_t kSyncDirectoryBegin = 11;
constexpr uint8_t kSyncDirectoryEnd = 12;
constexpr uint8_t kNote = 13;

void AppendBytes(std::vector<uint8_t>& to, const void* from, size_t length) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  to.insert(to.end(), bytes, bytes + length);
}

template <typename Number>
void AppendNumber(std::vector<uint8_t>& to, Number number) {
  AppendBytes(to, &number, sizeof number);
}

void AppendText(std::vector<uint8_t>& to, const char* text) {
  const size_t length = strlen(text);
  AppendNumber(to, static_cast<uint32_t>(length));
  AppendBytes(to, text, length);
}

}  // namespace

void RecordingIo::AppendLocked(const Entry& entry) {
  const size_t start = bytes_.size();
  AppendNumber(bytes_, uint32_t{0});
  AppendNumber(bytes_, uint32_t{entry.kind});
  AppendNumber(bytes_, int32_t{entry.fd});
  AppendNumber(bytes_, int32_t{entry.result});
  AppendNumber(bytes_, entry.a);
  AppendNumber(bytes_, entry.b);
  AppendText(bytes_, entry.path);
  AppendText(bytes_, entry.path2);
  for (int i = 0; i < entry.part_count; i++) AppendBytes(bytes_, entry.parts[i].iov_base, entry.parts[i].iov_len);
  const auto total = static_cast<uint32_t>(bytes_.size() - start);
  memcpy(bytes_.data() + start, &total, sizeof total);
}

// Calls that name files happen under the mutex: their order in the recording is the order in which they happened.
template <typename Call>
int RecordingIo::RecordedCall(Entry entry, Call call) {
  if (!on_.load()) return call();
  MutexLock lock(mutex_);
  entry.result = call();
  if (entry.result < 0) return entry.result;
  if (entry.kind == kOpen) entry.fd = entry.result;
  AppendLocked(entry);
  return entry.result;
}

// Other threads go on while a sync runs: what they write meanwhile stands between its begin and its end.
template <typename Call>
int RecordingIo::RecordedSync(Entry begin, uint8_t end_kind, Call call) {
  if (!on_.load()) return call();
  {
    MutexLock lock(mutex_);
    AppendLocked(begin);
  }
  const int result = call();
  Entry end = begin;
  end.kind = end_kind;
  end.result = result;
  MutexLock lock(mutex_);
  AppendLocked(end);
  return result;
}

void RecordingIo::Note(double number) {
  if (!on_.load()) return;
  MutexLock lock(mutex_);
  AppendLocked({.kind = kNote, .a = number});
}

std::vector<uint8_t> RecordingIo::Take() {
  MutexLock lock(mutex_);
  std::vector<uint8_t> taken;
  taken.swap(bytes_);
  return taken;
}

int RecordingIo::Open(const char* path, int flags, int mode) {
  return RecordedCall({.kind = kOpen, .a = static_cast<double>(flags), .path = path},
                      [&] { return inner_.Open(path, flags, mode); });
}

int RecordingIo::Close(int fd) {
  return RecordedCall({.kind = kClose, .fd = fd}, [&] { return inner_.Close(fd); });
}

ssize_t RecordingIo::Pwritev(int fd, const struct iovec* parts, int count, uint64_t position) {
  // Before the call: from then on any part of it may be on disk.
  if (on_.load()) {
    MutexLock lock(mutex_);
    AppendLocked({.kind = kWrite, .fd = fd, .a = static_cast<double>(position), .parts = parts, .part_count = count});
  }
  return inner_.Pwritev(fd, parts, count, position);
}

int RecordingIo::Fdatasync(int fd) {
  return RecordedSync({.kind = kSyncBegin, .fd = fd}, kSyncEnd, [&] { return inner_.Fdatasync(fd); });
}

int RecordingIo::Fsync(int fd) {
  return RecordedSync({.kind = kSyncBegin, .fd = fd}, kSyncEnd, [&] { return inner_.Fsync(fd); });
}

int RecordingIo::Ftruncate(int fd, uint64_t size) {
  return RecordedCall({.kind = kTruncate, .fd = fd, .a = static_cast<double>(size)},
                      [&] { return inner_.Ftruncate(fd, size); });
}

int RecordingIo::Allocate(int fd, uint64_t from, uint64_t length) {
  return RecordedCall(
      {.kind = kAllocate, .fd = fd, .a = static_cast<double>(from), .b = static_cast<double>(from + length)},
      [&] { return inner_.Allocate(fd, from, length); });
}

int RecordingIo::Rename(const char* from, const char* to) {
  return RecordedCall({.kind = kRename, .path = from, .path2 = to}, [&] { return inner_.Rename(from, to); });
}

int RecordingIo::Unlink(const char* path) {
  return RecordedCall({.kind = kUnlink, .path = path}, [&] { return inner_.Unlink(path); });
}

int RecordingIo::Mkdir(const char* path, int mode) {
  return RecordedCall({.kind = kMkdir, .path = path}, [&] { return inner_.Mkdir(path, mode); });
}

int RecordingIo::SyncDirectory(const char* path) {
  return RecordedSync({.kind = kSyncDirectoryBegin, .path = path}, kSyncDirectoryEnd,
                      [&] { return inner_.SyncDirectory(path); });
}

}  // namespace sealog
