// Every block of the way down has its resnets and then perhaps a downsampler, each an input block;
// on the way up the upsampler is a part of the block's last output block.
#include "sgm_names.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace shira::detail {
namespace {

using Renaming = std::pair<std::string_view, std::string_view>;

/// Whole modules outside of the blocks.
constexpr Renaming kModules[] = {{"conv_in", "input_blocks.0.0"},
                                 {"conv_out", "out.2"},
                                 {"time_embedding.linear_1", "time_embed.0"},
                                 {"time_embedding.linear_2", "time_embed.2"},
                                 {"add_embedding.linear_1", "label_emb.0.0"},
                                 {"add_embedding.linear_2", "label_emb.0.2"}};
/// Of a resnet.
constexpr Renaming kParts[] = {{"conv1", "in_layers.2"},
                               {"conv2", "out_layers.3"},
                               {"time_emb_proj", "emb_layers.1"},
                               {"conv_shortcut", "skip_connection"}};

/// "up_blocks.1.attentions.0.proj_in".
struct BlockModule {
  std::string_view way;   // down_blocks, mid_block, up_blocks
  std::size_t block = 0;  // 0 for mid_block
  std::string_view kind;  // resnets, attentions, downsamplers, upsamplers
  std::size_t layer = 0;
  std::string_view rest;  // proj_in
};

/// What is before the next dot, which is taken off `name`.
std::string_view next_part(std::string_view& name) {
  const std::size_t dot = name.find('.');
  const std::string_view part = name.substr(0, dot);
  name.remove_prefix(dot == name.npos ? name.size() : dot + 1);
  return part;
}

std::optional<std::size_t> next_number(std::string_view& name) {
  const std::string_view part = next_part(name);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
  if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  return number;
}

std::optional<BlockModule> parse_block_module(std::string_view name) {
  BlockModule module;
  module.way = next_part(name);
  if (module.way != "down_blocks" && module.way != "mid_block" && module.way != "up_blocks") {
    return std::nullopt;
  }
  const auto block = module.way == "mid_block" ? std::size_t{0} : next_number(name);
  module.kind = next_part(name);
  const auto layer = next_number(name);
  if (!block || !layer) return std::nullopt;
  module.block = *block, module.layer = *layer, module.rest = name;
  return module;
}

/// What blocks a UNet has.
struct BlockCounts {
  std::map<std::size_t, std::set<std::size_t>> down_resnets, up_resnets;  // by block
  std::set<std::size_t> downsampled, attentive_up;                        // blocks

  explicit BlockCounts(const std::vector<std::string>& modules) {
    for (const std::string& name : modules) {
      const auto module = parse_block_module(name);
      if (!module || module->way == "mid_block") continue;
      const bool is_down = module->way == "down_blocks";
      if (module->kind == "resnets") {
        (is_down ? down_resnets : up_resnets)[module->block].insert(module->layer);
      } else if (is_down && module->kind == "downsamplers") {
        downsampled.insert(module->block);
      } else if (!is_down && module->kind == "attentions") {
        attentive_up.insert(module->block);
      }
    }
  }

  /// The first input block of a block of the way down; 0 is conv_in.
  std::size_t input_block(std::size_t block) const {
    std::size_t first = 1;
    for (const auto& [before, resnets] : down_resnets) {
      if (before < block) first += resnets.size() + downsampled.count(before);
    }
    return first;
  }

  std::size_t output_block(std::size_t block) const {
    std::size_t first = 0;
    for (const auto& [before, resnets] : up_resnets) {
      if (before < block) first += resnets.size();
    }
    return first;
  }

  std::size_t resnets(const std::map<std::size_t, std::set<std::size_t>>& counts,
                      std::size_t block) const {
    const auto found = counts.find(block);
    return found == counts.end() ? 0 : found->second.size();
  }
};

std::string join(std::string_view blocks, std::size_t number, std::string_view part,
                 std::string_view rest) {
  std::string name(blocks);
  name.append(".").append(std::to_string(number));
  for (const std::string_view piece : {part, rest}) {
    if (!piece.empty()) name.append(".").append(piece);
  }
  return name;
}

/// What a resnet's part is called; as it is elsewhere.
std::string_view part_name(const BlockModule& module) {
  for (const auto& [diffusers, sgm] : kParts) {
    if (module.kind == "resnets" && module.rest == diffusers) return sgm;
  }
  return module.rest;
}

std::optional<std::string> down_name(const BlockModule& module, const BlockCounts& counts) {
  const std::size_t first = counts.input_block(module.block);
  if (module.kind == "downsamplers") {
    const std::size_t number = first + counts.resnets(counts.down_resnets, module.block);
    return join("input_blocks", number, "0", "op");
  }
  const std::string_view part = module.kind == "resnets" ? "0" : "1";
  return join("input_blocks", first + module.layer, part, part_name(module));
}

std::optional<std::string> mid_name(const BlockModule& module) {
  if (module.kind == "attentions") return join("middle_block", 1, "", module.rest);
  return join("middle_block", 2 * module.layer, "", part_name(module));
}

std::optional<std::string> up_name(const BlockModule& module, const BlockCounts& counts) {
  const std::size_t first = counts.output_block(module.block);
  if (module.kind == "upsamplers") {
    const std::size_t count = counts.resnets(counts.up_resnets, module.block);
    if (count == 0) return std::nullopt;
    const std::string_view part = counts.attentive_up.contains(module.block) ? "2" : "1";
    return join("output_blocks", first + count - 1, part, module.rest);
  }
  const std::string_view part = module.kind == "resnets" ? "0" : "1";
  return join("output_blocks", first + module.layer, part, part_name(module));
}

std::optional<std::string> sgm_name(const std::string& name, const BlockCounts& counts) {
  for (const auto& [diffusers, sgm] : kModules) {
    if (name == diffusers) return std::string(sgm);
  }
  const auto module = parse_block_module(name);
  if (!module) return std::nullopt;
  if (module->way == "mid_block") return mid_name(*module);
  return module->way == "down_blocks" ? down_name(*module, counts) : up_name(*module, counts);
}

}  // namespace

std::map<std::string, std::string> sgm_names(const std::vector<std::string>& modules) {
  const BlockCounts counts(modules);
  std::map<std::string, std::string> names;
  for (const std::string& module : modules) {
    if (auto name = sgm_name(module, counts)) names.emplace(module, std::move(*name));
  }
  return names;
}

}  // namespace shira::detail
