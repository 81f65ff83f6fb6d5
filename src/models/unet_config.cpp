// Every key that would change the computation is either honoured or refused, and so is every key
// that diffusers 0.42 does not know: a file of a later version may mean something by it.
#include "json_config.h"

#include <shira/base/error.h>
#include <shira/models/unet_config.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace shira {
namespace {

using detail::JsonConfig;
using nlohmann::json;

// Far above every known model; what a file may make us build is bounded.
constexpr std::size_t kMaxBlocks = 8;
constexpr std::int64_t kMaxResnets = 16;  // of a block
constexpr std::int64_t kMaxLayers = 64;   // of a transformer

/// Keys that have to be absent or one of these values.
const std::map<std::string, std::vector<json>>& fixed_values() {
  static const std::map<std::string, std::vector<json>> table = {
      {"act_fn", {"silu", "swish"}},  // two names of one function
      {"attention_type", {"default"}},
      {"class_embeddings_concat", {false}},
      {"conv_in_kernel", {3}},
      {"conv_out_kernel", {3}},
      {"cross_attention_norm", {}},
      {"dropout", {0}},
      {"dual_cross_attention", {false}},
      {"encoder_hid_dim", {}},
      {"encoder_hid_dim_type", {}},
      {"mid_block_only_cross_attention", {false}},
      {"mid_block_type", {"UNetMidBlock2DCrossAttn"}},
      {"num_attention_heads", {}},  // as in diffusers itself
      {"resnet_out_scale_factor", {1}},
      {"resnet_skip_time_act", {false}},
      {"resnet_time_scale_shift", {"default"}},
      {"time_cond_proj_dim", {}},
      {"time_embedding_act_fn", {}},
      {"time_embedding_dim", {}},
      {"time_embedding_type", {"positional"}},
      {"timestep_post_act", {}}};
  return table;
}

/// Keys that are read below, and keys without an effect on the models that are supported.
const std::set<std::string>& other_keys() {
  static const std::set<std::string> keys = {
      "addition_embed_type", "addition_time_embed_dim", "attention_head_dim", "block_out_channels",
      "center_input_sample", "class_embed_type", "cross_attention_dim", "down_block_types",
      "downsample_padding", "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block",
      "mid_block_scale_factor", "norm_eps", "norm_num_groups", "num_class_embeds",
      "only_cross_attention", "out_channels", "projection_class_embeddings_input_dim",
      "reverse_transformer_layers_per_block", "sample_size", "transformer_layers_per_block",
      "up_block_types", "use_linear_projection",
      // scaled_dot_product_attention's scores are float32 in any case:
      "upcast_attention",
      // of addition_embed_type text alone:
      "addition_embed_type_num_heads",
      // of the training that made the file (diffusers' EMAModel):
      "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step",
      "use_ema_warmup"};
  return keys;
}

void refuse_unsupported(JsonConfig& reader) {
  for (const auto& [key, allowed] : fixed_values()) {
    const bool fits =
        !reader.has(key.c_str()) ||
        std::find(allowed.begin(), allowed.end(), reader.at(key.c_str())) != allowed.end();
    reader.expect(
        fits, key.c_str(),
        allowed.empty() ? "not supported" : "only " + allowed.front().dump() + " is supported");
  }
  for (const char* key : {"mid_block_type", "norm_num_groups", "flip_sin_to_cos"}) {
    const bool is_null = reader.object().contains(key) && reader.object()[key].is_null();
    reader.expect(!is_null, key, "null is not supported");
  }
  std::set<std::string> known = other_keys();
  for (const auto& [key, allowed] : fixed_values()) known.insert(key);
  reader.refuse_unknown(known);
}

/// The list under `key`; empty, and a problem, where it is none or has too many entries.
json list_of(JsonConfig& reader, const char* key, json fallback) {
  if (!reader.has(key)) return fallback;
  const bool fits =
      reader.at(key).is_array() && !reader.at(key).empty() && reader.at(key).size() <= kMaxBlocks;
  reader.expect(fits, key, "expected a list of 1 to 8 entries");
  return fits ? reader.at(key) : json::array();
}

/// The number of a block, of one that all share or of a list with one for each.
std::vector<std::int64_t> number_of_each(JsonConfig& reader, const char* key, std::size_t blocks,
                                         std::int64_t fallback, std::int64_t largest) {
  std::vector<std::int64_t> numbers(blocks, fallback);
  if (!reader.has(key)) return numbers;
  const json& value = reader.at(key);
  const json list = value.is_array() ? value : json(blocks, value);
  const auto fits = [largest](const json& number) {
    return number.is_number_integer() && number >= 1 && number <= largest;
  };
  if (list.size() == blocks && std::all_of(list.begin(), list.end(), fits)) {
    return list.get<std::vector<std::int64_t>>();
  }
  reader.expect(false, key,
                "expected a number from 1 to " + std::to_string(largest) +
                    ", or a list with one for each of the " + std::to_string(blocks) + " blocks");
  return numbers;
}

bool is_layer_count(const json& value) {
  return value.is_number_integer() && value >= 0 && value <= kMaxLayers;
}

/// The transformer blocks after each of a block's `count` places: `value` is a number for all, or
/// a list of at least as many numbers.
std::vector<std::int64_t> layers_at(JsonConfig& reader, const json& value, std::int64_t count) {
  const auto places = static_cast<std::size_t>(count);
  if (is_layer_count(value)) return std::vector<std::int64_t>(places, value.get<std::int64_t>());
  if (value.is_array() && value.size() >= places &&
      std::all_of(value.begin(), value.end(), is_layer_count)) {
    auto layers = value.get<std::vector<std::int64_t>>();
    layers.resize(places);
    return layers;
  }
  reader.expect(false, "transformer_layers_per_block",
                "expected numbers from 0 to 64 (as in reverse_transformer_layers_per_block): one, "
                "one for each block, or a list of them for each layer");
  return std::vector<std::int64_t>(places, 0);
}

/// One entry a block of transformer_layers_per_block and of its counterpart on the way up.
struct TransformerLayers {
  json down, up;
};

TransformerLayers read_transformer_layers(JsonConfig& reader, std::size_t blocks) {
  constexpr const char* kDown = "transformer_layers_per_block";
  constexpr const char* kUp = "reverse_transformer_layers_per_block";
  const auto each = [&](const char* key, const json& value) {
    const json list = value.is_array() ? value : json(blocks, value);
    reader.expect(list.size() == blocks, key, "expected one entry for each block");
    return list.size() == blocks ? list : json(blocks, 1);
  };
  TransformerLayers layers;
  layers.down = each(kDown, reader.has(kDown) ? reader.at(kDown) : json(1));
  layers.up = layers.down;
  std::reverse(layers.up.begin(), layers.up.end());
  const auto is_list = [](const json& entry) { return entry.is_array(); };
  if (reader.has(kUp)) {
    layers.up = each(kUp, reader.at(kUp));
  } else if (std::any_of(layers.up.begin(), layers.up.end(), is_list)) {
    reader.expect(false, kDown,
                  "lists of lists need reverse_transformer_layers_per_block beside them");
  }
  return layers;
}

bool has_attention(JsonConfig& reader, const char* key, const json& type, const std::string& plain,
                   const std::string& attentive) {
  reader.expect(type == plain || type == attentive, key,
                "only " + plain + " and " + attentive + " are supported");
  return type == attentive;
}

json default_down_types() {
  return {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"};
}

json default_up_types() {
  return {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
}

std::vector<std::int64_t> read_channels(JsonConfig& reader, std::size_t blocks) {
  constexpr const char* kKey = "block_out_channels";
  if (reader.has(kKey)) return number_of_each(reader, kKey, blocks, 32, 1 << 16);
  reader.expect(blocks == 4, kKey, "expected one for each block");
  return blocks == 4 ? std::vector<std::int64_t>{320, 640, 1280, 1280}
                     : std::vector<std::int64_t>(blocks, 32);
}

void read_blocks(JsonConfig& reader, UnetConfig& config) {
  const json down_types = list_of(reader, "down_block_types", default_down_types());
  const json up_types = list_of(reader, "up_block_types", default_up_types());
  const std::size_t blocks = down_types.size();
  reader.expect(up_types.size() == blocks, "up_block_types",
                "expected as many blocks as down_block_types has");
  if (blocks == 0 || up_types.size() != blocks) return;

  const auto channels = read_channels(reader, blocks);
  const auto resnets = number_of_each(reader, "layers_per_block", blocks, 2, kMaxResnets);
  const auto heads = number_of_each(reader, "attention_head_dim", blocks, 8, 1 << 16);
  const TransformerLayers layers = read_transformer_layers(reader, blocks);
  const auto block_at = [&](std::size_t level, std::int64_t more_resnets, const json* layers_here) {
    UnetBlockConfig block{channels[level], resnets[level] + more_resnets, {}, heads[level], false};
    if (layers_here != nullptr) {
      block.transformer_layers = layers_at(reader, *layers_here, block.resnets);
    }
    return block;
  };
  for (std::size_t i = 0; i < blocks; ++i) {
    const bool down = has_attention(reader, "down_block_types", down_types[i], "DownBlock2D",
                                    "CrossAttnDownBlock2D");
    const bool up =
        has_attention(reader, "up_block_types", up_types[i], "UpBlock2D", "CrossAttnUpBlock2D");
    config.down_blocks.push_back(block_at(i, 0, down ? &layers.down[i] : nullptr));
    config.up_blocks.push_back(block_at(blocks - 1 - i, 1, up ? &layers.up[i] : nullptr));
    config.down_blocks[i].resamples = config.up_blocks[i].resamples = i + 1 < blocks;
  }
  config.mid_block = {channels.back(), 2, layers_at(reader, layers.down.back(), 1), heads.back()};
}

/// What divides what, once everything is read.
void check_divisors(JsonConfig& reader, const UnetConfig& config) {
  const auto check = [&](const UnetBlockConfig& block) {
    reader.expect(block.channels % config.norm_groups == 0, "norm_num_groups",
                  "expected a divisor of every block's channels");
    reader.expect(block.transformer_layers.empty() || block.channels % block.heads == 0,
                  "attention_head_dim", "the number of heads must divide the block's channels");
  };
  for (const UnetBlockConfig& block : config.down_blocks) check(block);
  for (const UnetBlockConfig& block : config.up_blocks) check(block);
  check(config.mid_block);
}

/// An even width, of which one half are sines: divided by that half's width - freq_shift.
void check_sinusoid_width(JsonConfig& reader, const char* key, std::int64_t width,
                          double freq_shift) {
  reader.expect(width % 2 == 0 && static_cast<double>(width / 2) > freq_shift, key,
                "sinusoids of that width cannot be made: expected an even number, its half above "
                "freq_shift");
}

/// A number that all blocks share, also where the file has it once for each.
std::int64_t read_context_width(JsonConfig& reader, std::size_t blocks) {
  const auto widths = number_of_each(reader, "cross_attention_dim", blocks, 1280, 1 << 20);
  const bool is_one = std::all_of(widths.begin(), widths.end(),
                                  [&](std::int64_t width) { return width == widths.front(); });
  reader.expect(is_one, "cross_attention_dim", "the blocks' texts must have one width");
  return widths.front();
}

void refuse_only_cross_attention(JsonConfig& reader) {
  if (!reader.has("only_cross_attention")) return;
  const json& value = reader.at("only_cross_attention");
  const json list = value.is_array() ? value : json(1, value);
  const auto is_false = [](const json& entry) { return entry == false; };
  reader.expect(std::all_of(list.begin(), list.end(), is_false), "only_cross_attention",
                "only false is supported");
}

/// A number, or height and width.
void read_sample_size(JsonConfig& reader, UnetConfig& config) {
  if (!reader.has("sample_size")) return;
  const json& value = reader.at("sample_size");
  const json sizes = value.is_array() ? value : json(2, value);
  const auto fits = [](const json& size) {
    return size.is_number_integer() && size >= 1 && size <= (1 << 16);
  };
  const bool all_fit = sizes.size() == 2 && std::all_of(sizes.begin(), sizes.end(), fits);
  reader.expect(all_fit, "sample_size", "expected a size, or [height, width]");
  if (all_fit) config.sample_size = {sizes[0].get<std::int64_t>(), sizes[1].get<std::int64_t>()};
}

void read_addition(JsonConfig& reader, UnetConfig& config) {
  const auto type = reader.get<std::string>("addition_embed_type", "");
  reader.expect(type.empty() || type == "text_time", "addition_embed_type",
                "only text_time is supported");
  if (type != "text_time") return;
  config.addition_time_width = reader.require_size("addition_time_embed_dim");
  config.addition_input_width = reader.require_size("projection_class_embeddings_input_dim");
  check_sinusoid_width(reader, "addition_time_embed_dim", config.addition_time_width,
                       config.freq_shift);
}

void read_class_embedding(JsonConfig& reader, UnetConfig& config) {
  const auto type = reader.get<std::string>("class_embed_type", "");
  reader.expect(type.empty() || type == "timestep" || type == "projection", "class_embed_type",
                "only timestep and projection are supported, and num_class_embeds without a type");
  if (type == "timestep") {
    config.class_embedding = ClassEmbedding::kTimestep;
  } else if (type == "projection") {
    config.class_embedding = ClassEmbedding::kProjection;
    config.class_input_width = reader.require_size("projection_class_embeddings_input_dim");
  } else if (type.empty() && reader.has("num_class_embeds")) {
    config.class_embedding = ClassEmbedding::kTable;
    config.num_class_embeds = reader.get_size("num_class_embeds", 1);
  }
}

void read_scalars(JsonConfig& reader, UnetConfig& config) {
  config.in_channels = reader.get_size("in_channels", 4);
  config.out_channels = reader.get_size("out_channels", 4);
  config.norm_groups = reader.get_size("norm_num_groups", 32);
  config.norm_eps = reader.get<double>("norm_eps", 1e-5);
  reader.expect(config.norm_eps >= 0.0, "norm_eps", "expected a number of at least 0");
  config.mid_block_scale_factor = reader.get<double>("mid_block_scale_factor", 1.0);
  reader.expect(config.mid_block_scale_factor != 0.0, "mid_block_scale_factor",
                "the middle is divided by it");
  const auto padding = reader.get<std::int64_t>("downsample_padding", 1);
  reader.expect(padding == 0 || padding == 1, "downsample_padding", "only 0 and 1 are supported");
  config.pads_after = padding == 0;
  config.use_linear_projection = reader.get<bool>("use_linear_projection", false);
  config.center_input_sample = reader.get<bool>("center_input_sample", false);
  config.flip_sin_to_cos = reader.get<bool>("flip_sin_to_cos", true);
  config.freq_shift = reader.get<double>("freq_shift", 0.0);
}

/// Several blocks may have one and the same problem.
void sort_problems(JsonConfig& reader) {
  auto& problems = reader.problems();
  std::sort(problems.begin(), problems.end());
  problems.erase(std::unique(problems.begin(), problems.end()), problems.end());
}

}  // namespace

UnetConfig read_unet_config(const std::filesystem::path& directory) {
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), "'", directory.string(),
              "': no such directory. Give the unet directory of a diffusers pipeline.");
  const std::filesystem::path path = directory / "config.json";
  const json object = detail::read_json_object(path);
  JsonConfig reader(object);
  UnetConfig config;
  refuse_unsupported(reader);
  refuse_only_cross_attention(reader);
  read_scalars(reader, config);
  read_sample_size(reader, config);
  read_blocks(reader, config);
  read_addition(reader, config);
  read_class_embedding(reader, config);
  if (!config.down_blocks.empty()) {
    config.context_width = read_context_width(reader, config.down_blocks.size());
    check_divisors(reader, config);
    check_sinusoid_width(reader, "block_out_channels", config.base_channels(), config.freq_shift);
  }
  sort_problems(reader);
  reader.check(path);
  return config;
}

}  // namespace shira
