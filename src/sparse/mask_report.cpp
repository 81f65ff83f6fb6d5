// Counting; the rank is a kernel.
#include <shira/kernels/structural_rank.h>
#include <shira/sparse/mask_report.h>

#include <algorithm>
#include <span>

namespace shira {

MaskReport describe_mask(const SparseMask& mask) {
  const std::int64_t rows = mask.shape().empty() ? 1 : mask.shape().front();
  const std::int64_t columns = mask.numel() / rows;
  const std::span<const std::int32_t> indices(mask.indices().const_data_ptr<std::int32_t>(),
                                              static_cast<std::size_t>(mask.nnz()));
  std::vector<bool> has_row(static_cast<std::size_t>(rows));
  std::vector<bool> has_column(static_cast<std::size_t>(columns));
  for (const std::int32_t index : indices) {
    has_row[static_cast<std::size_t>(index / columns)] = true;
    has_column[static_cast<std::size_t>(index % columns)] = true;
  }
  return {mask.nnz(), mask.density(), structural_rank(rows, columns, indices),
          std::ranges::count(has_row, true), std::ranges::count(has_column, true)};
}

}  // namespace shira
