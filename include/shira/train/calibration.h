// The masks that depend on data (SHiRA, section 3.1): entries with the largest gradients (grad) or
// the largest products of weight and gradient (snip), over a few batches of the training data.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>
#include <shira/methods/targets.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/sparse_mask.h>
#include <shira/train/objective.h>

#include <cstdint>
#include <vector>

namespace shira {

enum class CalibrationScore {
  kGrad,  // sum over batches b of abs(g_b), g_b the gradient of batch b's mean loss
  kSnip,  // abs(W) * sum_b abs(g_b)
};

struct CalibrationOptions {
  CalibrationScore score = CalibrationScore::kGrad;
  std::int64_t batches = 16;           // the first ones of epoch 0
  double memory_bytes = 2147483648.0;  // for float32 scores; targets beyond it take another pass
};

/// One mask for each target: the entries with the largest scores, ties by lower index. The model is
/// run but not changed; gradients are formed in float32, one layer at a time, and freed. Error for
/// a loss or gradient that is not finite.
SHIRA_API MaskMap calibrate_masks(const std::vector<LayerTarget>& targets, Objective& objective,
                                  BatchSource& data, const MaskBudget& budget,
                                  const CalibrationOptions& options);

}  // namespace shira
