// The weights of somebody else's model, as the C interface describes them.
#pragma once

#include <shira/base/dtype.h>

#include <shira_switch.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace shira::capi {

struct BaseTensor {
  std::byte* data;  // may be misaligned for its dtype
  DType dtype;
  std::vector<std::int64_t> shape;
  std::size_t numel;

  std::size_t byte_size() const { return numel * item_size(dtype); }
};

using BaseTensors = std::map<std::string, BaseTensor>;  // by name

/// ConfigError for a description that cannot be right: one message for each tensor.
BaseTensors describe(std::span<const shira_switch_tensor> tensors);

/// "[4096, 11008]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace shira::capi
