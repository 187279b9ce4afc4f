// The implementations of the Io table: system calls, faults, recordings.
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>

#include "../os/faulting_io.h"
#include "../os/recording_io.h"
#include "committer_fixture.h"

namespace sealog::test {
namespace {

void TestOtherUsers() {
  TempDirectory directory;
  PosixIo io;
  const std::string path = directory.path() + "/a";
  const std::string other_path = directory.path() + "/b";
  const int fd = directory.OpenFile("a");
  CHECK_EQ(link(path.c_str(), other_path.c_str()), 0);
  CHECK_EQ(io.Unlink(path.c_str()), 0);
  CHECK_EQ(io.HasOtherUsers(fd), 1);
  const int second = io.Open(other_path.c_str(), O_RDONLY, 0);
  CHECK_EQ(io.Unlink(other_path.c_str()), 0);
  CHECK_EQ(io.HasOtherUsers(fd), 1);
  CHECK_EQ(io.Close(second), 0);
#if defined(__linux__)
  CHECK_EQ(io.HasOtherUsers(fd), 0);
#endif
  CHECK_EQ(io.Close(fd), 0);
}

void TestPosix() {
  TempDirectory directory;
  PosixIo io;
  const std::string path = directory.path() + "/a";
  const int fd = directory.OpenFile("a");
  CHECK_EQ(io.Open((directory.path() + "/missing/b").c_str(), O_RDONLY, 0), -ENOENT);
  CHECK_EQ(WriteFull(io, fd, "0123456789", 10, 4), 0);
  char bytes[20];
  CHECK_EQ(ReadFull(io, fd, bytes, sizeof bytes, 0), int64_t{14});
  CHECK(std::memcmp(bytes,
                    "\0\0\0\0"
                    "0123456789",
                    14) == 0);
  FileStat found;
  FileStat by_path;
  CHECK_EQ(io.Stat(fd, &found), 0);
  CHECK_EQ(io.StatPath(path.c_str(), &by_path), 0);
  CHECK_EQ(found.size, uint64_t{14});
  CHECK(found.inode == by_path.inode && found.device_minor == by_path.device_minor);
  CHECK_EQ(io.StatPath("/nowhere/at/all", &by_path), -ENOENT);
  CHECK_EQ(io.Allocate(fd, 14, 8192), 0);
  io.Stat(fd, &found);
  CHECK_EQ(found.size, uint64_t{8206});
  CHECK_EQ(io.SeekData(fd, 0), int64_t{0});
  CHECK_EQ(io.Ftruncate(fd, 1 << 20), 0);
  CHECK(io.SeekData(fd, 1 << 19) >= 1 << 19);
  CHECK_EQ(io.Fdatasync(fd), 0);
  CHECK_EQ(io.Fsync(fd), 0);
  CHECK_EQ(io.SyncDirectory(directory.path().c_str()), 0);
  CHECK_EQ(io.Evict(fd), 0);
  CHECK_EQ(io.Mkdir((directory.path() + "/sub").c_str(), 0755), 0);
  CHECK_EQ(io.Mkdir((directory.path() + "/sub").c_str(), 0755), -EEXIST);
  std::string names;
  CHECK_EQ(io.List(directory.path().c_str(), &names), 0);
  CHECK_EQ(names.size(), size_t{6});
  CHECK_EQ(io.List("/nowhere/at/all", &names), -ENOENT);
  CHECK_EQ(io.Rename((directory.path() + "/sub").c_str(), (directory.path() + "/sub2").c_str()), 0);
  CHECK_EQ(rmdir((directory.path() + "/sub2").c_str()), 0);
  CHECK_EQ(io.Unlink((directory.path() + "/none").c_str()), -ENOENT);

  const int second = io.Open(path.c_str(), O_RDWR, 0);
  CHECK_EQ(io.Lock(fd), 0);
  CHECK_EQ(io.Lock(second), -EAGAIN);
  CHECK_EQ(io.Close(fd), 0);
  CHECK_EQ(io.Lock(second), 0);
  CHECK_EQ(io.Close(second), 0);
  CHECK_EQ(io.Close(second), -EBADF);

  const std::string name = "sealog-io-test-" + std::to_string(getpid());
  CHECK_EQ(io.ProbeAbstractSocket(name.c_str()), 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  CHECK_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  CHECK_EQ(io.ProbeAbstractSocket(name.c_str()), -EADDRINUSE);
  close(listener);
  CHECK_EQ(io.ProbeAbstractSocket(std::string(200, 'x').c_str()), -ENAMETOOLONG);
}

void TestFaults() {
  TempDirectory directory;
  PosixIo posix;
  FaultingIo io(posix);
  const int fd = directory.OpenFile("a");
  io.Fault(IoKind::kWrite, 2, ENOSPC, false, 0);
  io.Fault(IoKind::kDatasync, 1, EIO, true, 0);
  io.Fault(IoKind::kRead, 1, 0, true, 3);
  CHECK_EQ(WriteFull(io, fd, "0123456789", 10, 0), 0);
  CHECK_EQ(WriteFull(io, fd, "0123456789", 10, 0), -ENOSPC);
  CHECK_EQ(WriteFull(io, fd, "0123456789", 10, 0), 0);
  char bytes[10];
  CHECK_EQ(io.Pread(fd, bytes, 10, 0), ssize_t{3});
  CHECK_EQ(ReadFull(io, fd, bytes, 10, 0), int64_t{10});
  CHECK_EQ(io.Count(IoKind::kRead), uint64_t{5});
  CHECK_EQ(io.Fdatasync(fd), -EIO);
  CHECK_EQ(io.Fdatasync(fd), -EIO);
  io.ClearFaults();
  CHECK_EQ(io.Fdatasync(fd), 0);
  CHECK_EQ(io.Count(IoKind::kDatasync), uint64_t{3});
  io.ResetCounts();
  CHECK_EQ(io.Count(IoKind::kDatasync), uint64_t{0});
  io.Fault(IoKind::kClose, 1, EIO, false, 0);
  CHECK_EQ(io.Close(fd), -EIO);
  CHECK_EQ(io.Close(fd), -EBADF);
}

struct RecordedEntry {
  uint8_t kind;
  int32_t fd;
  int32_t result;
  double a;
  double b;
  std::string path;
  std::string path2;
  std::string data;
};

std::vector<RecordedEntry> Decode(const std::vector<uint8_t>& bytes) {
  std::vector<RecordedEntry> entries;
  for (size_t at = 0; at < bytes.size();) {
    const uint8_t* from = bytes.data() + at;
    RecordedEntry entry;
    entry.kind = from[4];
    CHECK(from[5] == 0 && from[6] == 0 && from[7] == 0);
    std::memcpy(&entry.fd, from + 8, 4);
    std::memcpy(&entry.result, from + 12, 4);
    std::memcpy(&entry.a, from + 16, 8);
    std::memcpy(&entry.b, from + 24, 8);
    size_t next = 32;
    for (std::string* text : {&entry.path, &entry.path2}) {
      const uint32_t length = LoadU32(from + next);
      text->assign(reinterpret_cast<const char*>(from + next + 4), length);
      next += 4 + length;
    }
    entry.data.assign(reinterpret_cast<const char*>(from + next), LoadU32(from) - next);
    at += LoadU32(from);
    entries.push_back(entry);
  }
  return entries;
}

void TestRecording() {
  TempDirectory directory;
  PosixIo posix;
  RecordingIo io(posix);
  const std::string a = directory.path() + "/a";
  const std::string b = directory.path() + "/b";
  io.Close(io.Open(a.c_str(), O_RDWR | O_CREAT, 0644));
  CHECK(io.Take().empty());
  io.Record(true);
  const int fd = io.Open(a.c_str(), O_RDWR, 0);
  CHECK_EQ(io.Open("/nowhere/at/all", O_RDWR, 0), -ENOENT);
  iovec parts[] = {{const_cast<char*>("abc"), 3}, {const_cast<char*>("de"), 2}};
  CHECK_EQ(io.Pwritev(fd, parts, 2, 100), ssize_t{5});
  io.Fdatasync(fd);
  io.Note(42);
  io.Ftruncate(fd, 50);
  io.Allocate(fd, 50, 10);
  io.Rename(a.c_str(), b.c_str());
  io.SyncDirectory(directory.path().c_str());
  io.Mkdir((directory.path() + "/d").c_str(), 0755);
  io.Unlink(b.c_str());
  io.Close(fd);
  const std::vector<RecordedEntry> entries = Decode(io.Take());
  std::string kinds;
  for (const RecordedEntry& entry : entries) kinds += std::to_string(entry.kind) + " ";
  CHECK_EQ(kinds, "1 3 4 5 13 6 7 8 11 12 10 9 2 ");
  CHECK(entries[0].path == a && entries[0].result == fd && entries[0].fd == fd && entries[0].a == O_RDWR);
  CHECK(entries[1].data == "abcde" && entries[1].a == 100 && entries[1].fd == fd);
  CHECK(entries[3].result == 0 && entries[4].a == 42 && entries[5].a == 50);
  CHECK(entries[6].a == 50 && entries[6].b == 60);
  CHECK(entries[7].path == a && entries[7].path2 == b);
  CHECK(entries[8].path == directory.path());
  CHECK(io.Take().empty());
  rmdir((directory.path() + "/d").c_str());
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  TestPosix();
  TestOtherUsers();
  TestFaults();
  TestRecording();
  return Finish();
}
