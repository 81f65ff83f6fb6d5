// A module's parameters, each tensor once.
#pragma once

#include <shira/base/export.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <string>
#include <utility>
#include <vector>

namespace shira::nn {

/// Parameters in registration order; a tensor that two modules share comes once, under its first
/// name.
SHIRA_API std::vector<std::pair<std::string, torch::Tensor>> unique_parameters(
    const torch::nn::Module& module);

}  // namespace shira::nn
