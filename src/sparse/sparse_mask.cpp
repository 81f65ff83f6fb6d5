// The checks here are what every later scatter and gather relies on.
#include <shira/base/error.h>
#include <shira/sparse/sparse_mask.h>

#include <ATen/Functions.h>

#include <limits>
#include <span>

namespace shira {
namespace {

std::int64_t checked_numel(const std::vector<std::int64_t>& shape) {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  std::int64_t numel = 1;
  for (std::int64_t size : shape) {
    SHIRA_CHECK(ShapeError, size > 0 && numel <= kLimit / size, "[SparseMask] shape ",
                at::IntArrayRef(shape),
                " has no entries, or 2^31 or more: int32 positions cannot address it.");
    numel *= size;
  }
  return numel;
}

void check_sorted_inside(const torch::Tensor& indices, std::int64_t numel) {
  const std::span<const std::int32_t> values(indices.const_data_ptr<std::int32_t>(),
                                             static_cast<std::size_t>(indices.numel()));
  std::int64_t previous = -1;
  for (std::int32_t index : values) {
    SHIRA_CHECK(ShapeError, index > previous && index < numel,
                "[SparseMask] indices must be sorted, unique and below ", numel, ". Got ", index,
                " after ", previous, ".");
    previous = index;
  }
}

}  // namespace

SparseMask::SparseMask(std::vector<std::int64_t> shape, torch::Tensor indices)
    : shape_(std::move(shape)), indices_(indices.contiguous()), numel_(checked_numel(shape_)) {
  SHIRA_CHECK(ShapeError,
              indices_.dim() == 1 && indices_.scalar_type() == torch::kInt32 && indices_.is_cpu(),
              "[SparseMask] indices must be a one-dimensional int32 CPU tensor. Got ",
              indices_.scalar_type(), " ", indices_.sizes(), ".");
  check_sorted_inside(indices_, numel_);
}

SparseMask SparseMask::of_checked(std::vector<std::int64_t> shape, torch::Tensor indices) {
  SparseMask mask;
  mask.shape_ = std::move(shape);
  mask.indices_ = std::move(indices);
  mask.numel_ = checked_numel(mask.shape_);
  return mask;
}

SparseMask SparseMask::from_dense(const torch::Tensor& dense) {
  SHIRA_CHECK(ShapeError, dense.scalar_type() == torch::kBool,
              "[SparseMask::from_dense] expected a bool tensor. Got ", dense.scalar_type(), ".");
  checked_numel(dense.sizes().vec());
  return {dense.sizes().vec(), at::nonzero(dense.cpu().reshape({-1})).squeeze(1).to(torch::kInt32)};
}

torch::Tensor SparseMask::to_dense() const {
  torch::Tensor flat = at::zeros({numel_}, torch::kBool);
  return flat.index_fill_(0, indices_.to(torch::kInt64), true).view(shape_);
}

}  // namespace shira
