// Packed training, our default: the trainable parameter of a layer is the vector of its masked
// entries. Forward uses the one weight there is; backward computes the gradient of the masked
// entries alone; after each step the vector is scattered into the weight.
#pragma once

#include <shira/base/export.h>
#include <shira/methods/masked_target.h>
#include <shira/methods/targets.h>
#include <shira/methods/training_method.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/sparse_mask.h>

#include <torch/types.h>

#include <string>
#include <vector>

namespace shira {

/// The trained values sit in the sockets of the target layers until this object goes out of scope;
/// the weights keep what was trained.
class SHIRA_API PackedShira : public SparseTraining {
 public:
  /// `masks` has one mask for each target, by parameter name. ConfigError for a float16 base.
  PackedShira(std::vector<LayerTarget> targets, const MaskMap& masks);
  ~PackedShira() override;
  PackedShira(const PackedShira&) = delete;
  PackedShira& operator=(const PackedShira&) = delete;

  /// One vector (nnz) a target, float32 (float64 for a float64 base).
  std::vector<NamedTensor> parameters() const override;
  /// Scatters the values, rounded to the weight's dtype.
  void publish() override;

  void start_from(const SparseAdapter& adapter) override;
  SparseAdapter extract() const override;

 private:
  struct Layer {
    MaskedTarget entries;
    torch::Tensor values;  // (nnz), trained
  };
  std::vector<Layer> layers_;
};

}  // namespace shira
