// Rotary position embedding (Su et al. 2021) in HuggingFace's half-split layout, with the frequency
// scalings of transformers' modeling_rope_utils.py.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace shira::nn {

/// A config's `rope_scaling`: how a model was stretched beyond the context it was first made for.
struct RopeScaling {
  enum class Kind {
    kLinear,   // all frequencies divided by the factor
    kDynamic,  // NTK-aware: a larger base, once a text is longer than the context
    kYarn,     // Peng et al. 2023: low frequencies divided, high ones kept, attention sharpened
    kLlama3,   // LLaMA 3.1's: likewise, by wave length
  };
  Kind kind = Kind::kLinear;
  double factor = 1.0;
  std::int64_t original_max_position_embeddings = 8192;
  double low_freq_factor = 1.0;  // llama3
  double high_freq_factor = 4.0;
  double beta_fast = 32.0;  // yarn: turns within the context, from which on frequencies are kept
  double beta_slow = 1.0;   // and up to which they are divided
  double attention_factor = 1.0;  // yarn: of both tables
  bool truncate = true;           // yarn: the bounds are whole frequencies
};

/// The angles of every (position, frequency) pair are computed on demand from float32 frequencies.
class SHIRA_API Rotary {
 public:
  Rotary(std::int64_t head_dim, double theta, std::optional<RopeScaling> scaling);

  struct Tables {
    torch::Tensor cos;  // (T, head_dim), or (B, T, head_dim)
    torch::Tensor sin;
  };
  /// For `positions` (T) or (B, T), of dtype and device of `options`.
  Tables tables(const torch::Tensor& positions, const torch::TensorOptions& options) const;
  /// For positions [start, start + length).
  Tables tables(std::int64_t start, std::int64_t length, const torch::TensorOptions& options) const;

 private:
  /// (head_dim / 2), or (B, 1, head_dim / 2) for positions (B, T).
  torch::Tensor frequencies_for(const torch::Tensor& positions) const;

  std::int64_t head_dim_;
  double theta_;
  std::optional<RopeScaling> scaling_;
  torch::Tensor frequencies_;  // (head_dim / 2), float32: angle of a position
};

/// Rotates `x` (B, T, heads, head_dim).
SHIRA_API torch::Tensor apply_rotary(const torch::Tensor& x, const Rotary::Tables& tables);

}  // namespace shira::nn
