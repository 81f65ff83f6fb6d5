// GradientMask does the work; here it becomes a way of training among others.
#include <shira/base/error.h>
#include <shira/methods/hooked_shira.h>
#include <shira/sparse/scatter_into.h>

namespace shira {

HookedShira::HookedShira(const torch::nn::Module& model, const MaskMap& masks)
    : hooks_(model, masks) {
  for (const auto& [name, parameter] : hooks_.parameters()) {
    SHIRA_CHECK(ConfigError, parameter.element_size() >= 4, name,
                ": shira_training: hooks needs float32 weights. Got ", parameter.scalar_type(),
                ". Set base_dtype to float32, or train packed values.");
  }
}

void HookedShira::start_from(const SparseAdapter& adapter) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, parameter] : hooks_.parameters()) {
    const SparseTensor& tensor = adapter.tensors.at(name);
    scatter_into(parameter, indices_for(parameter, tensor.mask.indices()),
                 tensor.values.to(parameter.options()));
  }
}

}  // namespace shira
