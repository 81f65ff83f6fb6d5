// An adapter of whichever layout, ready to be resolved.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/adapter_comparison.h>
#include <shira/sparse/weight_patch.h>

#include <filesystem>
#include <functional>

namespace shira {

using BaseParameters = std::function<BaseTensors()>;

/// Reads ours, PEFT's SHiRA or Super-Tuning, or LoRA or DoRA of PEFT or diffusers, a directory or a
/// .safetensors file (io/adapter_layout.h). `base` is called for all layouts but ours, and only
/// shapes and dtypes of it are looked at. IoError as the reader of the layout has it.
SHIRA_API ScaledAdapter load_any_adapter(const std::filesystem::path& path,
                                         const BaseParameters& base, double scale = 1.0);

}  // namespace shira
