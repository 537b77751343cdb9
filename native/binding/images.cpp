// Batches of images, made on libuv's pool while the network trains.
#include <exception>

#include "binding/call.h"
#include "binding/structs.h"

namespace sn::binding {
namespace {

class BatchWorker final : public Napi::AsyncWorker {
 public:
  BatchWorker(const Library& library, std::unique_ptr<ImageJob> job)
      : Napi::AsyncWorker(library.env(), "spherenet:imageBatch"), library_(library),
        deferred_(Napi::Promise::Deferred::New(library.env())), job_(std::move(job)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      job_->load();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  // Also called while a worker thread ends: then nothing of JavaScript can be made, and the error that says so is
  // swallowed (NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS in CMakeLists.txt).
  void OnOK() override {
    try {
      deferred_.Resolve(translating_errors(library_, [&] {
        if (failure_) std::rethrow_exception(failure_);
        return environment(Env()).handles().make(Env(), job_->finish());
      }));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

 private:
  const Library& library_;
  Napi::Promise::Deferred deferred_;
  std::unique_ptr<ImageJob> job_;
  std::exception_ptr failure_;
};

template <typename Array>
Array typed_array(Args& args, napi_typedarray_type type, const char* name, std::size_t length) {
  Napi::Value value = args.value();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Error(ErrorCode::dtype, name, std::string(name) + " must be a typed array of the right kind");
  }
  auto array = value.As<Array>();
  if (length != 0 && array.ElementLength() != length) {
    throw Error(ErrorCode::shape, name,
                std::string(name) + " must have " + std::to_string(length) + " elements, but has " +
                    std::to_string(array.ElementLength()));
  }
  return array;
}

constexpr std::size_t any_length = 0;

int integer(Args& args) { return checked_number<int>(args.number()); }

void check_size(const char* name, const ImageSize& size) {
  if (size.height > 0 && size.width > 0 && size.channels > 0) return;
  throw Error(ErrorCode::shape, name, std::string(name) + " must have a positive height, width and number of channels");
}

void check_indices(const std::vector<std::int32_t>& indices, std::size_t images) {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] >= 0 && static_cast<std::size_t>(indices[i]) < images) continue;
    throw Error(ErrorCode::data, "indices",
                "indices[" + std::to_string(i) + "] is " + std::to_string(indices[i]) + ", but there are " +
                    std::to_string(images) + " images");
  }
}

std::vector<ImagePlacement> placements(const std::int32_t* numbers, std::size_t images, int padding) {
  std::vector<ImagePlacement> result;
  result.reserve(images);
  for (std::size_t i = 0; i < images; ++i) {
    const std::int32_t* placement = numbers + 3 * i;
    result.push_back({placement[0] - padding, placement[1] - padding, placement[2] & 1, (placement[2] >> 1) & 1});
  }
  return result;
}

Napi::Value image_batch(Args& args) {
  Backend& backend = args.device();
  ImageBatch batch;
  auto images = typed_array<Napi::Uint8Array>(args, napi_uint8_array, "images", any_length);
  batch.images = images.Data();
  batch.source.height = integer(args);
  batch.source.width = integer(args);
  batch.source.channels = batch.output.channels = integer(args);
  auto indices = typed_array<Napi::Int32Array>(args, napi_int32_array, "indices", any_length);
  batch.indices.assign(indices.Data(), indices.Data() + indices.ElementLength());
  check_size("images", batch.source);
  check_indices(batch.indices, images.ElementLength() / static_cast<std::size_t>(batch.source.elements()));

  auto placement = typed_array<Napi::Int32Array>(args, napi_int32_array, "placement", 3 * batch.indices.size());
  batch.placements = placements(placement.Data(), batch.indices.size(), integer(args));
  batch.output.height = integer(args);
  batch.output.width = integer(args);
  check_size("output", batch.output);
  const auto channels = static_cast<std::size_t>(batch.source.channels);
  auto mean = typed_array<Napi::Float32Array>(args, napi_float32_array, "mean", channels);
  auto deviation = typed_array<Napi::Float32Array>(args, napi_float32_array, "std", channels);
  batch.mean.assign(mean.Data(), mean.Data() + channels);
  batch.deviation.assign(deviation.Data(), deviation.Data() + channels);

  auto* worker = new BatchWorker(args.library(), backend.image_batch(std::move(batch)));
  Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace

void expose_images(Exports& exports) { exports.add<image_batch>("imageBatch"); }

}  // namespace sn::binding
