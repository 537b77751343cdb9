#include "binding/handles.h"

namespace sn::binding {
namespace {

// In an environment that is being torn down no external can be made, and none will be collected.
template <typename Box, typename Finalize>
Napi::Value external(Napi::Env env, Box* box, Finalize finalize) {
  try {
    return Napi::External<Box>::New(env, box, finalize);
  } catch (...) {
    finalize(env, box);
    throw;
  }
}

}  // namespace

Napi::Value HandleTable::make(Napi::Env env, Tensor tensor) {
  TensorBox* box = tensors_.make({shared_from_this(), {}});
  fill(env, *box, std::move(tensor));
  const auto finalize = [](Napi::BasicEnv finalizer_env, TensorBox* dead) {
    const std::shared_ptr<HandleTable> table = dead->table;
    table->collected(finalizer_env, dead);
  };
  return external(env, box, finalize);
}

Napi::Value HandleTable::make(Napi::Env env, std::unique_ptr<CapturedGraph> graph) {
  GraphBox* box = graphs_.make({shared_from_this(), std::move(graph)});
  const auto finalize = [](Napi::BasicEnv, GraphBox* dead) {
    const std::shared_ptr<HandleTable> table = dead->table;
    table->graphs_.remove(dead);
  };
  return external(env, box, finalize);
}

void HandleTable::fill(Napi::BasicEnv env, TensorBox& box, Tensor tensor) {
  box.bytes = tensor.storage.use_count() > 1 ? 0 : static_cast<std::int64_t>(tensor.bytes());
  box.tensor = std::move(tensor);
  live_ += box.bytes;
  if (live_ > reported_) adjust(env, live_ - reported_);
}

void HandleTable::release(TensorBox& box) {
  if (!box.tensor) return;
  live_ -= box.bytes;
  box.tensor = {};
}

void HandleTable::collected(Napi::BasicEnv env, TensorBox* box) {
  if (box->tensor) {
    live_ -= box->bytes;
    adjust(env, -box->bytes);
  }
  tensors_.remove(box);
}

void HandleTable::adjust(Napi::BasicEnv env, std::int64_t change) {
  reported_ += change;
  Napi::MemoryManagement::AdjustExternalMemory(env, change);
}

}  // namespace sn::binding
