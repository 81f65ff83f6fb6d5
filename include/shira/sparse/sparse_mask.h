// Which entries of one tensor are trained or replaced.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace shira {

/// A tensor's shape and the row-major flat indices of the chosen entries: sorted, unique, int32.
class SHIRA_API SparseMask {
 public:
  /// `indices`: (nnz), int32, CPU. ShapeError unless sorted, unique and inside the shape, or when
  /// the shape has 2^31 entries or more.
  SparseMask(std::vector<std::int64_t> shape, torch::Tensor indices);

  /// The same for indices that something else has checked: a decoder, a union of masks.
  static SparseMask of_checked(std::vector<std::int64_t> shape, torch::Tensor indices);

  /// The entries where a bool tensor is true.
  static SparseMask from_dense(const torch::Tensor& dense);
  /// A bool tensor of the mask's shape.
  torch::Tensor to_dense() const;

  const std::vector<std::int64_t>& shape() const { return shape_; }
  const torch::Tensor& indices() const { return indices_; }
  std::int64_t nnz() const { return indices_.numel(); }
  std::int64_t numel() const { return numel_; }
  double density() const { return static_cast<double>(nnz()) / static_cast<double>(numel_); }

 private:
  SparseMask() = default;

  std::vector<std::int64_t> shape_;
  torch::Tensor indices_;
  std::int64_t numel_ = 0;
};

/// Masks by parameter name.
using MaskMap = std::map<std::string, SparseMask>;

}  // namespace shira
