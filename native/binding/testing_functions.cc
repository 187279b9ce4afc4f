#include <cstring>

#include "../os/io_kinds.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

napi_value Fault(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 5);
  std::string kind;
  double nth;
  double error;
  double short_bytes;
  bool forever;
  if (!arguments.OptionalText(0, &kind) || !arguments.Number(1, &nth) || !arguments.Number(2, &error) ||
      !arguments.Bool(3, &forever) || !arguments.Number(4, &short_bytes)) {
    return nullptr;
  }
  for (size_t i = 0; i < kIoKinds; i++) {
    if (kind != kIoKindNames[i]) continue;
    arguments.GetEnvironment().TestedKernel().faulting.Fault(static_cast<IoKind>(i), ToU64(nth),
                                                             static_cast<int>(error), forever, ToU64(short_bytes));
    return nullptr;
  }
  return ThrowMistake(env, "there is no such kind of system call");
}

napi_value ClearFaults(napi_env env, napi_callback_info info) {
  Arguments(env, info, 0).GetEnvironment().TestedKernel().faulting.ClearFaults();
  return nullptr;
}

napi_value Counts(napi_env env, napi_callback_info info) {
  FaultingIo& io = Arguments(env, info, 0).GetEnvironment().TestedKernel().faulting;
  napi_value counts = nullptr;
  napi_create_object(env, &counts);
  for (size_t i = 0; i < kIoKinds; i++) {
    napi_set_named_property(env, counts, kIoKindNames[i],
                            MakeNumber(env, static_cast<double>(io.Count(static_cast<IoKind>(i)))));
  }
  return counts;
}

napi_value ResetCounts(napi_env env, napi_callback_info info) {
  Arguments(env, info, 0).GetEnvironment().TestedKernel().faulting.ResetCounts();
  return nullptr;
}

napi_value Record(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  bool on;
  if (arguments.Bool(0, &on)) arguments.GetEnvironment().TestedKernel().recording.Record(on);
  return nullptr;
}

napi_value Note(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  double number;
  if (arguments.Number(0, &number)) arguments.GetEnvironment().TestedKernel().recording.Note(number);
  return nullptr;
}

napi_value TakeRecording(napi_env env, napi_callback_info info) {
  const std::vector<uint8_t> entries = Arguments(env, info, 0).GetEnvironment().TestedKernel().recording.Take();
  void* data = nullptr;
  napi_value buffer;
  napi_value bytes = nullptr;
  if (napi_create_arraybuffer(env, entries.size(), &data, &buffer) != napi_ok) {
    return ThrowMistake(env, "there is no memory for the recording");
  }
  if (!entries.empty()) memcpy(data, entries.data(), entries.size());
  napi_create_typedarray(env, napi_uint8_array, entries.size(), buffer, 0, &bytes);
  return bytes;
}

}  // namespace

bool DefineTestingFunctions(napi_env env, napi_value testing, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("fault", Fault, environment),
      Function("clearFaults", ClearFaults, environment),
      Function("counts", Counts, environment),
      Function("resetCounts", ResetCounts, environment),
      Function("record", Record, environment),
      Function("note", Note, environment),
      Function("takeRecording", TakeRecording, environment),
  };
  return napi_define_properties(env, testing, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
