// Suffix matching as in PEFT's target_modules.
#include <shira/base/error.h>
#include <shira/methods/targets.h>
#include <shira/nn/linear.h>

#include <algorithm>
#include <cctype>

namespace shira {
namespace {

constexpr std::string_view kAllLinear = "all-linear";
constexpr std::string_view kHeadName = "lm_head";

bool is_named(const std::string& name, std::string_view pattern) {
  return name == pattern || name.ends_with("." + std::string(pattern));
}

bool matches(const LayerTarget& target, const std::string& pattern) {
  if (pattern != kAllLinear) return is_named(target.name, pattern);
  return dynamic_cast<const nn::LinearImpl*>(target.layer.get()) != nullptr &&
         !is_named(target.name, kHeadName);
}

std::vector<LayerTarget> layers_of(const torch::nn::Module& model) {
  std::vector<LayerTarget> layers;
  for (const auto& module : model.named_modules("", /*include_self=*/false)) {
    if (auto layer = std::dynamic_pointer_cast<nn::Layer>(module.value())) {
      layers.push_back({module.key(), std::move(layer)});
    }
  }
  return layers;
}

/// "q_proj, to_out.0, ...": the distinct last parts of the layers' names, of numbers the last two.
std::string known_suffixes(const std::vector<LayerTarget>& layers) {
  std::set<std::string> suffixes;
  for (const LayerTarget& target : layers) {
    const std::string& name = target.name;
    std::size_t dot = name.rfind('.');
    const bool is_number = dot != name.npos && std::isdigit(name[dot + 1]) != 0;
    if (is_number && dot > 0) dot = name.rfind('.', dot - 1);
    suffixes.insert(name.substr(dot + 1));
  }
  std::string text;
  for (const std::string& suffix : suffixes) text += (text.empty() ? "" : ", ") + suffix;
  return text;
}

void check_patterns(const std::vector<LayerTarget>& layers,
                    const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (const LayerTarget& layer : layers) found = found || matches(layer, pattern);
    SHIRA_CHECK(ConfigError, found, "target_modules: '", pattern,
                "' matches no layer. Known: all-linear, ", known_suffixes(layers), ".");
  }
}

/// A second module would change with the weight unasked, at the latest when the adapter is merged.
void check_not_shared(const torch::nn::Module& model, const LayerTarget& target) {
  const std::string mine = target.parameter_name();
  for (const auto& parameter : model.named_parameters()) {
    const bool same = parameter.value().is_same(target.layer->weight);
    SHIRA_CHECK(
        ConfigError, !same || parameter.key() == mine, "target_modules: ", mine,
        " is the same tensor as ", parameter.key(),
        " (tied weights): an adapter of one would change the other, and packed training, grad "
        "and snip cannot tell them apart. Leave it out, or train it by adapter: full, or by "
        "adapter: shira with shira_training: hooks and another mask.");
  }
}

}  // namespace

std::vector<LayerTarget> select_targets(const torch::nn::Module& model,
                                        const std::vector<std::string>& patterns,
                                        SharedWeights shared) {
  const std::vector<LayerTarget> layers = layers_of(model);
  check_patterns(layers, patterns);
  std::vector<LayerTarget> targets;
  for (const LayerTarget& layer : layers) {
    bool chosen = false;
    for (const std::string& pattern : patterns) chosen = chosen || matches(layer, pattern);
    if (!chosen) continue;
    if (shared == SharedWeights::kRefused) check_not_shared(model, layer);
    targets.push_back(layer);
  }
  return targets;
}

std::vector<NamedTensor> target_weights(const std::vector<LayerTarget>& targets) {
  std::vector<NamedTensor> weights;
  for (const LayerTarget& target : targets) {
    weights.emplace_back(target.parameter_name(), target.layer->weight);
  }
  return weights;
}

std::vector<LayerTarget> targets_named(const torch::nn::Module& model,
                                       const std::set<std::string>& names) {
  std::vector<LayerTarget> targets = layers_of(model);
  std::set<std::string> missing = names;
  for (const LayerTarget& target : targets) missing.erase(target.parameter_name());
  std::string list;
  for (const std::string& name : missing) list += "\n  " + name;
  SHIRA_CHECK(ConfigError, missing.empty(), "the model has no layer for:", list,
              "\nIs it the base that the adapter was trained on?");
  std::erase_if(targets, [&](const LayerTarget& t) { return !names.contains(t.parameter_name()); });
  return targets;
}

void check_trainable(const LayerTarget& target) {
  SHIRA_CHECK(ConfigError, target.layer->weight.scalar_type() != torch::kFloat16, target.name,
              ": a float16 base cannot be trained (its gradients overflow). Set base_dtype to "
              "float32 or bfloat16.");
}

}  // namespace shira
