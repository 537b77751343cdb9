#include "binding/call.h"

namespace sn::binding {
namespace {

void begin_capture(Args& args) { args.device().begin_capture(); }

Napi::Value end_capture(Args& args) {
  return environment(args.env()).handles().make(args.env(), args.device().end_capture());
}

GraphBox& graph_box(Args& args) {
  if (GraphBox* found = environment(args.env()).handles().graph_box(args.env(), args.value())) return *found;
  throw Error(ErrorCode::option, "graph", "graph must be what endCapture returned");
}

void replay_graph(Args& args) {
  const auto& graph = graph_box(args).graph;
  if (!graph) throw Error(ErrorCode::disposed, "graph", "a graph was replayed after it had been released");
  const Napi::Value value = args.value();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    throw Error(ErrorCode::dtype, "scalars", "scalars must be a Float64Array");
  }
  const auto numbers = value.As<Napi::Float64Array>();
  graph->replay({numbers.Data(), numbers.Data() + numbers.ElementLength()});
}

void release_graph(Args& args) { graph_box(args).graph.reset(); }

}  // namespace

void expose_graph(Exports& exports) {
  exports.add<begin_capture>("beginCapture");
  exports.add<end_capture>("endCapture");
  exports.add<replay_graph>("replayGraph");
  exports.add<release_graph>("releaseGraph");
}

}  // namespace sn::binding
