// The little that the C++ tests need: a check that names its place and its values, and an exit status.
#pragma once

#include <cstdio>
#include <string>
#include <type_traits>

namespace sealog::test {

struct Outcome {
  long checks = 0;
  long failures = 0;
};

inline Outcome outcome;

template <typename T>
std::string Show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else {
    return "\"" + std::string(value) + "\"";
  }
}

inline void Note(bool good, const char* file, int line, const std::string& what) {
  outcome.checks++;
  if (good) return;
  outcome.failures++;
  if (outcome.failures <= 20) std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

// For the end of main: the process's exit status.
inline int Finish() {
  std::printf("%ld checks, %ld failed\n", outcome.checks, outcome.failures);
  return outcome.failures == 0 ? 0 : 1;
}

}  // namespace sealog::test

#define CHECK(condition) ::sealog::test::Note(static_cast<bool>(condition), __FILE__, __LINE__, #condition)

#define CHECK_EQ(actual, expected)                                                                       \
  do {                                                                                                   \
    const auto& check_actual = (actual);                                                                 \
    const auto& check_expected = (expected);                                                             \
    const bool check_good = check_actual == check_expected;                                              \
    ::sealog::test::Note(check_good, __FILE__, __LINE__,                                                 \
                         check_good ? std::string()                                                      \
                                    : std::string(#actual " is ") + ::sealog::test::Show(check_actual) + \
                                          ", expected " + ::sealog::test::Show(check_expected));         \
  } while (false)
