// Checks happen once, when a patch or a plug is made; the write itself only moves bytes.
#include <shira/base/error.h>
#include <shira/kernels/scatter.h>
#include <shira/sparse/scatter_into.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <span>

namespace shira {
namespace {

std::span<const std::int32_t> index_span(const torch::Tensor& indices) {
  return {indices.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(indices.numel())};
}

}  // namespace

void check_scatter(const std::string& name, const torch::Tensor& weight, const SparseMask& mask) {
  SHIRA_CHECK(ShapeError, weight.sizes() == at::IntArrayRef(mask.shape()), name, ": the weight is ",
              weight.sizes(), ", the mask is for ", at::IntArrayRef(mask.shape()), ".");
  SHIRA_CHECK(ShapeError, weight.is_floating_point(), name,
              ": expected a floating-point weight. Got ", weight.scalar_type(), ".");
  SHIRA_CHECK(ShapeError, weight.is_cpu(), name, ": on device ", weight.device(),
              ", but this version writes CPU weights only.");
  SHIRA_CHECK(ShapeError, weight.is_contiguous(), name, ": the weight is not contiguous (strides ",
              weight.strides(), "). Call .contiguous() before it goes into the model.");
  SHIRA_CHECK(ShapeError, !is_mapped(weight), name,
              ": the weight lies in a read-only mapped file. "
              "Load the model with LoadOptions::writable covering it.");
}

void scatter_into(const torch::Tensor& weight, const torch::Tensor& indices,
                  const torch::Tensor& values) {
  SHIRA_CHECK(ShapeError,
              values.scalar_type() == weight.scalar_type() && values.numel() == indices.numel() &&
                  values.is_contiguous() && weight.is_contiguous(),
              "[scatter_into] expected ", indices.numel(), " contiguous values of dtype ",
              weight.scalar_type(), ". Got ", values.sizes(), " ", values.scalar_type(), ".");
  scatter(const_cast<void*>(weight.const_data_ptr()), index_span(indices), weight.element_size(),
          values.const_data_ptr());
  weight.unsafeGetTensorImpl()->bump_version();  // a raw write is invisible to autograd otherwise
}

torch::Tensor gather_from(const torch::Tensor& weight, const torch::Tensor& indices) {
  torch::Tensor values = at::empty({indices.numel()}, weight.scalar_type());
  gather(weight.const_data_ptr(), index_span(indices), weight.element_size(), values.data_ptr());
  return values;
}

}  // namespace shira
