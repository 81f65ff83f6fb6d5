// Sparse training for any trainer (SHiRA, appendix D): hooks that let the gradients of chosen
// entries through and nothing else. The readable reference beside packed training, and the way in
// for networks that are not ours.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/sparse_mask.h>
#include <shira/sparse/tensor_file.h>

#include <torch/nn/module.h>

#include <string>
#include <vector>

namespace torch::optim {
class Optimizer;
}

namespace shira {

/// The matrices among a module's parameters (two dimensions or more) whose name, or whose module's
/// name, equals a pattern or ends with "." + pattern: "fc1" chooses "net.fc1.weight". ConfigError
/// for a pattern that matches nothing (it lists the names that there are).
SHIRA_API std::vector<NamedTensor> select_parameters(const torch::nn::Module& module,
                                                     const std::vector<std::string>& patterns);

/// While it lives, `backward` leaves gradients in the masked entries alone: those of the other
/// entries are 0, and parameters without a mask do not require gradients. Works with every module
/// and every optimiser that leaves entries of zero gradient where they are (see check).
class SHIRA_API GradientMask {
 public:
  /// `masks` by parameter name (build_masks of select_parameters). Move the module to its dtype
  /// first: the parameters must stay the same tensors. ConfigError for a name that `module` does
  /// not have, ShapeError for a mask that does not fit.
  GradientMask(const torch::nn::Module& module, const MaskMap& masks);
  /// Takes the hooks off; what required gradients before does so again.
  ~GradientMask();
  GradientMask(const GradientMask&) = delete;
  GradientMask& operator=(const GradientMask&) = delete;

  /// Throws ConfigError where `optimizer` would move unmasked entries: weight decay on a masked
  /// parameter, or a moment that is not 0 outside the mask (from steps before this object was
  /// made). Knows LibTorch's Adam, AdamW, SGD, RMSprop, Adagrad and LBFGS; others are refused.
  void check(const torch::optim::Optimizer& optimizer) const;

  /// The masked parameters.
  std::vector<NamedTensor> parameters() const;

  /// What was trained, as an adapter for the weights that the module had when this object was made.
  SparseAdapter extract() const;

 private:
  struct Masked {
    std::string name;
    torch::Tensor parameter;
    SparseMask mask;
    std::uint64_t base_checksum;
    unsigned hook;
    bool required_grad;  // before
  };
  std::vector<Masked> masked_;
  std::vector<torch::Tensor> frozen_;  // required gradients before
};

}  // namespace shira
