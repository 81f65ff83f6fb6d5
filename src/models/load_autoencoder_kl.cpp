// config.json and weights of an autoencoder, of 2022 or of today.
#include "checkpoint_source.h"
#include "json_config.h"

#include <shira/io/checkpoint_files.h>
#include <shira/models/autoencoder_kl.h>

#include <algorithm>
#include <array>
#include <utility>

namespace shira {
namespace {

// Far above every known model; what a file may make us build is bounded.
constexpr std::size_t kMaxLevels = 16;
constexpr std::int64_t kMaxResnetsOfLevel = 16;

/// Names of the attention's parts, and what files of 2022 call them.
constexpr std::array<std::pair<const char*, const char*>, 4> kOldNames = {
    {{".to_q.", ".query."},
     {".to_k.", ".key."},
     {".to_v.", ".value."},
     {".to_out.0.", ".proj_attn."}}};

/// What a file of 2022 calls the parameter `name`; the name itself where that did not change.
std::string old_name(std::string name) {
  for (const auto& [now, before] : kOldNames) {
    const std::size_t place = name.find(now);
    if (place != std::string::npos) return name.replace(place, std::string(now).size(), before);
  }
  return name;
}

/// Every one of `types` is `expected`, and there are as many as `count`.
void check_types(detail::JsonConfig& reader, const char* key, const char* expected,
                 std::size_t count) {
  if (!reader.has(key)) {
    reader.expect(count == 1, key, "missing, but block_out_channels has several");
    return;
  }
  const nlohmann::json& types = reader.at(key);
  const bool is_list = types.is_array() && types.size() == count;
  reader.expect(is_list, key, "expected one for each of block_out_channels");
  for (const nlohmann::json& type : types) {
    reader.expect(type == expected, key, std::string("only ") + expected + " is supported");
  }
}

void read_channels(detail::JsonConfig& reader, AutoencoderKlConfig& config) {
  if (reader.has("block_out_channels")) {
    const nlohmann::json& channels = reader.at("block_out_channels");
    const bool is_list = channels.is_array() && !channels.empty() && channels.size() <= kMaxLevels;
    reader.expect(is_list, "block_out_channels", "expected a list of sizes");
    if (!is_list) return;
    config.block_out_channels.clear();
    for (const nlohmann::json& width : channels) {
      config.block_out_channels.push_back(width.is_number_integer() ? width.get<std::int64_t>()
                                                                    : 0);
    }
  }
  const bool fit = std::ranges::all_of(config.block_out_channels, [&](std::int64_t width) {
    return width >= 1 && width <= (1 << 20) && width % config.norm_num_groups == 0;
  });
  reader.expect(fit, "block_out_channels", "expected multiples of norm_num_groups");
}

/// One number, or the first of two.
std::int64_t read_sample_size(detail::JsonConfig& reader, std::int64_t fallback) {
  if (!reader.has("sample_size") || !reader.at("sample_size").is_array()) {
    return reader.get_size("sample_size", fallback);
  }
  const nlohmann::json& sizes = reader.at("sample_size");
  const bool is_given = !sizes.empty() && sizes[0].is_number_integer();
  const std::int64_t size = is_given ? sizes[0].get<std::int64_t>() : 0;
  reader.expect(size >= 1 && size <= (1 << 24), "sample_size", "expected sizes from 1 to 2^24");
  return size;
}

}  // namespace

AutoencoderKlConfig read_autoencoder_kl_config(const std::filesystem::path& directory) {
  const nlohmann::json object = detail::read_json_object(directory / "config.json");
  detail::JsonConfig reader(object);
  AutoencoderKlConfig config;
  reader.expect(reader.get<std::string>("_class_name", "AutoencoderKL") == "AutoencoderKL",
                "_class_name", "only AutoencoderKL is supported");
  config.in_channels = reader.get_size("in_channels", config.in_channels);
  config.out_channels = reader.get_size("out_channels", config.out_channels);
  config.latent_channels = reader.get_size("latent_channels", config.latent_channels);
  config.layers_per_block = reader.get_size("layers_per_block", config.layers_per_block);
  reader.expect(config.layers_per_block <= kMaxResnetsOfLevel, "layers_per_block",
                "expected at most 16");
  config.norm_num_groups = reader.get_size("norm_num_groups", config.norm_num_groups);
  read_channels(reader, config);
  check_types(reader, "down_block_types", "DownEncoderBlock2D", config.block_out_channels.size());
  check_types(reader, "up_block_types", "UpDecoderBlock2D", config.block_out_channels.size());
  config.sample_size = read_sample_size(reader, config.sample_size);
  reader.expect(config.sample_size >= config.factor(), "sample_size",
                "expected at least the pixels of one latent");
  config.scaling_factor = reader.get<double>("scaling_factor", config.scaling_factor);
  reader.expect(config.scaling_factor > 0.0, "scaling_factor", "expected a number above 0");
  config.force_upcast = reader.get<bool>("force_upcast", config.force_upcast);
  config.use_quant_conv = reader.get<bool>("use_quant_conv", config.use_quant_conv);
  config.use_post_quant_conv = reader.get<bool>("use_post_quant_conv", config.use_post_quant_conv);
  config.mid_block_add_attention =
      reader.get<bool>("mid_block_add_attention", config.mid_block_add_attention);
  reader.expect(reader.get<std::string>("act_fn", "silu") == "silu", "act_fn",
                "only silu is supported");
  for (const char* key : {"shift_factor", "latents_mean", "latents_std"}) {
    reader.expect(!reader.has(key), key, "is not supported");
  }
  reader.refuse_unknown({"act_fn", "block_out_channels", "down_block_types", "force_upcast",
                         "in_channels", "latent_channels", "latents_mean", "latents_std",
                         "layers_per_block", "mid_block_add_attention", "norm_num_groups",
                         "out_channels", "sample_size", "scaling_factor", "shift_factor",
                         "up_block_types", "use_post_quant_conv", "use_quant_conv"});
  reader.check(directory / "config.json");
  return config;
}

AutoencoderKl load_autoencoder_kl(const std::filesystem::path& directory,
                                  const LoadOptions& options) {
  const AutoencoderKlConfig config = read_autoencoder_kl_config(directory);
  const CheckpointFiles files(directory);
  detail::CheckpointSource source(
      files, options, [](const std::string&) { return false; }, "decoder.conv_in.weight");
  AutoencoderKl model(config, [&](const std::string& name, at::IntArrayRef shape) {
    const std::string old = old_name(name);
    const bool is_old = !files.contains(name) && files.contains(old);
    return source.take(is_old ? old : name, shape);
  });
  source.check_all();
  return model;
}

}  // namespace shira
