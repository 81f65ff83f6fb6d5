// The sums W + s B A are needed at the masked entries, and in whole for the norms: publish() forms
// them densely, one layer at a time, and keeps the entries. Backward goes from the entries'
// gradient, which is all that packed_forward computes, to the factors'.
#include "packed_layer.h"

#include <shira/methods/wm_dora.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

namespace shira {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The entries of W + s B A at `indices`, which are known already (`sums`), as a function of A and
/// B.
class SumEntriesFunction : public torch::autograd::Function<SumEntriesFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& a,
                               const torch::Tensor& b, const torch::Tensor& sums,
                               const torch::Tensor& indices, double scaling) {
    context->save_for_backward({a, b, indices});
    context->saved_data["scaling"] = scaling;
    return sums.clone();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &a = saved[0], &b = saved[1];
    const torch::Tensor a_matrix = a.flatten(1), b_matrix = b.flatten(1);  // of a convolution, too
    const torch::Tensor dense = at::zeros({b.size(0), a_matrix.size(1)}, a.options());
    dense.view({-1}).index_copy_(0, saved[2], grads[0] * context->saved_data["scaling"].toDouble());
    return {
        at::mm(b_matrix.t(), dense).view_as(a), at::mm(dense, a_matrix.t()).view_as(b), {}, {}, {}};
  }
};

}  // namespace

/// The factors of one layer in its socket.
class WmDoraPlug : public nn::LayerPlug {
 public:
  WmDoraPlug(LoraTensor factors, const MaskedTarget& entries)
      : factors_(std::move(factors)),
        originals_(wide_entries(entries)),
        indices_(entries.indices),
        positions_(indices_.to(torch::kInt64)),
        rows_(positions_.div(entries.weight()[0].numel(), "floor")) {
    renew_sums(entries.weight());
    for (const torch::Tensor& leaf : {factors_.a, factors_.b, factors_.magnitude}) {
      leaf.set_requires_grad(true);
    }
  }

  torch::Tensor forward(const torch::Tensor& input, const nn::Layer& layer) override {
    return detail::packed_forward(input, layer, values(), indices_);
  }

  /// The masked entries, (nnz).
  torch::Tensor values() const {
    const torch::Tensor sums =
        SumEntriesFunction::apply(factors_.a, factors_.b, sums_, positions_, factors_.scaling);
    return (factors_.magnitude / norms_).index_select(0, rows_) * sums;
  }

  /// To be called when the factors have changed; `weight` may hold trained entries.
  void renew_sums(const torch::Tensor& weight) {
    torch::NoGradGuard no_grad;
    torch::Tensor sum = weight.detach()
                            .to(originals_.scalar_type(), /*non_blocking=*/false, /*copy=*/true)
                            .flatten(1);
    sum.view({-1}).index_copy_(0, positions_, originals_);
    sum.addmm_(factors_.b.flatten(1), factors_.a.flatten(1), /*beta=*/1, factors_.scaling);
    norms_ = at::linalg_norm(sum, std::nullopt, at::IntArrayRef{1});
    sums_ = sum.view({-1}).index_select(0, positions_);
  }

  const LoraTensor& factors() const { return factors_; }

 private:
  LoraTensor factors_;
  torch::Tensor originals_;  // (nnz) the base's own entries
  torch::Tensor indices_;    // (nnz)
  torch::Tensor positions_;  // (nnz) the same in int64
  torch::Tensor rows_;       // (nnz) of each entry, int64
  torch::Tensor sums_;       // (nnz) entries of W + s B A
  torch::Tensor norms_;      // (out) of its rows
};

WmDora::WmDora(std::vector<LayerTarget> targets, const MaskMap& masks, const LoraOptions& options) {
  torch::NoGradGuard no_grad;
  LoraOptions dora = options;
  dora.use_dora = true;
  for (LayerTarget& target : targets) {
    MaskedTarget entries = masked_target(std::move(target), masks);
    auto plug = std::make_shared<WmDoraPlug>(
        initial_factors(entries.target.parameter_name(), entries.weight(), dora), entries);
    layers_.push_back({std::move(entries), std::move(plug)});
  }
  for (Layer& layer : layers_) layer.entries.target.layer->plug = layer.plug;
}

WmDora::~WmDora() {
  for (Layer& layer : layers_) layer.entries.target.layer->plug.reset();
}

std::vector<NamedTensor> WmDora::parameters() const {
  std::vector<NamedTensor> parameters;
  for (const Layer& layer : layers_) {
    append_factors(layer.entries.target.name, layer.plug->factors(), parameters);
  }
  return parameters;
}

void WmDora::publish() {
  torch::NoGradGuard no_grad;
  for (const Layer& layer : layers_) {
    layer.plug->renew_sums(layer.entries.weight());
    publish_entries(layer.entries, layer.plug->values());
  }
}

SparseAdapter WmDora::extract() const {
  SparseAdapter adapter;
  for (const Layer& layer : layers_) extract_entries(layer.entries, adapter);
  return adapter;
}

}  // namespace shira
