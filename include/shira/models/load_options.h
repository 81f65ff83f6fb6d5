// How a checkpoint's weights come into memory.
#pragma once

#include <torch/types.h>

#include <functional>
#include <optional>
#include <string>

namespace shira {

struct LoadOptions {
  /// The dtype of all weights; without it the checkpoint's own.
  std::optional<torch::ScalarType> dtype = std::nullopt;
  /// Parameters (by name) that training or a switcher may write: copied into owned memory. The
  /// others stay in the mapped file where their dtype allows. Without it: every weight that an
  /// adapter may change.
  std::function<bool(const std::string&)> writable = nullptr;
};

}  // namespace shira
