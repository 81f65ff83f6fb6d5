// Rotary position embedding (Su et al. 2021) in HuggingFace's half-split layout, with LLaMA 3's
// frequency scaling.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace shira::nn {

/// LLaMA 3.1's `rope_scaling` of type "llama3".
struct Llama3RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_position_embeddings = 8192;
};

/// The angles of every (position, frequency) pair are computed on demand from float32 frequencies.
class SHIRA_API Rotary {
 public:
  Rotary(std::int64_t head_dim, double theta, std::optional<Llama3RopeScaling> scaling);

  struct Tables {
    torch::Tensor cos;  // (T, head_dim), or (B, T, head_dim)
    torch::Tensor sin;
  };
  /// For `positions` (T) or (B, T), of dtype and device of `options`.
  Tables tables(const torch::Tensor& positions, const torch::TensorOptions& options) const;
  /// For positions [start, start + length).
  Tables tables(std::int64_t start, std::int64_t length, const torch::TensorOptions& options) const;

 private:
  torch::Tensor inverse_frequencies_;  // (head_dim / 2), float32
};

/// Rotates `x` (B, T, heads, head_dim).
SHIRA_API torch::Tensor apply_rotary(const torch::Tensor& x, const Rotary::Tables& tables);

}  // namespace shira::nn
