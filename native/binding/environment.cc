#include "environment.h"

#include <algorithm>

namespace sealog {

namespace {

// How long stopping waits for system calls under way.
constexpr int64_t kPatienceMs = 5000;
constexpr int64_t kMinPatienceMs = 100;

}  // namespace

Environment* Environment::Create(napi_env env, const Limits& limits, const SharedViews& shared, napi_value wake,
                                 const napi_value (&shared_arrays)[6]) {
  auto* self = new Environment(env, limits, shared);
  // The arrays live as long as the environment: nobody deletes these references.
  napi_ref forever;
  bool good = napi_create_reference(env, wake, 1, &self->wake_) == napi_ok;
  for (napi_value array : shared_arrays) good = good && napi_create_reference(env, array, 1, &forever) == napi_ok;
  napi_value name;
  good = good && napi_create_string_utf8(env, "sealog", NAPI_AUTO_LENGTH, &name) == napi_ok &&
         napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, self, OnWake,
                                         &self->wake_loop_) == napi_ok &&
         napi_unref_threadsafe_function(env, self->wake_loop_) == napi_ok &&
         // After the thread-safe function: hooks run in reverse order, so the threads end before it does.
         napi_add_env_cleanup_hook(env, OnCleanup, self) == napi_ok;
  if (good) return self;
  if (self->wake_loop_ != nullptr) napi_release_threadsafe_function(self->wake_loop_, napi_tsfn_abort);
  delete self->kernel_;
  delete self;
  ThrowMistake(env, "the environment is shutting down");
  return nullptr;
}

void Environment::WakeLoop(void* environment) {
  napi_call_threadsafe_function(static_cast<Environment*>(environment)->wake_loop_, nullptr, napi_tsfn_nonblocking);
}

void Environment::OnWake(napi_env env, napi_value, void* environment, void*) {
  // The environment is being torn down, and `environment` may be gone.
  if (env == nullptr) return;
  auto* self = static_cast<Environment*>(environment);
  if (self->stopped_ || self->DeliverEvents()) return;
  bool thrown = false;
  napi_value error;
  // Without an exception JavaScript may not run any more.
  if (napi_is_exception_pending(env, &thrown) != napi_ok || !thrown) return;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

void Environment::OnCleanup(void* environment) {
  auto* self = static_cast<Environment*>(environment);
  self->Stop();
  if (!self->abandoned_) {
    // References to arrays end with the environment.
    for (const auto& [ticket, request] : self->requests_) delete request;
    delete self->kernel_;
  }
  delete self;
}

void Environment::AddIndexBytes(int64_t bytes) {
  constexpr int64_t kReportBytes = int64_t{256} * 1024;
  unreported_index_bytes_ += bytes;
  if (unreported_index_bytes_ < kReportBytes && unreported_index_bytes_ > -kReportBytes) return;
  int64_t total;
  napi_adjust_external_memory(env_, unreported_index_bytes_, &total);
  unreported_index_bytes_ = 0;
}

void Environment::ReleaseVersions(FileRequest* request) {
  for (const auto& version : request->versions) {
    const uint64_t before = version->Bytes();
    version->Clear();
    AddIndexBytes(static_cast<int64_t>(version->Bytes()) - static_cast<int64_t>(before));
  }
  request->versions.clear();
}

double Environment::AddDictionary(std::shared_ptr<Dictionary> dictionary) {
  dictionaries_[++last_dictionary_] = std::move(dictionary);
  return last_dictionary_;
}

std::shared_ptr<Dictionary> Environment::FindDictionary(double handle) const {
  const auto found = dictionaries_.find(handle);
  return found == dictionaries_.end() ? nullptr : found->second;
}

void Environment::SetReferenced(bool referenced) {
  if (stopped_) return;
  if (referenced) {
    napi_ref_threadsafe_function(env_, wake_loop_);
  } else {
    napi_unref_threadsafe_function(env_, wake_loop_);
  }
}

void Environment::Stop() {
  if (stopped_) return;
  stopped_ = true;
  const int64_t begin = MonotonicMs();
  const bool commits_ended = kernel_->committer.Stop(kPatienceMs);
  const auto patience = [begin] { return std::max(kPatienceMs - (MonotonicMs() - begin), kMinPatienceMs); };
  const bool seals_ended = kernel_->seals.Stop(patience());
  const bool archives_ended = kernel_->archives.Stop(patience());
  const bool requests_ended = kernel_->requests.Stop(patience());
  const bool sends_ended = kernel_->pump.Stop(patience());
  abandoned_ = !requests_ended || !sends_ended || !seals_ended || !archives_ended || !commits_ended;
  kernel_->events.Close();
  napi_release_threadsafe_function(wake_loop_, napi_tsfn_abort);
}

bool Environment::DeliverEvents() {
  // Inside a call of `wake`, its rows are put aside and back: it goes on to read them.
  const size_t outer = delivering_;
  if (outer > 0) interrupted_.emplace_back(EventRows(), EventRows() + outer);
  const size_t room = shared_.events.length / kEventWidth;
  bool good = true;
  while (good) {
    delivering_ = kernel_->events.Drain(EventRows(), room);
    if (delivering_ == 0) break;
    for (size_t i = 0; i < delivering_; i++) Settle(EventRows()[i]);
    good = CallWake(delivering_);
  }
  delivering_ = outer;
  if (outer > 0) {
    std::copy_n(interrupted_.back().begin(), outer, EventRows());
    interrupted_.pop_back();
  }
  if (!good) kernel_->events.Notify();
  return good;
}

bool Environment::CallWake(size_t rows) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return false;
  napi_value wake;
  napi_value undefined;
  napi_value count;
  napi_get_reference_value(env_, wake_, &wake);
  napi_get_undefined(env_, &undefined);
  napi_create_uint32(env_, static_cast<uint32_t>(rows), &count);
  const napi_status status = napi_call_function(env_, undefined, wake, 1, &count, nullptr);
  napi_close_handle_scope(env_, scope);
  return status == napi_ok;
}

// A request whose DONE row is about to be seen: its arrays and results belong to JavaScript alone again.
void Environment::Settle(const EventRow& row) {
  if (row.columns[0] != kEventDone) return;
  const auto found = requests_.find(row.columns[1]);
  if (found == requests_.end()) return;
  BoundRequest* request = found->second;
  requests_.erase(found);
  Release(request);
}

void Environment::Release(BoundRequest* request) {
  for (napi_ref array : request->arrays) {
    if (array != nullptr) napi_delete_reference(env_, array);
  }
  ReleaseVersions(&request->request);
  if (request->request.operation == FileOperation::kList && request->request.status >= 0) {
    KeepText(request->ticket, std::move(request->request.text));
  }
  delete request;
}

void Environment::StartRequest(BoundRequest* request) {
  requests_[request->ticket] = request;
  kernel_->PoolFor(request->request.operation).Start(request);
}

bool Environment::FinishRequest(double ticket, double* status) {
  const auto found = requests_.find(ticket);
  if (found != requests_.end()) {
    BoundRequest* request = found->second;
    requests_.erase(found);
    kernel_->PoolFor(request->request.operation).Finish(request);
    *status = static_cast<double>(request->request.status);
    Release(request);
    return true;
  }
  // `wake` is on the stack and has not come to the row yet.
  const auto find_in = [ticket, status](const EventRow* rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
      if (rows[i].columns[0] != kEventDone || rows[i].columns[1] != ticket) continue;
      *status = rows[i].columns[2];
      return true;
    }
    return false;
  };
  if (find_in(EventRows(), delivering_)) return true;
  return std::any_of(interrupted_.begin(), interrupted_.end(),
                     [&](const std::vector<EventRow>& rows) { return find_in(rows.data(), rows.size()); });
}

std::string Environment::TakeText(double ticket) {
  const auto found = texts_.find(ticket);
  if (found == texts_.end()) return {};
  std::string text = std::move(found->second);
  texts_.erase(found);
  return text;
}

Kernel& Environment::TestedKernel() {
  kernel_->io.Set(kernel_->faulting);
  return *kernel_;
}

}  // namespace sealog
