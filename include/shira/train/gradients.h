// What happens to gradients in a training step: for the trainer, and for what measures its steps.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>
#include <shira/sparse/tensor_file.h>
#include <shira/train/objective.h>

#include <cstdint>
#include <vector>

namespace shira {

/// Frees the gradients of `parameters`: the next backward makes new ones.
SHIRA_API void clear_gradients(const std::vector<NamedTensor>& parameters);

/// Adds the gradients of the batch's sum of losses / `terms` and returns the sum. One that is not
/// finite adds nothing.
SHIRA_API double add_gradients(Objective& objective, const Batch& batch, std::int64_t terms);

/// Scales the gradients of `parameters` so that the L2 norm over all of them is at most `max_norm`
/// (0 = no clipping), as torch.nn.utils.clip_grad_norm_ does, and returns the norm that they had;
/// one that is not finite changes nothing. Error for a parameter without a gradient.
SHIRA_API double clip_gradients(const std::vector<NamedTensor>& parameters, double max_norm);

}  // namespace shira
