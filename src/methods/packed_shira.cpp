// The autograd function and the plug around it; the weight itself never requires a gradient.
#include <shira/base/error.h>
#include <shira/methods/packed_shira.h>
#include <shira/sparse/sampled_weight_grad.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

namespace shira {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// y = x W^T + b with a gradient for x and for the masked entries of W.
class PackedLinearFunction : public torch::autograd::Function<PackedLinearFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const torch::Tensor& /*values*/, const torch::Tensor& indices) {
    // Saved weights are version-checked: a scatter between forward and backward raises.
    context->save_for_backward({input, weight, indices});
    return nn::fast_linear(input, weight, bias.value_or(torch::Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor& input = saved[0];
    const torch::Tensor& weight = saved[1];
    const torch::Tensor& grad = grads[0];
    torch::Tensor input_grad;
    if (context->needs_input_grad(0)) input_grad = nn::fast_linear(grad, weight.t());
    const torch::Tensor values_grad = sampled_weight_grad(
        grad.reshape({-1, weight.size(0)}), input.reshape({-1, weight.size(1)}), saved[2]);
    return {input_grad, {}, {}, values_grad, {}};
  }
};

class PackedPlug : public nn::LinearPlug {
 public:
  PackedPlug(torch::Tensor values, torch::Tensor indices)
      : values_(std::move(values)), indices_(std::move(indices)) {}

  torch::Tensor forward(const torch::Tensor& input, const torch::Tensor& weight,
                        const torch::Tensor& bias) override {
    const auto given_bias = bias.defined() ? std::optional(bias) : std::nullopt;
    return PackedLinearFunction::apply(input, weight, given_bias, values_, indices_);
  }

 private:
  torch::Tensor values_;   // (nnz)
  torch::Tensor indices_;  // (nnz) int32
};

torch::Tensor packed_values(const torch::Tensor& weight, const SparseMask& mask) {
  const auto wide = at::promote_types(weight.scalar_type(), torch::kFloat32);
  return gather_from(weight, mask.indices()).to(wide).requires_grad_();
}

void check_trainable(const LinearTarget& target) {
  SHIRA_CHECK(ConfigError, target.layer->weight.scalar_type() != torch::kFloat16, target.name,
              ": a float16 base cannot be trained (its gradients overflow). Set base_dtype to "
              "float32 or bfloat16.");
}

}  // namespace

PackedShira::PackedShira(std::vector<LinearTarget> targets, const MaskMap& masks) {
  torch::NoGradGuard no_grad;
  for (LinearTarget& target : targets) {
    check_trainable(target);
    const std::string name = target.parameter_name();
    SHIRA_CHECK(ConfigError, masks.contains(name), "[PackedShira] no mask for ", name, ".");
    const SparseMask& mask = masks.at(name);
    const torch::Tensor& weight = target.layer->weight;
    check_scatter(name, weight, mask);
    const auto checksum = base_checksum(gather_from(weight, mask.indices()), weight.scalar_type());
    layers_.push_back({std::move(target), mask, packed_values(weight, mask), checksum});
  }
  for (Layer& layer : layers_) {
    layer.target.layer->plug = std::make_shared<PackedPlug>(layer.values, layer.mask.indices());
  }
}

PackedShira::~PackedShira() {
  for (Layer& layer : layers_) layer.target.layer->plug.reset();
}

std::vector<NamedTensor> PackedShira::parameters() const {
  std::vector<NamedTensor> parameters;
  for (const Layer& layer : layers_) {
    parameters.emplace_back(layer.target.parameter_name(), layer.values);
  }
  return parameters;
}

void PackedShira::publish() {
  torch::NoGradGuard no_grad;
  for (const Layer& layer : layers_) {
    const torch::Tensor& weight = layer.target.layer->weight;
    scatter_into(weight, layer.mask.indices(), layer.values.detach().to(weight.scalar_type()));
  }
}

void PackedShira::start_from(const SparseAdapter& adapter) {
  torch::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    layer.values.copy_(adapter.tensors.at(layer.target.parameter_name()).values);
  }
  publish();
}

SparseAdapter PackedShira::extract() const {
  SparseAdapter adapter;
  for (const Layer& layer : layers_) {
    const torch::Tensor& weight = layer.target.layer->weight;
    adapter.base_dtype = weight.scalar_type();
    adapter.tensors.emplace(
        layer.target.parameter_name(),
        SparseTensor{layer.mask, gather_from(weight, layer.mask.indices()), layer.base_checksum});
  }
  return adapter;
}

}  // namespace shira
