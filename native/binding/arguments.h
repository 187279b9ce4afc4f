#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace sealog {

class Environment;

// Throws an Error for a mistake of the caller; returns null for the callback to return.
napi_value ThrowMistake(napi_env env, const char* message);

inline napi_value MakeNumber(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

template <typename Element>
struct ArrayView {
  Element* data = nullptr;
  // In elements.
  size_t length = 0;
};

// The arguments of a call. Each getter returns false, with an exception pending, for what has another type.
class Arguments {
 public:
  static constexpr size_t kMax = 14;

  Arguments(napi_env env, napi_callback_info info, size_t expected);

  napi_env Env() const { return env_; }
  // The `data` that the function was made with.
  Environment& GetEnvironment() const { return *environment_; }
  napi_value operator[](size_t index) const { return values_[index]; }

  bool Number(size_t index, double* out) const;
  // `count` numbers from argument `first` on.
  bool Numbers(size_t first, size_t count, double* out) const;
  bool Bool(size_t index, bool* out) const;
  bool Bytes(size_t index, ArrayView<uint8_t>* out) const;
  bool Doubles(size_t index, ArrayView<double>* out) const;
  // `undefined` leaves the view or text as it is.
  bool OptionalBytes(size_t index, ArrayView<uint8_t>* out) const;
  bool OptionalDoubles(size_t index, ArrayView<double>* out) const;
  // A Uint32Array or a Float64Array.
  bool OptionalTable(size_t index, ArrayView<uint32_t>* words, ArrayView<double>* doubles) const;
  bool OptionalText(size_t index, std::string* out) const;

 private:
  bool IsUndefined(size_t index) const;

  napi_env env_;
  napi_value values_[kMax];
  Environment* environment_ = nullptr;
};

}  // namespace sealog
