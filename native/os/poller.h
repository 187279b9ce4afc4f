#pragma once

#include <cstdint>

namespace sealog {

// Tells when sockets have room for more: epoll on Linux, kqueue elsewhere. Several threads may wait at once; what a
// socket has to tell goes to one of them, once per Add or Rearm.
class Poller {
 public:
  Poller() = default;
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Before anything else; 0 or -errno.
  int Open();
  // `key` (not 0) comes back from Wait. 0 or -errno.
  int Add(int socket, uint64_t key);
  // For a socket whose key has come back.
  int Rearm(int socket, uint64_t key);
  // Always before the socket is closed: the system goes on watching while another descriptor of it is open. A key that
  // a thread is just receiving may still come.
  void Remove(int socket);
  // Makes at least one waiting thread, or else the next one to wait, return 0.
  void Wake();
  // The key of a socket that has room or is broken; 0 after Wake and at `deadline` (of MonotonicMs).
  uint64_t Wait(int64_t deadline);

 private:
  int poller_ = -1;
  // An eventfd; unused with kqueue.
  int wake_ = -1;
};

}  // namespace sealog
