// A plug around the values; the weight is written after each step.
#include "packed_layer.h"

#include <shira/methods/packed_shira.h>

namespace shira {
namespace {

class PackedPlug : public nn::LayerPlug {
 public:
  PackedPlug(torch::Tensor values, torch::Tensor indices)
      : values_(std::move(values)), indices_(std::move(indices)) {}

  torch::Tensor forward(const torch::Tensor& input, const nn::Layer& layer) override {
    return detail::packed_forward(input, layer, values_, indices_);
  }

 private:
  torch::Tensor values_;   // (nnz)
  torch::Tensor indices_;  // (nnz)
};

}  // namespace

PackedShira::PackedShira(std::vector<LayerTarget> targets, const MaskMap& masks) {
  torch::NoGradGuard no_grad;
  for (LayerTarget& target : targets) {
    MaskedTarget entries = masked_target(std::move(target), masks);
    torch::Tensor values = wide_entries(entries).requires_grad_();
    layers_.push_back({std::move(entries), std::move(values)});
  }
  for (Layer& layer : layers_) {
    layer.entries.target.layer->plug =
        std::make_shared<PackedPlug>(layer.values, layer.entries.indices);
  }
}

PackedShira::~PackedShira() {
  for (Layer& layer : layers_) layer.entries.target.layer->plug.reset();
}

std::vector<NamedTensor> PackedShira::parameters() const {
  std::vector<NamedTensor> parameters;
  for (const Layer& layer : layers_) {
    parameters.emplace_back(layer.entries.target.parameter_name(), layer.values);
  }
  return parameters;
}

void PackedShira::publish() {
  torch::NoGradGuard no_grad;
  for (const Layer& layer : layers_) publish_entries(layer.entries, layer.values);
}

void PackedShira::start_from(const SparseAdapter& adapter) {
  torch::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    layer.values.copy_(adapter.tensors.at(layer.entries.target.parameter_name()).values);
  }
  publish();
}

SparseAdapter PackedShira::extract() const {
  SparseAdapter adapter;
  for (const Layer& layer : layers_) extract_entries(layer.entries, adapter);
  return adapter;
}

}  // namespace shira
