// What the commands of raw_limits share: arguments, failing, samples.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace raw_limits {

using Clock = std::chrono::steady_clock;

inline double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] inline void Fail(const char* what, const char* detail) {
  (void)std::fprintf(stderr, "raw_limits: %s: %s\n", what, detail);
  std::exit(1);
}

[[noreturn]] inline void FailErrno(const char* what) { Fail(what, std::strerror(errno)); }

class Arguments {
 public:
  Arguments(int count, char** values) : values_(values, values + count) {}

  std::vector<std::string> All(std::string_view name) const {
    std::vector<std::string> found;
    for (std::string_view value : values_) {
      if (value.size() > name.size() && value.substr(0, name.size()) == name && value[name.size()] == '=') {
        found.emplace_back(value.substr(name.size() + 1));
      }
    }
    return found;
  }

  uint64_t Number(std::string_view name, int64_t fallback = -1) const {
    const std::vector<std::string> found = All(name);
    if (!found.empty()) return std::strtoull(found[0].c_str(), nullptr, 10);
    if (fallback < 0) Fail("missing argument", std::string(name).c_str());
    return static_cast<uint64_t>(fallback);
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> files = All("file");
    if (files.empty()) Fail("missing argument", "file");
    return files;
  }

 private:
  std::vector<std::string_view> values_;
};

// A formula that the JavaScript side repeats to compare checksums.
inline std::vector<uint8_t> Pattern(uint64_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint64_t i = 0; i < size; i++) bytes[i] = static_cast<uint8_t>(i * 31 + (i >> 8));
  return bytes;
}

// Prints the percentiles of latencies as fields of a JSON object, each with a comma before it. Sorts the samples.
inline void PrintPercentiles(std::vector<double>* samples) {
  struct Percentile {
    const char* name;
    uint64_t per_mille;
  };
  constexpr Percentile kPercentiles[] = {
      {"p50Seconds", 500}, {"p90Seconds", 900}, {"p99Seconds", 990}, {"p999Seconds", 999}, {"maxSeconds", 1000}};
  std::sort(samples->begin(), samples->end());
  const uint64_t count = samples->size();
  for (const auto& [name, per_mille] : kPercentiles) {
    const uint64_t rank = std::max<uint64_t>(1, (count * per_mille + 999) / 1000);
    std::printf(",\"%s\":%.9g", name, (*samples)[rank - 1]);
  }
}

void Append(const Arguments& arguments);
void Sync(const Arguments& arguments);
void RandomReads(const Arguments& arguments);
void Scan(const Arguments& arguments);
void Evict(const Arguments& arguments);

}  // namespace raw_limits
