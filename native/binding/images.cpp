// Batches of images, made on libuv's pool while the network trains. A pixel of the padding is 0 after normalisation,
// as if the image had been normalised first: the common CIFAR augmentation.
#include <algorithm>

#include "binding/args.h"
#include "binding/environment.h"

namespace sn::binding {
namespace {

struct ImageSize {
  std::int64_t height, width, channels;

  std::int64_t elements() const { return height * width * channels; }
};

// Where the output's corner lies in its source (negative within the padding), and which way it is read.
struct Placement {
  std::int64_t top, left;
  bool flip_horizontal, flip_vertical;
};

// value[channel * 256 + pixel]: exact, and cheaper than the arithmetic.
std::vector<float> normalized_pixels(const float* mean, const float* deviation, std::int64_t channels) {
  std::vector<float> table;
  table.reserve(static_cast<std::size_t>(channels) * 256);
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    for (int pixel = 0; pixel < 256; ++pixel) {
      table.push_back((static_cast<float>(pixel) - mean[channel]) / deviation[channel]);
    }
  }
  return table;
}

void place_pixel(const std::uint8_t* source, const std::vector<float>& table, std::int64_t channels, float* target) {
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    target[channel] = table[static_cast<std::size_t>(channel * 256 + source[channel])];
  }
}

void place_image(const std::uint8_t* source, const ImageSize& from, const Placement& placement,
                 const std::vector<float>& table, const ImageSize& to, float* target) {
  std::fill_n(target, to.elements(), 0.0f);
  for (std::int64_t row = 0; row < to.height; ++row) {
    const std::int64_t source_row = placement.top + (placement.flip_vertical ? to.height - 1 - row : row);
    if (source_row < 0 || source_row >= from.height) continue;
    for (std::int64_t column = 0; column < to.width; ++column) {
      const std::int64_t source_column = placement.left + (placement.flip_horizontal ? to.width - 1 - column : column);
      if (source_column < 0 || source_column >= from.width) continue;
      place_pixel(source + (source_row * from.width + source_column) * from.channels, table, from.channels,
                  target + (row * to.width + column) * to.channels);
    }
  }
}

struct Batch {
  const std::uint8_t* images;
  ImageSize source, output;
  std::vector<std::int32_t> indices;
  std::vector<Placement> placements;
  std::vector<float> table;
};

class BatchWorker final : public Napi::AsyncWorker {
 public:
  BatchWorker(Napi::Env env, Napi::Uint8Array images, Batch batch, Tensor out)
      : Napi::AsyncWorker(env, "spherenet:imageBatch"),
        deferred_(Napi::Promise::Deferred::New(env)),
        images_(Napi::Persistent(images)),
        batch_(std::move(batch)),
        out_(std::move(out)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    float* target = out_.write<float>();
    for (std::size_t i = 0; i < batch_.indices.size(); ++i) {
      place_image(batch_.images + batch_.indices[i] * batch_.source.elements(), batch_.source, batch_.placements[i],
                  batch_.table, batch_.output, target);
      target += batch_.output.elements();
    }
  }

  void OnOK() override { deferred_.Resolve(make_handle(Env(), std::move(out_))); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::Reference<Napi::Uint8Array> images_;  // keeps the pixels alive
  Batch batch_;
  Tensor out_;
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

std::vector<Placement> placements(const std::int32_t* numbers, std::size_t images, std::int64_t padding) {
  std::vector<Placement> result;
  result.reserve(images);
  for (std::size_t i = 0; i < images; ++i) {
    const std::int32_t* placement = numbers + 3 * i;
    const bool flip_horizontal = (placement[2] & 1) != 0, flip_vertical = (placement[2] & 2) != 0;
    result.push_back({placement[0] - padding, placement[1] - padding, flip_horizontal, flip_vertical});
  }
  return result;
}

Napi::Value image_batch(Args& args) {
  Batch batch;
  auto images = typed_array<Napi::Uint8Array>(args, napi_uint8_array, "images", any_length);
  batch.images = images.Data();
  batch.source.height = args.integer();
  batch.source.width = args.integer();
  batch.source.channels = batch.output.channels = args.integer();
  auto indices = typed_array<Napi::Int32Array>(args, napi_int32_array, "indices", any_length);
  batch.indices.assign(indices.Data(), indices.Data() + indices.ElementLength());
  check_size("images", batch.source);
  check_indices(batch.indices, images.ElementLength() / static_cast<std::size_t>(batch.source.elements()));

  auto placement = typed_array<Napi::Int32Array>(args, napi_int32_array, "placement", 3 * batch.indices.size());
  batch.placements = placements(placement.Data(), batch.indices.size(), args.integer());
  batch.output.height = args.integer();
  batch.output.width = args.integer();
  check_size("output", batch.output);
  const auto channels = static_cast<std::size_t>(batch.source.channels);
  auto mean = typed_array<Napi::Float32Array>(args, napi_float32_array, "mean", channels);
  auto deviation = typed_array<Napi::Float32Array>(args, napi_float32_array, "std", channels);
  batch.table = normalized_pixels(mean.Data(), deviation.Data(), batch.source.channels);

  Tensor out;
  out.shape = {static_cast<std::int64_t>(batch.indices.size()), batch.output.height, batch.output.width,
               batch.output.channels};
  out.storage = environment(args.env()).cpu().allocate(out.bytes());
  auto* worker = new BatchWorker(args.env(), images, std::move(batch), std::move(out));
  Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace

void expose_images(Napi::Env env, Napi::Object& exports) { expose<image_batch>(env, exports, "imageBatch"); }

}  // namespace sn::binding
