#include "../core/crc32c.h"
#include "../core/file_request.h"
#include "../core/read_record.h"
#include "../core/seam.h"
#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace sealog {

namespace {

// The indexes that a compaction names, as they are now.
bool TakeVersions(const Arguments& arguments, FileRequest* request) {
  const auto take = [&](double handle) {
    const OrderedIndex* index = arguments.GetEnvironment().Indexes().Find(handle);
    if (index == nullptr) {
      ThrowMistake(arguments.Env(), "there is no such index");
      return false;
    }
    request->versions.emplace_back(index->Copy());
    return true;
  };
  if (!take(request->numbers[kCompactIndex])) return false;
  for (size_t i = kCompactLength; i < request->numbers_length; i++) {
    if (!take(request->numbers[i])) return false;
  }
  return true;
}

// For a request whose numbers are there.
bool FindDictionary(const Arguments& arguments, FileRequest* request) {
  const bool packs = request->operation == FileOperation::kPack;
  if (!packs && request->operation != FileOperation::kUnpack) return true;
  Environment& environment = arguments.GetEnvironment();
  request->decompressors = &environment.GetDecompressors();
  const double handle = request->numbers[packs ? kPackDictionary : kUnpackDictionary];
  if (handle == -1) return true;
  request->dictionary = environment.FindDictionary(handle);
  if (request->dictionary == nullptr) ThrowMistake(arguments.Env(), "there is no such dictionary");
  return request->dictionary != nullptr;
}

// Reads operation, fd, a, b, bytes, numbers, table, path, path2 from argument `first` on.
bool ReadRequest(const Arguments& arguments, size_t first, FileRequest* request) {
  double operands[4];
  ArrayView<uint8_t> bytes;
  ArrayView<double> numbers;
  ArrayView<uint32_t> table;
  ArrayView<double> entries;
  if (!arguments.Numbers(first, 4, operands) || !arguments.OptionalBytes(first + 4, &bytes) ||
      !arguments.OptionalDoubles(first + 5, &numbers) || !arguments.OptionalTable(first + 6, &table, &entries) ||
      !arguments.OptionalText(first + 7, &request->path) || !arguments.OptionalText(first + 8, &request->path2)) {
    return false;
  }
  request->operation = static_cast<FileOperation>(operands[0] >= 0 && operands[0] < 256 ? operands[0] : 0);
  request->fd = static_cast<int>(operands[1]);
  request->a = operands[2];
  request->b = operands[3];
  request->bytes = bytes.data;
  request->bytes_length = bytes.length;
  request->numbers = numbers.data;
  request->numbers_length = numbers.length;
  request->table = table.data;
  request->table_length = table.length;
  request->entries = entries.data;
  request->entries_length = entries.length;
  const char* mistake = CheckFileRequest(*request);
  if (mistake != nullptr) {
    ThrowMistake(arguments.Env(), mistake);
    return false;
  }
  if (request->operation == FileOperation::kCompact) return TakeVersions(arguments, request);
  return FindDictionary(arguments, request);
}

napi_value Request(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 10);
  double ticket;
  if (!arguments.Number(0, &ticket)) return nullptr;
  auto request = std::make_unique<BoundRequest>();
  request->ticket = ticket;
  if (!ReadRequest(arguments, 1, &request->request)) return nullptr;
  for (size_t i = 0; i < BoundRequest::kMaxArrays; i++) {
    napi_valuetype type;
    napi_typeof(env, arguments[5 + i], &type);
    if (type != napi_undefined) napi_create_reference(env, arguments[5 + i], 1, &request->arrays[i]);
  }
  arguments.GetEnvironment().StartRequest(request.release());
  return nullptr;
}

napi_value RequestSync(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 9);
  FileRequest request;
  if (!ReadRequest(arguments, 0, &request)) return nullptr;
  ExecuteFileRequest(arguments.GetEnvironment().GetIo(), &request);
  arguments.GetEnvironment().ReleaseVersions(&request);
  if (request.operation == FileOperation::kList) arguments.GetEnvironment().KeepText(0, std::move(request.text));
  return MakeNumber(env, static_cast<double>(request.status));
}

napi_value FinishSync(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  double ticket;
  double status;
  if (!arguments.Number(0, &ticket)) return nullptr;
  if (!arguments.GetEnvironment().FinishRequest(ticket, &status)) return ThrowMistake(env, "there is no such request");
  return MakeNumber(env, status);
}

napi_value TakeText(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 1);
  double ticket;
  if (!arguments.Number(0, &ticket)) return nullptr;
  const std::string text = arguments.GetEnvironment().TakeText(ticket);
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value ReadOneRecord(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 8);
  double numbers[8];
  if (!arguments.Numbers(0, 8, numbers)) return nullptr;
  Environment& environment = arguments.GetEnvironment();
  const SharedViews& shared = environment.Shared();
  const int status =
      ReadRecord(environment.GetIo(), static_cast<int>(numbers[0]), static_cast<uint32_t>(ToU64(numbers[1])),
                 ToU64(numbers[2]), ToU64(numbers[3]), ToU64(numbers[4]), numbers[5], ToU64(numbers[6]),
                 static_cast<uint32_t>(ToU64(numbers[7])), shared.copy_out.data, shared.copy_out.length, shared.out.data);
  return MakeNumber(env, status);
}

napi_value Crc32c(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info, 2);
  ArrayView<uint8_t> bytes;
  double seed;
  if (!arguments.Bytes(0, &bytes) || !arguments.Number(1, &seed)) return nullptr;
  return MakeNumber(env, Crc32cExtend(static_cast<uint32_t>(ToU64(seed)), bytes.data, bytes.length));
}

}  // namespace

bool DefineFileFunctions(napi_env env, napi_value kernels, Environment* environment) {
  const napi_property_descriptor functions[] = {
      Function("request", Request, environment),          Function("requestSync", RequestSync, environment),
      Function("finishSync", FinishSync, environment),    Function("takeText", TakeText, environment),
      Function("readRecord", ReadOneRecord, environment), Function("crc32c", Crc32c, environment),
  };
  return napi_define_properties(env, kernels, sizeof functions / sizeof functions[0], functions) == napi_ok;
}

}  // namespace sealog
