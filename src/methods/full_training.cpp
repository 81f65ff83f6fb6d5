// Only switches requires_grad; the trainer does the rest.
#include <shira/base/error.h>
#include <shira/methods/full_training.h>
#include <shira/nn/parameters.h>

namespace shira {

FullTraining::FullTraining(const torch::nn::Module& model)
    : parameters_(nn::unique_parameters(model)) {
  for (const auto& [name, parameter] : parameters_) {
    SHIRA_CHECK(ConfigError, parameter.element_size() >= 4, name,
                ": full training needs float32 weights. Got ", parameter.scalar_type(),
                ". Load the model with dtype float32.");
    SHIRA_CHECK(ConfigError, !is_mapped(parameter), name,
                ": lies in a read-only mapped file. Load the "
                "model with LoadOptions::writable covering it.");
  }
  for (const auto& [name, parameter] : parameters_) parameter.set_requires_grad(true);
}

FullTraining::~FullTraining() {
  for (const auto& [name, parameter] : parameters_) parameter.set_requires_grad(false);
}

}  // namespace shira
