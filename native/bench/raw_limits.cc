// The limits that sealog is held against: what this machine does without Node and without a log. One measurement a
// call:
//
//   raw_limits memcpy  size=B
//   raw_limits crc     size=B [implementation=NAME]
//   raw_limits append  file=PATH bytes=N group=B [preallocate=1] [syncMs=1000] [frame=B [source=B]]
//   raw_limits sync    file=PATH bytes=B count=N [preallocate=1]
//   raw_limits pread   file=PATH… size=B count=N [seed=N] [evict=1]
//   raw_limits scan    file=PATH… block=B [crc=1] [evict=1]
//   raw_limits evict   file=PATH…
//
// prints one line of JSON, or a reason on stderr and exit code 1. Times are seconds; nothing is rounded.
#include "raw_limits.h"

#include <cinttypes>

#include "../core/crc32c.h"

namespace raw_limits {
namespace {

constexpr double kMeasureSeconds = 0.3;

// Calls `once` until kMeasureSeconds have passed, after a warm-up of a tenth of that; bytes per second of the best
// tenth-sized slice. The best slice is the limit: what disturbs it is the machine, not the code.
template <typename Once>
double BestRate(uint64_t size, Once once) {
  constexpr double kSlice = kMeasureSeconds / 10;
  double best = 0;
  for (int slice = 0; slice <= 10; slice++) {
    uint64_t calls = 0;
    const auto start = Clock::now();
    double seconds = 0;
    while (seconds < kSlice) {
      for (int i = 0; i < 64; i++) once();
      calls += 64;
      seconds = SecondsSince(start);
    }
    if (slice > 0) best = std::max(best, static_cast<double>(calls * size) / seconds);
  }
  return best;
}

void Memcpy(const Arguments& arguments) {
  const uint64_t size = arguments.Number("size");
  const std::vector<uint8_t> source = Pattern(size);
  std::vector<uint8_t> target(size);
  const double rate = BestRate(size, [&] {
    std::memcpy(target.data(), source.data(), size);
    asm volatile("" : : "r"(target.data()) : "memory");  // or the compiler keeps one copy of many
  });
  std::printf("{\"size\":%" PRIu64 ",\"bytesPerSecond\":%.9g}\n", size, rate);
}

// The named implementation; or, without a name, the one that the log uses, which is the last.
void Crc(const Arguments& arguments) {
  const uint64_t size = arguments.Number("size");
  const std::vector<uint8_t> source = Pattern(size);
  sealog::Crc32cImplementation implementations[sealog::kMaxCrc32cImplementations];
  const size_t count = sealog::ListCrc32cImplementations(implementations);
  const uint32_t expected = sealog::Crc32cExtend(0, source.data(), size);

  const std::vector<std::string> names = arguments.All("implementation");
  size_t chosen = count - 1;
  while (!names.empty() && names[0] != implementations[chosen].name) {
    if (chosen-- == 0) Fail("this processor does not run", names[0].c_str());
  }
  const sealog::Crc32cFunction extend = implementations[chosen].extend;
  const uint32_t crc = extend(0, source.data(), size);
  if (crc != expected) Fail(implementations[chosen].name, "differs from Crc32cExtend");
  uint32_t sink = 0;
  const double rate = BestRate(size, [&] {
    sink ^= extend(0, source.data(), size);
    asm volatile("" : "+r"(sink) : : "memory");
  });
  std::printf("{\"size\":%" PRIu64 ",\"name\":\"%s\",\"bytesPerSecond\":%.9g,\"crc\":%" PRIu32 "}\n", size,
              implementations[chosen].name, rate, crc);
}

}  // namespace
}  // namespace raw_limits

int main(int argc, char** argv) {
  using namespace raw_limits;
  if (argc < 2) Fail("usage", "raw_limits memcpy|crc|append|sync|pread|scan|evict name=value …");
  const std::string_view command = argv[1];
  const Arguments arguments(argc - 2, argv + 2);
  if (command == "memcpy") {
    Memcpy(arguments);
  } else if (command == "crc") {
    Crc(arguments);
  } else if (command == "append") {
    Append(arguments);
  } else if (command == "sync") {
    Sync(arguments);
  } else if (command == "pread") {
    RandomReads(arguments);
  } else if (command == "scan") {
    Scan(arguments);
  } else if (command == "evict") {
    Evict(arguments);
  } else {
    Fail("unknown command", argv[1]);
  }
  return 0;
}
