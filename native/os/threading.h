// Mutex, condition variable and thread start over pthreads: the standard ones would bind the addon to a newer libstdc++
// and glibc. Objects of these types live on the heap of one environment, never in static storage: a process may end
// while threads still wait on them.
#pragma once

#include <pthread.h>

#include <cstdint>

namespace sealog {

class Mutex {
 public:
  Mutex() { pthread_mutex_init(&mutex_, nullptr); }
  ~Mutex() { pthread_mutex_destroy(&mutex_); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() { pthread_mutex_lock(&mutex_); }
  void Unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  friend class Condition;
  pthread_mutex_t mutex_;
};

// Holds a mutex for a scope; may be released and taken again in between.
class MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() {
    if (held_) mutex_.Unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Lock() {
    mutex_.Lock();
    held_ = true;
  }
  void Unlock() {
    held_ = false;
    mutex_.Unlock();
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

class Condition {
 public:
  Condition();
  ~Condition() { pthread_cond_destroy(&condition_); }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  void Wait(Mutex& mutex) { pthread_cond_wait(&condition_, &mutex.mutex_); }
  // False when `deadline` (of MonotonicMs) has passed.
  bool WaitUntil(Mutex& mutex, int64_t deadline);
  void SignalOne() { pthread_cond_signal(&condition_); }
  void SignalAll() { pthread_cond_broadcast(&condition_); }

 private:
  pthread_cond_t condition_;
};

int64_t MonotonicMs();
int64_t MonotonicNs();
// Lets others run that want this processor.
void YieldProcessor();

// Starts a joinable thread that gets no signals; 0 or an errno.
int StartThread(pthread_t* thread, void* (*run)(void*), void* argument);
// For debuggers and `top`: at most 15 bytes.
void NameThisThread(const char* name);

// kLow: others that want the processor go first. kUrgent: no larger share of it, but soon, as somebody waits for what
// takes microseconds.
enum class ThreadPriority : uint8_t { kNormal, kLow, kUrgent };
// For good, as far as the system has such priorities.
void SetPriorityOfThisThread(ThreadPriority priority);

}  // namespace sealog
