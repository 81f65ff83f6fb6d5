#include "base_tensor.h"

#include <shira/base/error.h>
#include <shira/sparse/lora_projection.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>

#include <cmath>

namespace shira {
namespace {

struct ProjectedTensor {
  SparseTensor sparse;
  double dropped = 0.0;  // sum of squares
  double changed = 0.0;
};

double sum_of_squares(const torch::Tensor& values) {
  const torch::Tensor wide = values.to(torch::kFloat64);
  return wide.mul(wide).sum().item<double>();
}

ProjectedTensor project_tensor(const LoraTensor& lora, const torch::Tensor& base, double density) {
  const torch::Tensor adapted = adapted_weight(lora, base);
  torch::Tensor changes = adapted - base.to(adapted.scalar_type());
  SparseMask mask = mask_of_largest(changes, mask_nnz({.density = density}, base.sizes()));
  const torch::Tensor& indices = mask.indices();
  const double changed = sum_of_squares(changes);
  changes.view(-1).index_fill_(0, indices.to(torch::kInt64), 0.0);
  const torch::Tensor values = gather_from(adapted, indices).to(base.scalar_type());
  const auto checksum = base_checksum(gather_from(base, indices), base.scalar_type());
  return {{std::move(mask), values, checksum}, sum_of_squares(changes), changed};
}

double relative_norm(double dropped, double changed) {
  return changed > 0.0 ? std::sqrt(dropped / changed) : 0.0;
}

}  // namespace

LoraProjection project_lora(const LoraAdapter& lora, const BaseTensors& base, double density) {
  torch::NoGradGuard no_grad;
  LoraProjection projection;
  projection.adapter.base_model = lora.base_model;
  projection.adapter.mask_type = "lora_projection";
  double dropped = 0.0, changed = 0.0;
  for (const auto& [name, tensor] : lora.tensors) {
    try {
      const torch::Tensor& weight = detail::base_tensor(base, name);
      projection.adapter.base_dtype = weight.scalar_type();
      ProjectedTensor one = project_tensor(tensor, weight, density);
      projection.errors[name] = relative_norm(one.dropped, one.changed);
      projection.adapter.tensors.emplace(name, std::move(one.sparse));
      dropped += one.dropped;
      changed += one.changed;
    } catch (const ShapeError& error) {
      throw ShapeError(name + ": " + error.what());
    }
  }
  projection.error = relative_norm(dropped, changed);
  return projection;
}

}  // namespace shira
