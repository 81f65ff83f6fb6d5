// The list of a packed batch's ends, from tensor to vector.
#include <shira/base/error.h>
#include <shira/tasks/batch_layout.h>

namespace shira {

nn::SequenceLayout layout_of(const Batch& batch) {
  const auto found = batch.find("cu_seqlens");
  if (found == batch.end()) return {};
  const torch::Tensor& ends = found->second;
  SHIRA_CHECK(ShapeError,
              ends.dim() == 1 && ends.scalar_type() == torch::kInt64 && ends.is_contiguous(),
              "[layout_of] cu_seqlens must be a contiguous int64 vector. Got ", ends.scalar_type(),
              " ", ends.sizes(), ".");
  const auto* begin = ends.const_data_ptr<std::int64_t>();
  return {.cu_seqlens = {begin, begin + ends.numel()}};
}

}  // namespace shira
