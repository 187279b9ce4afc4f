#pragma once

#include <node_api.h>

namespace sealog {

class Environment;

// Put the functions of `Kernels` (lib/kernels/kernels.ts) on an object.
bool DefineCommitFunctions(napi_env env, napi_value kernels, Environment* environment);
bool DefineCacheFunctions(napi_env env, napi_value kernels, Environment* environment);
bool DefineIndexFunctions(napi_env env, napi_value kernels, Environment* environment);
bool DefineFileFunctions(napi_env env, napi_value kernels, Environment* environment);
bool DefineDictionaryFunctions(napi_env env, napi_value kernels, Environment* environment);
bool DefineSocketFunctions(napi_env env, napi_value kernels, Environment* environment);
// Those of `Testing`.
bool DefineTestingFunctions(napi_env env, napi_value testing, Environment* environment);

inline napi_property_descriptor Function(const char* name, napi_callback callback, Environment* environment) {
  return {name, nullptr, callback, nullptr, nullptr, nullptr, napi_enumerable, environment};
}

}  // namespace sealog
