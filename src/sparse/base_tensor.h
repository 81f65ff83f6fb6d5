// A base's tensor, looked up by whoever converts adapters.
#pragma once

#include <shira/io/parameter_shapes.h>
#include <shira/sparse/adapter_comparison.h>

#include <torch/types.h>

#include <string>

namespace shira::detail {

/// Error when the base has no floating-point tensor of this name.
const torch::Tensor& base_tensor(const BaseTensors& base, const std::string& name);

ParameterShapes shapes_of(const BaseTensors& base);

}  // namespace shira::detail
