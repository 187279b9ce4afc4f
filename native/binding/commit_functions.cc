// Raw Node-API with numbers only: these are called once per tick, or per append.
#include "../core/committer.h"
#include "../core/seam.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

// The log of argument 0; null with an exception pending.
CommitLog* FindLog(const Arguments& arguments) {
  double handle;
  if (!arguments.Number(0, &handle)) return nullptr;
  CommitLog* log = arguments.GetEnvironment().GetCommitter().Find(handle);
  if (log == nullptr) ThrowMistake(arguments.Env(), "there is no such log");
  return log;
}

bool ReadLevel(const Arguments& arguments, size_t index, CommitLevel* out) {
  double number;
  if (!arguments.Number(index, &number)) return false;
  if (!(number >= 0 && number <= 3)) {
    ThrowMistake(arguments.Env(), "there is no such commit level");
    return false;
  }
  *out = static_cast<CommitLevel>(number);
  return true;
}

napi_value Ref(napi_env env, napi_callback_info info) {
  Arguments(env, info, 0).GetEnvironment().SetReferenced(true);
  return nullptr;
}

napi_value Unref(napi_env env, napi_callback_info info) {
  Arguments(env, info, 0).GetEnvironment().SetReferenced(false);
  return nullptr;
}

napi_value Stop(napi_env env, napi_callback_info info) {
  Arguments(env, info, 0).GetEnvironment().Stop();
  return nullptr;
}

napi_value CreateLog(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  double numbers[2];
  if (!arguments.Numbers(0, 2, numbers)) return nullptr;
  if (!(numbers[0] >= 0 && numbers[0] <= 2)) return ThrowMistake(env, "there is no such commit mode");
  const CommitLog* log =
      arguments.GetEnvironment().GetCommitter().CreateLog(static_cast<CommitMode>(numbers[0]), ToU64(numbers[1]));
  return log == nullptr ? ThrowMistake(env, "too many logs") : MakeNumber(env, log->handle);
}

napi_value DestroyLog(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  CommitLog* log = FindLog(arguments);
  if (log != nullptr && !arguments.GetEnvironment().GetCommitter().DestroyLog(log)) {
    ThrowMistake(env, "the log still has records to write");
  }
  return nullptr;
}

napi_value Attach(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  CommitLog* log = FindLog(arguments);
  ArrayView<double> numbers;
  if (log == nullptr || !arguments.Doubles(1, &numbers)) return nullptr;
  if (numbers.length < kStateLength) return ThrowMistake(env, "the state vector is too short");
  if (!arguments.GetEnvironment().GetCommitter().Attach(log, SegmentState::FromNumbers(numbers.data))) {
    ThrowMistake(env, "a segment is attached already, or does not go on where the queue does");
  }
  return nullptr;
}

napi_value Detach(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  CommitLog* log = FindLog(arguments);
  double ticket;
  if (log != nullptr && arguments.Number(1, &ticket)) arguments.GetEnvironment().GetCommitter().Detach(log, ticket);
  return nullptr;
}

napi_value DetachSync(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  CommitLog* log = FindLog(arguments);
  if (log == nullptr) return nullptr;
  arguments.GetEnvironment().GetCommitter().DetachSync(log);
  arguments.GetEnvironment().DeliverEvents();
  return nullptr;
}

napi_value State(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  CommitLog* log = FindLog(arguments);
  ArrayView<double> into;
  if (log == nullptr || !arguments.Doubles(1, &into)) return nullptr;
  if (into.length < kStateLength) return ThrowMistake(env, "the state vector is too short");
  arguments.GetEnvironment().GetCommitter().State(log).ToNumbers(into.data);
  return nullptr;
}

napi_value Submit(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  double numbers[2];
  if (!arguments.Numbers(0, 2, numbers)) return nullptr;
  const double count = numbers[0];
  const SharedViews& shared = arguments.GetEnvironment().Shared();
  Committer& committer = arguments.GetEnvironment().GetCommitter();
  if (!(count >= 0 && count <= static_cast<double>(shared.rows.length / kStagedWidth))) {
    return ThrowMistake(env, "there are not so many staged rows");
  }
  const char* mistake = committer.Submit(shared.rows.data, static_cast<size_t>(count), shared.staging.data,
                                         shared.staging.length, committer.Find(numbers[1]));
  return mistake == nullptr ? nullptr : ThrowMistake(env, mistake);
}

napi_value SubmitLarge(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 5);
  CommitLog* log = FindLog(arguments);
  double numbers[2];
  ArrayView<uint8_t> key;
  ArrayView<uint8_t> value;
  if (log == nullptr || !arguments.Numbers(1, 2, numbers) || !arguments.OptionalBytes(3, &key) ||
      !arguments.Bytes(4, &value)) {
    return nullptr;
  }
  napi_valuetype key_type;
  napi_typeof(env, arguments[3], &key_type);
  // A key without bytes is a key, too, and has no address.
  static constexpr uint8_t kNoBytes = 0;
  const uint8_t* key_bytes = key_type == napi_undefined ? nullptr : key.length == 0 ? &kNoBytes : key.data;
  const auto meta = static_cast<uint32_t>(ToU64(numbers[0]));
  const char* mistake = arguments.GetEnvironment().GetCommitter().SubmitLarge(
      log, {static_cast<uint8_t>(meta), static_cast<uint8_t>(meta >> 8), ToU64(numbers[1]), key_bytes, key.length,
            value.data, value.length});
  return mistake == nullptr ? nullptr : ThrowMistake(env, mistake);
}

napi_value Commit(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 3);
  CommitLog* log = FindLog(arguments);
  CommitLevel level;
  double ticket;
  if (log == nullptr || !ReadLevel(arguments, 1, &level) || !arguments.Number(2, &ticket)) return nullptr;
  arguments.GetEnvironment().GetCommitter().Commit(log, level, ticket);
  return nullptr;
}

napi_value CommitSync(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  CommitLog* log = FindLog(arguments);
  CommitLevel level;
  if (log == nullptr || !ReadLevel(arguments, 1, &level)) return nullptr;
  const CommitStatus status = arguments.GetEnvironment().GetCommitter().CommitSync(log, level);
  if (!arguments.GetEnvironment().DeliverEvents()) return nullptr;
  return MakeNumber(env, static_cast<double>(status));
}

napi_value Resume(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  CommitLog* log = FindLog(arguments);
  double next_offset;
  if (log == nullptr || !arguments.Number(1, &next_offset)) return nullptr;
  if (!arguments.GetEnvironment().GetCommitter().Resume(log, ToU64(next_offset))) {
    ThrowMistake(env, "the segment goes on at another offset");
  }
  return nullptr;
}

}  // namespace

bool DefineCommitFunctions(napi_env env, napi_value kernels, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("ref", Ref, environment),
      Function("unref", Unref, environment),
      Function("stop", Stop, environment),
      Function("createLog", CreateLog, environment),
      Function("destroyLog", DestroyLog, environment),
      Function("attach", Attach, environment),
      Function("detach", Detach, environment),
      Function("detachSync", DetachSync, environment),
      Function("state", State, environment),
      Function("submit", Submit, environment),
      Function("submitLarge", SubmitLarge, environment),
      Function("commit", Commit, environment),
      Function("commitSync", CommitSync, environment),
      Function("resume", Resume, environment),
  };
  return napi_define_properties(env, kernels, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
