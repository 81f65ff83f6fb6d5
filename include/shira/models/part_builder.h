// How a model's modules are built: directly on a checkpoint's tensors, under the checkpoint's
// names.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/conv2d.h>
#include <shira/nn/layers.h>
#include <shira/nn/linear.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace shira {

/// Gives the tensor of a parameter: (checkpoint name, shape) -> tensor of that shape.
using ParameterSource = std::function<torch::Tensor(const std::string&, at::IntArrayRef)>;

/// Makes the layers of one module and registers them there. Paths are names of the checkpoint's
/// state dict relative to the module; each dot is a module of its own ("to_out.0").
class SHIRA_API PartBuilder {
 public:
  /// `prefix`: the module's own path with a dot at its end, empty for the model itself.
  PartBuilder(torch::nn::Module& module, const ParameterSource& source, std::string prefix)
      : module_(module), source_(source), prefix_(std::move(prefix)) {}

  nn::Linear linear(const std::string& path, std::int64_t out, std::int64_t in, bool bias = true);
  /// A square kernel of `size`; padding keeps the size of the picture at stride 1.
  nn::Conv2d conv2d(const std::string& path, std::int64_t out, std::int64_t in, std::int64_t size);
  nn::Conv2d conv2d(const std::string& path, std::int64_t out, std::int64_t in, std::int64_t size,
                    const nn::Conv2dGeometry& geometry);
  nn::LayerNorm layer_norm(const std::string& path, std::int64_t width, double eps);
  nn::GroupNorm group_norm(const std::string& path, std::int64_t groups, std::int64_t channels,
                           double eps);
  nn::RmsNorm rms_norm(const std::string& path, std::int64_t width, double eps);
  nn::Embedding embedding(const std::string& path, std::int64_t count, std::int64_t width);

  /// A module of type `Part`, made by Part(source, prefix, arguments...).
  template <typename Part, typename... Arguments>
  std::shared_ptr<Part> part(const std::string& path, Arguments&&... arguments) {
    auto made = std::make_shared<Part>(source_, prefix_ + path + ".",
                                       std::forward<Arguments>(arguments)...);
    attach(path, made);
    return made;
  }

 private:
  torch::Tensor tensor(const std::string& path, const char* kind, at::IntArrayRef shape) const;
  void attach(const std::string& path, std::shared_ptr<torch::nn::Module> made);

  template <typename Holder>
  Holder attached(const std::string& path, Holder holder) {
    attach(path, holder.ptr());
    return holder;
  }

  torch::nn::Module& module_;
  const ParameterSource& source_;
  std::string prefix_;
};

}  // namespace shira
