#include "threading.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#if defined(__APPLE__)
#include <pthread/qos.h>
#elif defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sealog {

namespace {

// Enough for every kernel function and for sanitizers; the default would reserve 8 MiB of addresses per thread, or 128
// KiB on musl.
constexpr size_t kStackBytes = 1024 * 1024;

#if defined(__linux__)
constexpr int kLowPriorityNice = 10;

// Of what the scheduler takes, from 0.1 to 100 ms.
constexpr uint64_t kLongSliceNs = 100'000'000;
constexpr uint64_t kShortSliceNs = 100'000;

// struct sched_attr, which not every C library has.
struct SchedulingAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t real_time_priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

// Since Linux 6.12 a thread that wakes up takes the processor at once from one with a longer slice; otherwise it may
// have to wait for milliseconds until that has used up its own, whatever its nice value. Older ones ignore it.
void SetSliceOfThisThread(uint64_t nanoseconds) {
#if defined(SYS_sched_setattr)
  constexpr uint64_t kKeepPolicy = 0x08;
  SchedulingAttributes attributes = {};
  attributes.size = sizeof attributes;
  attributes.flags = kKeepPolicy;
  attributes.nice = getpriority(PRIO_PROCESS, 0);
  attributes.runtime = nanoseconds;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
#else
  (void)nanoseconds;
#endif
}
#endif

}  // namespace

Condition::Condition() {
#if defined(__APPLE__)
  pthread_cond_init(&condition_, nullptr);
#else
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&condition_, &attributes);
  pthread_condattr_destroy(&attributes);
#endif
}

bool Condition::WaitUntil(Mutex& mutex, int64_t deadline) {
#if defined(__APPLE__)
  const int64_t left = deadline - MonotonicMs();
  if (left <= 0) return false;
  const timespec wait = {static_cast<time_t>(left / 1000), static_cast<long>(left % 1000) * 1000000};
  return pthread_cond_timedwait_relative_np(&condition_, &mutex.mutex_, &wait) != ETIMEDOUT;
#else
  const timespec until = {static_cast<time_t>(deadline / 1000), static_cast<long>(deadline % 1000) * 1000000};
  return pthread_cond_timedwait(&condition_, &mutex.mutex_, &until) != ETIMEDOUT;
#endif
}

int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

int64_t MonotonicMs() { return MonotonicNs() / 1000000; }

void YieldProcessor() { sched_yield(); }

int StartThread(pthread_t* thread, void* (*run)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  // A thread inherits the mask: signals belong to the threads of Node.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int status = pthread_create(thread, &attributes, run, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return status;
}

void NameThisThread(const char* name) {
#if defined(__APPLE__)
  pthread_setname_np(name);
#else
  pthread_setname_np(pthread_self(), name);
#endif
}

// A failure is ignored: the work gets done all the same, only less politely.
void SetPriorityOfThisThread([[maybe_unused]] ThreadPriority priority) {
#if defined(__APPLE__)
  if (priority == ThreadPriority::kLow) pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#elif defined(__linux__)
  if (priority == ThreadPriority::kNormal) return;
  // On Linux this concerns the calling thread alone; elsewhere it would be the whole process.
  if (priority == ThreadPriority::kLow) setpriority(PRIO_PROCESS, 0, kLowPriorityNice);
  SetSliceOfThisThread(priority == ThreadPriority::kLow ? kLongSliceNs : kShortSliceNs);
#endif
}

}  // namespace sealog
