// The names of a UNet's modules in Stability's own code (generative-models, "SGM"), which LoRA
// files for SDXL have: "input_blocks.4.1.proj_in" is diffusers'
// "down_blocks.1.attentions.0.proj_in".
#pragma once

#include <map>
#include <string>
#include <vector>

namespace shira::detail {

/// The SGM name of each of a UNet's modules, given by diffusers' names, which must be all of those
/// that have weights: blocks are numbered over the whole UNet. Modules that have no other name
/// there (or no LoRA ever) are left out.
std::map<std::string, std::string> sgm_names(const std::vector<std::string>& modules);

}  // namespace shira::detail
