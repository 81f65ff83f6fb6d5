// Adapters from and for HuggingFace PEFT: its SHiRA and Super-Tuning directories as SparseAdapters.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/adapter_comparison.h>
#include <shira/sparse/sparse_adapter.h>

#include <filesystem>
#include <string>

namespace shira {

/// Reads PEFT's SHiRA or Super-Tuning directory as kDeltas. Of `base`, the model's parameters by
/// name, only shapes and dtypes are looked at: PEFT's files hold no shapes, and Super-Tuning rounds
/// its values to the weight's dtype before it adds them. IoError as read_peft_sparse_file.
SHIRA_API SparseAdapter load_peft_adapter(const std::filesystem::path& directory,
                                          const BaseTensors& base);

/// Throws ShapeError, listing the reasons, unless PEFT's SHiRA can hold an adapter of these masks.
SHIRA_API void check_peft_can_hold(const MaskMap& masks);

/// Writes an adapter for PeftModel.from_pretrained, as PEFT's SHiRA. New weights become fp32(new -
/// W), W in their dtype and checked against their checksums; differences stay as they are, and
/// `base` is not looked at. So PEFT has the same weights as we: always, bar the rounding of this
/// difference, which weights in bfloat16 or float16 hide. `task_type` as PEFT spells it
/// ("CAUSAL_LM"), or empty. Error as adapter_deltas for another base; ShapeError as
/// check_peft_can_hold, and for tensors that the adapter holds whole or removes.
SHIRA_API void save_peft_adapter(const std::filesystem::path& directory,
                                 const SparseAdapter& adapter, const BaseTensors& base,
                                 const std::string& task_type = "");

}  // namespace shira
