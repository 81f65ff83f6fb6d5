// How the sequences of a batch lie in its tensors.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>
#include <shira/nn/attention.h>

namespace shira {

/// Packed samples where `batch` has "cu_seqlens" (samples + 1) int64, else one sequence a row.
SHIRA_API nn::SequenceLayout layout_of(const Batch& batch);

}  // namespace shira
