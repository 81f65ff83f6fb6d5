// A module's parameters, each tensor once.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/tensor_file.h>

#include <torch/nn/module.h>

#include <vector>

namespace shira::nn {

/// Parameters in registration order; a tensor that two modules share comes once, under its first
/// name.
SHIRA_API std::vector<NamedTensor> unique_parameters(const torch::nn::Module& module);

}  // namespace shira::nn
