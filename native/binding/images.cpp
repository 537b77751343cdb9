// Batches of images, made on libuv's pool while the network trains.
#include "binding/call.h"

namespace sn::binding {
namespace {

class BatchWorker final : public Napi::AsyncWorker {
 public:
  BatchWorker(Napi::Env env, Napi::Uint8Array images, std::unique_ptr<ImageJob> job)
      : Napi::AsyncWorker(env, "spherenet:imageBatch"), deferred_(Napi::Promise::Deferred::New(env)),
        images_(Napi::Persistent(images)), job_(std::move(job)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      job_->load();
    } catch (const Error& error) {
      error_ = std::make_unique<Error>(error);
      SetError(error.what());
    }
  }

  void OnOK() override {
    try {
      deferred_.Resolve(environment(Env()).handles().make(Env(), job_->finish()));
    } catch (const Error& error) {
      deferred_.Reject(to_javascript(Env(), error).Value());
    }
  }
  void OnError(const Napi::Error& error) override {
    deferred_.Reject(error_ ? to_javascript(Env(), *error_).Value() : error.Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::Reference<Napi::Uint8Array> images_;  // keeps the pixels alive
  std::unique_ptr<ImageJob> job_;
  std::unique_ptr<Error> error_;
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

int integer(Args& args) { return static_cast<int>(args.number()); }

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

  auto* worker = new BatchWorker(args.env(), images, backend.image_batch(std::move(batch)));
  Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace

void expose_images(Napi::Env env, Napi::Object& exports) { expose<image_batch>(env, exports, "imageBatch"); }

}  // namespace sn::binding
