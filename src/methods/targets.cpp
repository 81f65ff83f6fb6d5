// Suffix matching as in PEFT's target_modules.
#include <shira/base/error.h>
#include <shira/methods/targets.h>

#include <algorithm>

namespace shira {
namespace {

constexpr std::string_view kAllLinear = "all-linear";
constexpr std::string_view kHeadName = "lm_head";

bool matches(const std::string& name, const std::string& pattern) {
  if (pattern == kAllLinear)
    return name != kHeadName && !name.ends_with("." + std::string(kHeadName));
  return name == pattern || name.ends_with("." + pattern);
}

std::vector<LinearTarget> linear_layers(const torch::nn::Module& model) {
  std::vector<LinearTarget> layers;
  for (const auto& module : model.named_modules("", /*include_self=*/false)) {
    if (auto layer = std::dynamic_pointer_cast<nn::LinearImpl>(module.value())) {
      layers.push_back({module.key(), nn::Linear(layer)});
    }
  }
  return layers;
}

/// "q_proj, k_proj, ...": the distinct last parts of the layers' names.
std::string known_suffixes(const std::vector<LinearTarget>& layers) {
  std::set<std::string> suffixes;
  for (const LinearTarget& target : layers) {
    suffixes.insert(target.name.substr(target.name.rfind('.') + 1));
  }
  std::string text;
  for (const std::string& suffix : suffixes) text += (text.empty() ? "" : ", ") + suffix;
  return text;
}

void check_patterns(const std::vector<LinearTarget>& layers,
                    const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (const LinearTarget& layer : layers) found = found || matches(layer.name, pattern);
    SHIRA_CHECK(ConfigError, found, "target_modules: '", pattern,
                "' matches no linear layer. Known: all-linear, ", known_suffixes(layers), ".");
  }
}

/// A second module would change with the weight unasked, at the latest when the adapter is merged.
void check_not_shared(const torch::nn::Module& model, const LinearTarget& target) {
  const std::string mine = target.parameter_name();
  for (const auto& parameter : model.named_parameters()) {
    const bool same = parameter.value().is_same(target.layer->weight);
    SHIRA_CHECK(
        ConfigError, !same || parameter.key() == mine, "target_modules: ", mine,
        " is the same tensor as ", parameter.key(),
        " (tied weights): an adapter of one would change the other, and packed training, grad "
        "and snip cannot tell them apart. Leave it out, or use shira_training: hooks with "
        "another mask, or adapter: full.");
  }
}

}  // namespace

std::vector<LinearTarget> select_targets(const torch::nn::Module& model,
                                         const std::vector<std::string>& patterns,
                                         SharedWeights shared) {
  const std::vector<LinearTarget> layers = linear_layers(model);
  check_patterns(layers, patterns);
  std::vector<LinearTarget> targets;
  for (const LinearTarget& layer : layers) {
    bool chosen = false;
    for (const std::string& pattern : patterns) chosen = chosen || matches(layer.name, pattern);
    if (!chosen) continue;
    if (shared == SharedWeights::kRefused) check_not_shared(model, layer);
    targets.push_back(layer);
  }
  return targets;
}

std::vector<NamedTensor> target_weights(const std::vector<LinearTarget>& targets) {
  std::vector<NamedTensor> weights;
  for (const LinearTarget& target : targets) {
    weights.emplace_back(target.parameter_name(), target.layer->weight);
  }
  return weights;
}

std::vector<LinearTarget> targets_named(const torch::nn::Module& model,
                                        const std::set<std::string>& names) {
  std::vector<LinearTarget> targets = linear_layers(model);
  std::set<std::string> missing = names;
  for (const LinearTarget& target : targets) missing.erase(target.parameter_name());
  std::string list;
  for (const std::string& name : missing) list += "\n  " + name;
  SHIRA_CHECK(ConfigError, missing.empty(), "the model has no linear layer for:", list,
              "\nIs it the base that the adapter was trained on?");
  std::erase_if(targets,
                [&](const LinearTarget& t) { return !names.contains(t.parameter_name()); });
  return targets;
}

void check_trainable(const LinearTarget& target) {
  SHIRA_CHECK(ConfigError, target.layer->weight.scalar_type() != torch::kFloat16, target.name,
              ": a float16 base cannot be trained (its gradients overflow). Set base_dtype to "
              "float32 or bfloat16.");
}

}  // namespace shira
