// What readers of adapters need to know of the base.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// The shapes of a base's parameters by name.
using ParameterShapes = std::map<std::string, std::vector<std::int64_t>>;

/// The component that a parameter of a Stable Diffusion pipeline is of, from "unet.<parameter>"
/// (checkpoint_files.h): "unet", "text_encoder", "text_encoder_2" or "vae". Empty for other names.
SHIRA_API std::string pipeline_component(std::string_view parameter);

}  // namespace shira
