// Checks happen once, when a patch or a plug is made; the write itself only moves bytes.
#include "index_span.h"

#include <shira/base/error.h>
#include <shira/kernels/scatter.h>
#include <shira/sparse/scatter_into.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

bool has_own_kernel(const torch::Tensor& indices) { return indices.scalar_type() == torch::kInt32; }

/// A raw pointer is invisible to autograd: the version is bumped when this goes out of scope.
class RawWrite {
 public:
  explicit RawWrite(const torch::Tensor& weight) : weight_(weight) {}
  ~RawWrite() { weight_.unsafeGetTensorImpl()->bump_version(); }
  RawWrite(const RawWrite&) = delete;
  RawWrite& operator=(const RawWrite&) = delete;

  void* data() const { return const_cast<void*>(weight_.const_data_ptr()); }

 private:
  const torch::Tensor& weight_;
};

void check_values(const char* function, const torch::Tensor& weight, const torch::Tensor& indices,
                  const torch::Tensor& values) {
  SHIRA_CHECK(ShapeError,
              values.scalar_type() == weight.scalar_type() && values.numel() == indices.numel() &&
                  values.is_contiguous() && weight.is_contiguous() &&
                  (weight.is_cpu() || !has_own_kernel(indices)),
              "[", function, "] expected ", indices.numel(), " contiguous values of dtype ",
              weight.scalar_type(), ". Got ", values.sizes(), " ", values.scalar_type(), ".");
}

}  // namespace

void check_shape(const std::string& name, const torch::Tensor& weight, at::IntArrayRef shape) {
  SHIRA_CHECK(ShapeError, weight.sizes() == shape, name, ": the base has shape ", weight.sizes(),
              ", the adapter ", shape, ".");
}

void check_writable(const std::string& name, const torch::Tensor& weight) {
  SHIRA_CHECK(ShapeError, at::isFloatingType(weight.scalar_type()), name, ": dtype ",
              weight.scalar_type(), " is not a floating-point dtype.");
  SHIRA_CHECK(ShapeError, weight.is_contiguous(), name, ": the weight is not contiguous (strides ",
              weight.strides(), "). Call .contiguous() before it goes into the model.");
  SHIRA_CHECK(ShapeError, !is_mapped(weight), name,
              ": the weight lies in a read-only mapped file. "
              "Load the model with LoadOptions::writable covering it.");
}

void check_scatter(const std::string& name, const torch::Tensor& weight, const SparseMask& mask) {
  check_shape(name, weight, mask.shape());
  check_writable(name, weight);
}

torch::Tensor indices_for(const torch::Tensor& weight, const torch::Tensor& indices) {
  // Half the bytes go to the device: one call would widen them here.
  return weight.is_cpu() ? indices : indices.to(weight.device()).to(torch::kInt64);
}

void scatter_into(const torch::Tensor& weight, const torch::Tensor& indices,
                  const torch::Tensor& values) {
  check_values("scatter_into", weight, indices, values);
  if (has_own_kernel(indices)) {
    const RawWrite write(weight);
    scatter(write.data(), index_span(indices), weight.element_size(), values.const_data_ptr());
  } else {
    torch::NoGradGuard no_grad;
    weight.view({-1}).index_copy_(0, indices, values);
  }
}

void scatter_both_into(const torch::Tensor& weight, const torch::Tensor& first_indices,
                       const torch::Tensor& first_values, const torch::Tensor& second_indices,
                       const torch::Tensor& second_values) {
  if (!has_own_kernel(first_indices)) {
    scatter_into(weight, first_indices, first_values);
    return scatter_into(weight, second_indices, second_values);
  }
  check_values("scatter_both_into", weight, first_indices, first_values);
  check_values("scatter_both_into", weight, second_indices, second_values);
  const RawWrite write(weight);
  scatter_both(write.data(), weight.element_size(),
               {index_span(first_indices), first_values.const_data_ptr()},
               {index_span(second_indices), second_values.const_data_ptr()});
}

torch::Tensor swap_into(const torch::Tensor& weight, const torch::Tensor& indices,
                        const torch::Tensor& values) {
  if (!has_own_kernel(indices)) {
    torch::Tensor old = gather_from(weight, indices);
    scatter_into(weight, indices, values);
    return old;
  }
  check_values("swap_into", weight, indices, values);
  torch::Tensor old = at::empty_like(values);
  const RawWrite write(weight);
  swap(write.data(), index_span(indices), weight.element_size(), values.const_data_ptr(),
       old.data_ptr());
  return old;
}

void copy_into(const torch::Tensor& weight, const torch::Tensor& values) {
  torch::NoGradGuard no_grad;
  const torch::Tensor target = weight.detach();  // shares the version that copy_ bumps
  target.copy_(values);
}

torch::Tensor gather_from(const torch::Tensor& weight, const torch::Tensor& indices) {
  if (!has_own_kernel(indices)) return weight.detach().view({-1}).index_select(0, indices);
  torch::Tensor values = at::empty({indices.numel()}, weight.scalar_type());
  gather(weight.const_data_ptr(), index_span(indices), weight.element_size(), values.data_ptr());
  return values;
}

}  // namespace shira
