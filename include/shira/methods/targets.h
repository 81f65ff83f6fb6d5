// Which layers of a model an adapter trains.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/layer.h>
#include <shira/sparse/tensor_file.h>

#include <torch/nn/module.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shira {

/// A layer with a socket and its name in the model.
struct LayerTarget {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  std::shared_ptr<nn::Layer> layer;

  std::string parameter_name() const { return name + ".weight"; }
};

/// What to do with a target whose weight another module shares (a tied head).
enum class SharedWeights { kRefused, kAllowed };

/// The linear layers and convolutions whose name equals a pattern or ends with "." + pattern, in
/// the model's order; "all-linear" means every linear layer but lm_head, as PEFT has it.
/// ConfigError for a pattern that matches nothing (it lists the layer names that there are) and,
/// unless allowed, for a chosen weight that another module shares.
SHIRA_API std::vector<LayerTarget> select_targets(const torch::nn::Module& model,
                                                  const std::vector<std::string>& patterns,
                                                  SharedWeights shared = SharedWeights::kRefused);

/// The targets' weights by parameter name.
SHIRA_API std::vector<NamedTensor> target_weights(const std::vector<LayerTarget>& targets);

/// The layers of the parameters named ("<layer>.weight"), in the model's order. ConfigError lists
/// the names that are no such layer's weight.
SHIRA_API std::vector<LayerTarget> targets_named(const torch::nn::Module& model,
                                                 const std::set<std::string>& names);

/// ConfigError for a float16 base, whose gradients overflow.
SHIRA_API void check_trainable(const LayerTarget& target);

}  // namespace shira
