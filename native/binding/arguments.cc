#include "arguments.h"

namespace sealog {

napi_value ThrowMistake(napi_env env, const char* message) {
  napi_throw_error(env, nullptr, message);
  return nullptr;
}

// Arguments that are not given arrive as undefined.
Arguments::Arguments(napi_env env, napi_callback_info info, size_t expected) : env_(env) {
  size_t count = expected;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values_, nullptr, &data);
  environment_ = static_cast<Environment*>(data);
}

bool Arguments::IsUndefined(size_t index) const {
  napi_valuetype type;
  return napi_typeof(env_, values_[index], &type) == napi_ok && type == napi_undefined;
}

bool Arguments::Number(size_t index, double* out) const {
  if (napi_get_value_double(env_, values_[index], out) == napi_ok) return true;
  ThrowMistake(env_, "an argument is not a number");
  return false;
}

bool Arguments::Numbers(size_t first, size_t count, double* out) const {
  for (size_t i = 0; i < count; i++) {
    if (!Number(first + i, &out[i])) return false;
  }
  return true;
}

bool Arguments::Bool(size_t index, bool* out) const {
  if (napi_get_value_bool(env_, values_[index], out) == napi_ok) return true;
  ThrowMistake(env_, "an argument is not a boolean");
  return false;
}

bool Arguments::Bytes(size_t index, ArrayView<uint8_t>* out) const {
  napi_typedarray_type type;
  void* data = nullptr;
  size_t length = 0;
  const napi_status status = napi_get_typedarray_info(env_, values_[index], &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != napi_uint8_array) {
    ThrowMistake(env_, "an argument is not a Uint8Array");
    return false;
  }
  *out = {static_cast<uint8_t*>(data), length};
  return true;
}

bool Arguments::Doubles(size_t index, ArrayView<double>* out) const {
  napi_typedarray_type type;
  void* data = nullptr;
  size_t length = 0;
  const napi_status status = napi_get_typedarray_info(env_, values_[index], &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != napi_float64_array) {
    ThrowMistake(env_, "an argument is not a Float64Array");
    return false;
  }
  *out = {static_cast<double*>(data), length};
  return true;
}

bool Arguments::OptionalBytes(size_t index, ArrayView<uint8_t>* out) const {
  return IsUndefined(index) || Bytes(index, out);
}

bool Arguments::OptionalDoubles(size_t index, ArrayView<double>* out) const {
  return IsUndefined(index) || Doubles(index, out);
}

bool Arguments::OptionalTable(size_t index, ArrayView<uint32_t>* words, ArrayView<double>* doubles) const {
  if (IsUndefined(index)) return true;
  napi_typedarray_type type;
  void* data = nullptr;
  size_t length = 0;
  const napi_status status = napi_get_typedarray_info(env_, values_[index], &type, &length, &data, nullptr, nullptr);
  if (status == napi_ok && type == napi_uint32_array) {
    *words = {static_cast<uint32_t*>(data), length};
    return true;
  }
  if (status == napi_ok && type == napi_float64_array) {
    *doubles = {static_cast<double*>(data), length};
    return true;
  }
  ThrowMistake(env_, "an argument is neither a Uint32Array nor a Float64Array");
  return false;
}

bool Arguments::OptionalText(size_t index, std::string* out) const {
  if (IsUndefined(index)) return true;
  size_t length = 0;
  if (napi_get_value_string_utf8(env_, values_[index], nullptr, 0, &length) != napi_ok) {
    ThrowMistake(env_, "an argument is not a string");
    return false;
  }
  out->resize(length);
  // The terminating NUL goes to the place that std::string has for its own.
  napi_get_value_string_utf8(env_, values_[index], out->data(), length + 1, &length);
  return true;
}

}  // namespace sealog
