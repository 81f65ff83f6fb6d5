// Gradients by parameter, as the tests of models compare them.
#pragma once

#include <shira/methods/training_method.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <map>
#include <string>

namespace shira {

using Gradients = std::map<std::string, torch::Tensor>;

/// Of every parameter of `model`.
inline Gradients gradients_of(const torch::nn::Module& model) {
  Gradients gradients;
  for (const auto& parameter : model.named_parameters()) {
    gradients.emplace(parameter.key(), parameter.value().grad());
  }
  return gradients;
}

/// Of everything that `method` trains.
inline Gradients gradients_of(const TrainingMethod& method) {
  Gradients gradients;
  for (const auto& [name, values] : method.parameters()) gradients.emplace(name, values.grad());
  return gradients;
}

inline void require_gradients(const torch::nn::Module& model) {
  for (const auto& parameter : model.named_parameters()) parameter.value().set_requires_grad(true);
}

}  // namespace shira
