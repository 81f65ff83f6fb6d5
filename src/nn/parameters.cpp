// torch::nn::Module lists a shared tensor once for each module that registered it.
#include <shira/nn/parameters.h>

#include <unordered_set>

namespace shira::nn {

std::vector<NamedTensor> unique_parameters(const torch::nn::Module& module) {
  std::vector<NamedTensor> unique;
  std::unordered_set<const void*> seen;
  for (const auto& parameter : module.named_parameters()) {
    if (seen.insert(parameter.value().unsafeGetTensorImpl()).second) {
      unique.emplace_back(parameter.key(), parameter.value());
    }
  }
  return unique;
}

}  // namespace shira::nn
