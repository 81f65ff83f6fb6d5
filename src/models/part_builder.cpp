// Modules between the dots of a path hold nothing but what is registered in them.
#include <shira/models/part_builder.h>

namespace shira {
namespace {

/// The child `name` of `parent`, made where it is missing.
torch::nn::Module& child_of(torch::nn::Module& parent, const std::string& name) {
  for (const auto& child : parent.named_children()) {
    if (child.key() == name) return *child.value();
  }
  return *parent.register_module(name, std::make_shared<torch::nn::Module>());
}

}  // namespace

torch::Tensor PartBuilder::tensor(const std::string& path, const char* kind,
                                  at::IntArrayRef shape) const {
  return source_(prefix_ + path + kind, shape);
}

void PartBuilder::attach(const std::string& path, std::shared_ptr<torch::nn::Module> made) {
  torch::nn::Module* parent = &module_;
  std::size_t begin = 0;
  for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    parent = &child_of(*parent, path.substr(begin, dot - begin));
    begin = dot + 1;
  }
  parent->register_module(path.substr(begin), std::move(made));
}

nn::Linear PartBuilder::linear(const std::string& path, std::int64_t out, std::int64_t in,
                               bool bias) {
  torch::Tensor weight = tensor(path, ".weight", {out, in});
  return attached(
      path, nn::Linear(std::move(weight), bias ? tensor(path, ".bias", {out}) : torch::Tensor()));
}

nn::Conv2d PartBuilder::conv2d(const std::string& path, std::int64_t out, std::int64_t in,
                               std::int64_t size) {
  return conv2d(path, out, in, size, {.padding = {size / 2, size / 2}});
}

nn::Conv2d PartBuilder::conv2d(const std::string& path, std::int64_t out, std::int64_t in,
                               std::int64_t size, const nn::Conv2dGeometry& geometry) {
  torch::Tensor weight = tensor(path, ".weight", {out, in, size, size});
  return attached(path, nn::Conv2d(std::move(weight), tensor(path, ".bias", {out}), geometry));
}

nn::LayerNorm PartBuilder::layer_norm(const std::string& path, std::int64_t width, double eps) {
  torch::Tensor weight = tensor(path, ".weight", {width});
  return attached(path, nn::LayerNorm(std::move(weight), tensor(path, ".bias", {width}), eps));
}

nn::GroupNorm PartBuilder::group_norm(const std::string& path, std::int64_t groups,
                                      std::int64_t channels, double eps) {
  torch::Tensor weight = tensor(path, ".weight", {channels});
  return attached(path,
                  nn::GroupNorm(groups, std::move(weight), tensor(path, ".bias", {channels}), eps));
}

nn::RmsNorm PartBuilder::rms_norm(const std::string& path, std::int64_t width, double eps) {
  return attached(path, nn::RmsNorm(tensor(path, ".weight", {width}), eps));
}

nn::Embedding PartBuilder::embedding(const std::string& path, std::int64_t count,
                                     std::int64_t width) {
  return attached(path, nn::Embedding(tensor(path, ".weight", {count, width})));
}

}  // namespace shira
