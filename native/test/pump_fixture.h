// A pump over real files and sockets, with control of what it hears about the page cache.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <map>
#include <string>

#include "../core/pump.h"
#include "committer_fixture.h"

namespace sealog::test {

inline constexpr int64_t kLongMs = 60000;
inline constexpr int kPatienceMs = 10000;

// Says of files what a test wants to hear about the page cache, and holds sends of one file at a gate.
class TestedIo final : public PosixIo {
 public:
  int IsResident(int fd, uint64_t) override {
    MutexLock lock(mutex_);
    const auto found = resident_.find(fd);
    return found == resident_.end() ? -EOPNOTSUPP : found->second;
  }
  void ReadAhead(int fd, uint64_t position, uint64_t length) override {
    {
      MutexLock lock(mutex_);
      ahead_[fd] = position + length;
    }
    PosixIo::ReadAhead(fd, position, length);
  }
  int64_t SendFile(int socket, int file, uint64_t position, size_t length) override {
    {
      MutexLock lock(mutex_);
      if (file == held_file_) {
        held_++;
        changed_.SignalAll();
        while (file == held_file_) changed_.Wait(mutex_);
        held_--;
      }
    }
    return PosixIo::SendFile(socket, file, position, length);
  }

  void SetResident(int fd, int resident) {
    MutexLock lock(mutex_);
    resident_[fd] = resident;
  }
  uint64_t AheadOf(int fd) {
    MutexLock lock(mutex_);
    return ahead_[fd];
  }
  // -1: none.
  void Hold(int file) {
    MutexLock lock(mutex_);
    held_file_ = file;
    changed_.SignalAll();
  }
  void AwaitHeld() {
    MutexLock lock(mutex_);
    while (held_ == 0) changed_.Wait(mutex_);
  }
  int Held() {
    MutexLock lock(mutex_);
    return held_;
  }

 private:
  Mutex mutex_;
  Condition changed_;
  std::map<int, int> resident_;
  std::map<int, uint64_t> ahead_;
  int held_file_ = -1;
  int held_ = 0;
};

// Two ends of a connection; `near` is non-blocking.
struct Connection {
  static Connection Unix() {
    Connection made;
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    made.near = ends[0];
    made.far = ends[1];
    fcntl(made.near, F_SETFL, O_NONBLOCK);
    return made;
  }
  static Connection Tcp() {
    Connection made;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    CHECK_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
    CHECK_EQ(listen(listener, 1), 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    made.far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(made.far, reinterpret_cast<sockaddr*>(&address), length), 0);
    made.near = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    return made;
  }

  void CloseNear() { Close(&near); }
  void CloseFar() { Close(&far); }
  void CloseBoth() {
    CloseNear();
    CloseFar();
  }
  // At most `length` bytes, fewer when the peer shuts down or resets.
  std::string Read(size_t length) const {
    std::string bytes(length, '\0');
    size_t done = 0;
    while (done < length) {
      const ssize_t got = read(far, bytes.data() + done, length - done);
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    bytes.resize(done);
    return bytes;
  }

  int near = -1;
  int far = -1;

 private:
  static void Close(int* fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
};

struct PumpRig {
  explicit PumpRig(int threads = 2) : pump(current, events, threads) {}

  int MakeFile(size_t length) {
    content.resize(length);
    for (size_t i = 0; i < length; i++) content[i] = static_cast<char>((i * 2654435761u) >> 13);
    const int fd = directory.OpenFile("file-" + std::to_string(files++));
    CHECK_EQ(WriteFull(io, fd, content.data(), length, 0), 0);
    return fd;
  }
  struct Ending {
    double status;
    double sent;
  };
  void Drain() {
    EventRow row;
    while (events.Drain(&row, 1) == 1) {
      CHECK_EQ(row.columns[0], kEventDone);
      CHECK(!endings.contains(row.columns[1]));
      endings[row.columns[1]] = {row.columns[2], row.columns[3]};
    }
  }
  bool HasEnded(double ticket) {
    Drain();
    return endings.contains(ticket);
  }
  Ending Await(double ticket) {
    for (int waited = 0; waited < kPatienceMs && !HasEnded(ticket); waited++) usleep(1000);
    CHECK(endings.contains(ticket));
    return endings[ticket];
  }

  TempDirectory directory;
  TestedIo io;
  FaultingIo faulting{io};
  CurrentIo current{faulting};
  EventQueue events{[](void*) {}, nullptr};
  Pump pump;
  std::string content;
  int files = 0;
  std::map<double, Ending> endings;
};

}  // namespace sealog::test
