// The gated activation of LLaMA's MLP (SwiGLU, Shazeer 2020).
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

namespace shira::nn {

/// silu(gate) * up, both (...) of one dtype.
SHIRA_API torch::Tensor silu_product(const torch::Tensor& gate, const torch::Tensor& up);

}  // namespace shira::nn
