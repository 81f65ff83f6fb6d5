// How much two changes of one weight interfere (SHiRA, section 4.2): both are zero on what the
// other one reads when A1^T A2 = 0.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/spectral_norm.h>

#include <torch/types.h>

#include <cstdint>
#include <variant>
#include <vector>

namespace shira {

/// A change scale * B A, as LoRA has it.
struct LowRank {
  torch::Tensor b;  // (out, r)
  torch::Tensor a;  // (r, in)
  double scale = 1.0;
};

/// What is added to a weight: the values of a SparseTensor, a product, or a tensor of the weight's
/// shape. A convolution's (out, in, kh, kw) is the matrix (out, in * kh * kw).
using WeightChange = std::variant<SparseTensor, LowRank, torch::Tensor>;

/// The product A1^T A2, (in, in), of two changes.
struct Orthogonality {
  SpectralNorm spectral;      // AWOM: ||A1^T A2||_2, the largest singular value
  double frobenius = 0.0;     // ||A1^T A2||_F, beside it
  std::int64_t nonzeros = 0;  // of the product
  std::int64_t entries = 0;   // in^2

  /// AWOR: the share of zeros.
  double ratio() const {
    return 1.0 - static_cast<double>(nonzeros) / static_cast<double>(entries);
  }
};

/// Everything in float64. Nonzeros are structural: entry (i, j) counts when some row has a nonzero
/// in column i of A1 and in column j of A2, even where the terms happen to cancel, for that hangs
/// on the last bits. A stored value of zero is a zero. Of two sparse changes the product is never
/// formed, unless it is small (256 columns); of a low-rank one only its factors. ShapeError for
/// different shapes and for values that are not finite.
SHIRA_API Orthogonality orthogonality(const WeightChange& first, const WeightChange& second);

/// The magnitudes of A1^T A2 in square blocks: root mean squares, as product_blocks has them.
struct ProductBlocks {
  std::int64_t side = 1;       // entries of a block in each direction
  std::int64_t width = 0;      // blocks in each direction
  std::vector<double> values;  // (width, width)
};

/// At most `most` blocks in each direction, as small as possible. ShapeError as above.
SHIRA_API ProductBlocks product_blocks(const SparseTensor& first, const SparseTensor& second,
                                       std::int64_t most);

}  // namespace shira
