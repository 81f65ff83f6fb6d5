// SHiRA-WM-DoRA (arXiv 2406.13175, section 4): DoRA of high rank trained under a mask, W' = W + M *
// (DoRA(W) - W). Only masked entries change, so the result is an ordinary sparse adapter.
#pragma once

#include <shira/base/export.h>
#include <shira/methods/lora.h>
#include <shira/methods/masked_target.h>
#include <shira/methods/training_method.h>

#include <memory>
#include <vector>

namespace shira {

class WmDoraPlug;

/// The masked entries m_i / |W + s B A|_i * (W + s B A)[i, j], i their row, are a function of the
/// factors A, B and m; they are written into the weights as PackedShira writes its values. The
/// norms of the rows are constants in backward, as in DoRA. The weights keep what was trained.
class SHIRA_API WmDora : public TrainingMethod {
 public:
  /// `masks` has one mask for each target, by parameter name. Of `options` use_dora is implied and
  /// dropout has no meaning: there is no path of its own for the factors. ConfigError for a float16
  /// base.
  WmDora(std::vector<LayerTarget> targets, const MaskMap& masks, const LoraOptions& options);
  ~WmDora() override;
  WmDora(const WmDora&) = delete;
  WmDora& operator=(const WmDora&) = delete;

  /// A, B and m as append_factors names them, layer by layer.
  std::vector<NamedTensor> parameters() const override;
  /// Computes the entries and writes them, rounded to the weight's dtype.
  void publish() override;

  /// The trained weights as they are in the model, bit for bit.
  SparseAdapter extract() const;

 private:
  struct Layer {
    MaskedTarget entries;
    std::shared_ptr<WmDoraPlug> plug;
  };
  std::vector<Layer> layers_;
};

}  // namespace shira
