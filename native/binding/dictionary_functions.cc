#include "../core/compression.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

napi_value CreateDictionary(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  ArrayView<uint8_t> content;
  if (!arguments.Bytes(0, &content)) return nullptr;
  if (content.length < Dictionary::kMinBytes) return ThrowMistake(env, "a dictionary has at least 8 bytes");
  std::shared_ptr<Dictionary> dictionary = Dictionary::Create(content.data, content.length);
  if (dictionary == nullptr) return ThrowMistake(env, "there is no memory for the dictionary");
  return MakeNumber(env, arguments.GetEnvironment().AddDictionary(std::move(dictionary)));
}

napi_value DestroyDictionary(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  double handle;
  if (!arguments.Number(0, &handle)) return nullptr;
  return arguments.GetEnvironment().RemoveDictionary(handle) ? nullptr
                                                             : ThrowMistake(env, "there is no such dictionary");
}

}  // namespace

bool DefineDictionaryFunctions(napi_env env, napi_value kernels, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("createDictionary", CreateDictionary, environment),
      Function("destroyDictionary", DestroyDictionary, environment),
  };
  return napi_define_properties(env, kernels, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
