// A tensor of int32 positions, as kernels take it.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

namespace shira {

inline std::span<const std::int32_t> index_span(const torch::Tensor& indices) {
  return {indices.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(indices.numel())};
}

}  // namespace shira
