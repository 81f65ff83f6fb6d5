// One allocation for the tensors of a whole adapter: hundreds of small ones would have their pages
// faulted in one by one, which takes as long as decoding the adapter's file.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace shira::detail {

class TensorArena {
 public:
  explicit TensorArena(std::int64_t bytes);

  /// Bytes that take(count, dtype) uses up.
  static std::int64_t bytes_for(std::int64_t count, torch::ScalarType dtype);

  /// (count), uninitialised, aligned to 64 bytes. The arena lives as long as any of its tensors.
  torch::Tensor take(std::int64_t count, torch::ScalarType dtype);

 private:
  torch::Tensor memory_;
  std::int64_t used_ = 0;
};

}  // namespace shira::detail
