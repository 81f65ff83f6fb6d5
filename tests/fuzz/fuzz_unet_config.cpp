// Any config.json of a UNet is either refused with IoError or ConfigError or has sizes that a model
// can have.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/models/unet_config.h>

namespace {

bool is_sound(const shira::UnetConfig& config, const shira::UnetBlockConfig& block) {
  const bool has_layers = std::ranges::all_of(block.transformer_layers,
                                              [](std::int64_t n) { return n >= 0 && n <= 64; });
  return block.channels >= 1 && block.channels % config.norm_groups == 0 && block.resnets >= 1 &&
         block.heads >= 1 && has_layers &&
         (block.transformer_layers.empty() || block.channels % block.heads == 0);
}

bool is_sound(const shira::UnetConfig& config) {
  const auto sound = [&](const shira::UnetBlockConfig& block) { return is_sound(config, block); };
  return !config.down_blocks.empty() && config.down_blocks.size() == config.up_blocks.size() &&
         config.down_blocks.size() <= 8 && std::ranges::all_of(config.down_blocks, sound) &&
         std::ranges::all_of(config.up_blocks, sound) && sound(config.mid_block) &&
         config.in_channels >= 1 && config.out_channels >= 1 && config.context_width >= 1 &&
         config.base_channels() % 2 == 0 && config.norm_eps >= 0;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"_class_name":"UNet2DConditionModel","act_fn":"silu","attention_head_dim":[2,4],)"
          R"("block_out_channels":[8,16],"cross_attention_dim":6,"down_block_types":)"
          R"(["CrossAttnDownBlock2D","DownBlock2D"],"downsample_padding":1,"freq_shift":0,)"
          R"("layers_per_block":[1,2],"norm_num_groups":4,"sample_size":[8,6],)"
          R"("up_block_types":["UpBlock2D","CrossAttnUpBlock2D"],"norm_eps":1e-5})",
          R"({"addition_embed_type":"text_time","addition_time_embed_dim":8,)"
          R"("projection_class_embeddings_input_dim":68,"transformer_layers_per_block":[[1,2],1],)"
          R"("reverse_transformer_layers_per_block":[1,[2,1,3]],"block_out_channels":[64,64],)"
          R"("down_block_types":["CrossAttnDownBlock2D","CrossAttnDownBlock2D"],)"
          R"("up_block_types":["CrossAttnUpBlock2D","CrossAttnUpBlock2D"]})",
          R"({"class_embed_type":"projection","num_class_embeds":5,"only_cross_attention":[false],)"
          R"("projection_class_embeddings_input_dim":3,"upcast_attention":null,"dropout":0.0})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  directory.write("config.json", {reinterpret_cast<const char*>(data), size});
  try {
    if (!is_sound(shira::read_unet_config(directory.path()))) std::abort();
  } catch (const shira::IoError&) {
  } catch (const shira::ConfigError&) {
  }
  return 0;
}
