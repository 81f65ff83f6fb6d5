// Masks in a safetensors file (docs/mask_file.md): made once, trained often, or made by somebody
// else's program.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_mask.h>

#include <filesystem>

namespace shira {

/// Writes each mask as its sorted flat positions, atomically.
SHIRA_API void save_masks(const std::filesystem::path& path, const MaskMap& masks);

/// Reads what save_masks wrote, and dense masks: a BOOL or U8 tensor of the weight's shape whose
/// nonzero entries are trained. IoError names the file and the tensor; a mask without any entry is
/// one.
SHIRA_API MaskMap load_masks(const std::filesystem::path& path);

}  // namespace shira
