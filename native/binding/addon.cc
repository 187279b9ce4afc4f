// The module: one function, `create`, that makes a set of kernels for lib/kernels/native.ts. Nothing is shared between
// two of them, nor between threads of JavaScript.
#include <fcntl.h>
#include <node_api.h>

#include <algorithm>

#include "../core/pump.h"
#include "../core/seam.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

#if defined(__linux__)
constexpr bool kCanPreallocate = true;
#else
constexpr bool kCanPreallocate = false;
#endif
#if defined(F_OFD_SETLK)
constexpr bool kCanLock = true;
#else
constexpr bool kCanLock = false;
#endif

int ThreadLimit(double number) { return static_cast<int>(std::clamp(number, 1.0, 1024.0)); }

bool SetBool(napi_env env, napi_value object, const char* name, bool value) {
  napi_value wrapped;
  return napi_get_boolean(env, value, &wrapped) == napi_ok &&
         napi_set_named_property(env, object, name, wrapped) == napi_ok;
}

// create(syncThreads, writeThreads, readerThreads, sealThreads, archiveThreads, sendThreads, cacheBytes, staging, rows,
// events, out, copyOut, keys, wake) -> functions, can, testing
napi_value Create(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 14);
  double limits[7];
  SharedViews shared;
  if (!arguments.Numbers(0, 7, limits) || !arguments.Bytes(7, &shared.staging) || !arguments.Doubles(8, &shared.rows) ||
      !arguments.Doubles(9, &shared.events) || !arguments.Doubles(10, &shared.out) ||
      !arguments.Bytes(11, &shared.copy_out) || !arguments.Bytes(12, &shared.keys)) {
    return nullptr;
  }
  if (shared.events.length < kEventWidth || shared.out.length < kOutLength) {
    return ThrowMistake(env, "`events` or `out` is too short");
  }
  napi_valuetype wake_type;
  if (napi_typeof(env, arguments[13], &wake_type) != napi_ok || wake_type != napi_function) {
    return ThrowMistake(env, "`wake` is not a function");
  }
  Environment* environment = Environment::Create(
      env,
      {ThreadLimit(limits[0]), ThreadLimit(limits[1]), ThreadLimit(limits[2]), ThreadLimit(limits[3]),
       ThreadLimit(limits[4]), ThreadLimit(limits[5]), ToUnsigned(limits[6])},
      shared, arguments[13], {arguments[7], arguments[8], arguments[9], arguments[10], arguments[11], arguments[12]});
  if (environment == nullptr) return nullptr;
  napi_value kernels = nullptr;
  napi_value can = nullptr;
  napi_value testing = nullptr;
  const bool good =
      napi_create_object(env, &kernels) == napi_ok && napi_create_object(env, &can) == napi_ok &&
      napi_create_object(env, &testing) == napi_ok && SetBool(env, can, "preallocate", kCanPreallocate) &&
      SetBool(env, can, "fileLock", kCanLock) && SetBool(env, can, "ownThreads", true) &&
      SetBool(env, can, "sendfile", Pump::kSupported) && SetBool(env, can, "compress", true) &&
      DefineCommitFunctions(env, kernels, environment) && DefineCacheFunctions(env, kernels, environment) &&
      DefineIndexFunctions(env, kernels, environment) && DefineDictionaryFunctions(env, kernels, environment) &&
      DefineFileFunctions(env, kernels, environment) && DefineSocketFunctions(env, kernels, environment) &&
      DefineTestingFunctions(env, testing, environment) &&
      napi_set_named_property(env, kernels, "can", can) == napi_ok &&
      napi_set_named_property(env, kernels, "testing", testing) == napi_ok;
  return good ? kernels : ThrowMistake(env, "the kernels could not be made");
}

}  // namespace

}  // namespace sealog

NAPI_MODULE_INIT() {
  const napi_property_descriptor create = {"create", nullptr, sealog::Create,  nullptr,
                                           nullptr,  nullptr, napi_enumerable, nullptr};
  napi_define_properties(env, exports, 1, &create);
  return exports;
}
