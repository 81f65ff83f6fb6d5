// SHiRA by gradient hooks (`shira_training: hooks`): whole weights are the parameters, masks select
// their gradients. Costs dense gradients and optimiser state; packed training is held against it.
#pragma once

#include <shira/base/export.h>
#include <shira/methods/training_method.h>
#include <shira/sparse/gradient_mask.h>

#include <torch/nn/module.h>

#include <vector>

namespace shira {

/// The hooks stay until this object goes out of scope; the weights keep what was trained.
class SHIRA_API HookedShira : public SparseTraining {
 public:
  /// `masks` by parameter name. ConfigError for weights narrower than float32: small updates would
  /// be rounded away.
  HookedShira(const torch::nn::Module& model, const MaskMap& masks);

  std::vector<NamedTensor> parameters() const override { return hooks_.parameters(); }
  void publish() override {}  // the parameters are the model's own
  void start_from(const SparseAdapter& adapter) override;
  SparseAdapter extract() const override { return hooks_.extract(); }

 private:
  GradientMask hooks_;
};

}  // namespace shira
