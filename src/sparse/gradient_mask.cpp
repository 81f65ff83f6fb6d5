// A hook selects with where() rather than multiplying, so that a NaN outside the mask vanishes too.
#include <shira/base/error.h>
#include <shira/sparse/gradient_mask.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <optional>

namespace shira {
namespace {

namespace optim = torch::optim;

bool name_matches(const std::string& name, const std::string& pattern) {
  return name == pattern || name.ends_with("." + pattern);
}

/// "net.fc1.weight" by "weight", "fc1.weight", "fc1", "net.fc1".
bool parameter_matches(const std::string& name, const std::string& pattern) {
  return name_matches(name, pattern) || name_matches(name.substr(0, name.rfind('.')), pattern);
}

torch::Tensor masked_values(const torch::Tensor& parameter, const SparseMask& mask) {
  return gather_from(parameter.detach().cpu().contiguous(), mask.indices());
}

void check_maskable(const std::string& name, const torch::Tensor& parameter,
                    const SparseMask& mask) {
  SHIRA_CHECK(ShapeError, parameter.sizes() == at::IntArrayRef(mask.shape()), "[GradientMask] ",
              name, " has shape ", parameter.sizes(), ", its mask ", at::IntArrayRef(mask.shape()),
              ".");
  SHIRA_CHECK(
      ConfigError, !is_mapped(parameter), "[GradientMask] ", name,
      " lies in a read-only mapped file. Load the model with LoadOptions::writable covering "
      "it.");
}

template <typename Options>
std::optional<double> decay_as(const optim::OptimizerOptions& options) {
  const auto* known = dynamic_cast<const Options*>(&options);
  return known != nullptr ? std::optional(known->weight_decay()) : std::nullopt;
}

/// Nothing for an optimiser that we do not know.
std::optional<double> weight_decay_of(const optim::OptimizerOptions& options) {
  for (const auto& decay :
       {decay_as<optim::AdamOptions>(options), decay_as<optim::AdamWOptions>(options),
        decay_as<optim::SGDOptions>(options), decay_as<optim::RMSpropOptions>(options),
        decay_as<optim::AdagradOptions>(options)}) {
    if (decay) return decay;
  }
  return std::nullopt;
}

/// What moves an entry whose gradient is 0; undefined where nothing does.
torch::Tensor moment_of(const optim::OptimizerParamState& state) {
  if (const auto* adam = dynamic_cast<const optim::AdamParamState*>(&state)) return adam->exp_avg();
  if (const auto* adam = dynamic_cast<const optim::AdamWParamState*>(&state)) {
    return adam->exp_avg();
  }
  if (const auto* sgd = dynamic_cast<const optim::SGDParamState*>(&state)) {
    return sgd->momentum_buffer();
  }
  const auto* rmsprop = dynamic_cast<const optim::RMSpropParamState*>(&state);
  return rmsprop != nullptr ? rmsprop->momentum_buffer() : torch::Tensor();
}

bool is_zero_outside(const torch::Tensor& moment, const SparseMask& mask) {
  return moment.detach()
      .cpu()
      .masked_select(mask.to_dense().logical_not())
      .eq(0)
      .all()
      .item<bool>();
}

}  // namespace

std::vector<NamedTensor> select_parameters(const torch::nn::Module& module,
                                           const std::vector<std::string>& patterns) {
  std::vector<NamedTensor> chosen;
  std::string known;
  for (const auto& item : module.named_parameters()) {
    if (item.value().dim() < 2) continue;
    known += (known.empty() ? "" : ", ") + item.key();
    const bool is_chosen = std::ranges::any_of(patterns, [&](const std::string& pattern) {
      return parameter_matches(item.key(), pattern);
    });
    if (is_chosen) chosen.emplace_back(item.key(), item.value());
  }
  for (const std::string& pattern : patterns) {
    const bool is_used = std::ranges::any_of(
        chosen, [&](const NamedTensor& item) { return parameter_matches(item.first, pattern); });
    SHIRA_CHECK(ConfigError, is_used, "[select_parameters] '", pattern,
                "' matches no matrix. Known: ", known, ".");
  }
  return chosen;
}

GradientMask::GradientMask(const torch::nn::Module& module, const MaskMap& masks) {
  const auto parameters = module.named_parameters();
  for (const auto& [name, mask] : masks) {
    const torch::Tensor* parameter = parameters.find(name);
    SHIRA_CHECK(ConfigError, parameter != nullptr, "[GradientMask] the module has no parameter ",
                name, ".");
    check_maskable(name, *parameter, mask);
    const auto checksum =
        shira::base_checksum(masked_values(*parameter, mask), parameter->scalar_type());
    masked_.push_back({name, *parameter, mask, checksum, 0, parameter->requires_grad()});
  }
  for (const auto& item : parameters) {
    const bool has_mask = std::ranges::any_of(
        masked_, [&](const Masked& masked) { return masked.parameter.is_same(item.value()); });
    if (!has_mask && item.value().requires_grad()) frozen_.push_back(item.value());
  }
  for (torch::Tensor& parameter : frozen_)
    parameter.set_requires_grad(false).mutable_grad().reset();
  for (Masked& masked : masked_) {
    masked.parameter.set_requires_grad(true).mutable_grad().reset();
    // The hook must not own its parameter, which owns the hook.
    masked.hook = masked.parameter.register_hook(
        [dense = masked.mask.to_dense().to(masked.parameter.device())](const torch::Tensor& grad) {
          return grad.defined() ? at::where(dense, grad, at::zeros({}, grad.options())) : grad;
        });
  }
}

GradientMask::~GradientMask() {
  for (Masked& masked : masked_) {
    masked.parameter.remove_hook(masked.hook);
    masked.parameter.set_requires_grad(masked.required_grad);
  }
  for (const torch::Tensor& parameter : frozen_) parameter.set_requires_grad(true);
}

void GradientMask::check(const torch::optim::Optimizer& optimizer) const {
  const auto& states = optimizer.state();
  for (const Masked& masked : masked_) {
    for (const optim::OptimizerParamGroup& group : optimizer.param_groups()) {
      const bool is_member = std::ranges::any_of(
          group.params(), [&](const torch::Tensor& p) { return p.is_same(masked.parameter); });
      if (!is_member) continue;
      const auto decay = weight_decay_of(group.options());
      SHIRA_CHECK(ConfigError, decay,
                  "[GradientMask::check] whether this optimiser moves weights "
                  "without a gradient is unknown. Known: Adam, AdamW, SGD, RMSprop, Adagrad.");
      SHIRA_CHECK(ConfigError, *decay == 0.0, "[GradientMask::check] weight decay ", *decay,
                  " would move the unmasked entries of ", masked.name,
                  ". Set it to 0, or train packed values (PackedShira), where it acts on the "
                  "trained entries alone.");
    }
    const auto state = states.find(masked.parameter.unsafeGetTensorImpl());
    const torch::Tensor moment =
        state == states.end() ? torch::Tensor() : moment_of(*state->second);
    SHIRA_CHECK(ConfigError, !moment.defined() || is_zero_outside(moment, masked.mask),
                "[GradientMask::check] the optimiser's momentum of earlier steps would move the "
                "unmasked entries of ",
                masked.name, ". Make a new optimiser.");
  }
}

std::vector<NamedTensor> GradientMask::parameters() const {
  std::vector<NamedTensor> parameters;
  for (const Masked& masked : masked_) parameters.emplace_back(masked.name, masked.parameter);
  return parameters;
}

SparseAdapter GradientMask::extract() const {
  SparseAdapter adapter;
  for (const Masked& masked : masked_) {
    adapter.base_dtype = masked.parameter.scalar_type();
    adapter.tensors.emplace(masked.name,
                            SparseTensor{masked.mask, masked_values(masked.parameter, masked.mask),
                                         masked.base_checksum});
  }
  return adapter;
}

}  // namespace shira
