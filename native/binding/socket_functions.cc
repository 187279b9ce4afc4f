#include "../core/pump.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

napi_value SendFile(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 6);
  double numbers[6];
  if (!arguments.Numbers(0, 6, numbers)) return nullptr;
  if (ToU64(numbers[0]) == 0) return ThrowMistake(env, "a ticket is greater than 0");
  const int status = arguments.GetEnvironment().GetPump().Start(
      numbers[0], static_cast<int>(numbers[1]), static_cast<int>(numbers[2]), ToU64(numbers[3]), ToU64(numbers[4]),
      static_cast<int64_t>(ToU64(numbers[5])));
  return MakeNumber(env, status);
}

napi_value CancelSend(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  double ticket;
  if (!arguments.Number(0, &ticket)) return nullptr;
  arguments.GetEnvironment().GetPump().Cancel(ticket);
  return nullptr;
}

}  // namespace

bool DefineSocketFunctions(napi_env env, napi_value kernels, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("sendFile", SendFile, environment),
      Function("cancelSend", CancelSend, environment),
  };
  return napi_define_properties(env, kernels, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
