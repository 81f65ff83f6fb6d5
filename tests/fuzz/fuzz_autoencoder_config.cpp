// Any config.json of an autoencoder is either refused with IoError or ConfigError or has sizes that
// a model can have.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/models/autoencoder_kl.h>

namespace {

bool is_sound(const shira::AutoencoderKlConfig& config) {
  const std::int64_t sizes[] = {config.in_channels, config.out_channels, config.latent_channels,
                                config.layers_per_block, config.norm_num_groups};
  const auto fits = [&](std::int64_t width) {
    return width >= 1 && width % config.norm_num_groups == 0;
  };
  return std::ranges::all_of(sizes, [](std::int64_t size) { return size >= 1; }) &&
         !config.block_out_channels.empty() && config.block_out_channels.size() <= 16 &&
         std::ranges::all_of(config.block_out_channels, fits) && config.layers_per_block <= 16 &&
         config.sample_size >= config.factor() && config.scaling_factor > 0;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"_class_name":"AutoencoderKL","act_fn":"silu","block_out_channels":[8,16],)"
          R"("down_block_types":["DownEncoderBlock2D","DownEncoderBlock2D"],"in_channels":3,)"
          R"("latent_channels":4,"layers_per_block":2,"norm_num_groups":4,"out_channels":3,)"
          R"("sample_size":64,"up_block_types":["UpDecoderBlock2D","UpDecoderBlock2D"]})",
          R"({"scaling_factor":0.13025,"force_upcast":true,"use_quant_conv":false,)"
          R"("use_post_quant_conv":false,"mid_block_add_attention":false,"sample_size":[32,24],)"
          R"("shift_factor":null,"latents_mean":null,"latents_std":null})",
          R"({"norm_num_groups":16})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  directory.write("config.json", {reinterpret_cast<const char*>(data), size});
  try {
    if (!is_sound(shira::read_autoencoder_kl_config(directory.path()))) std::abort();
  } catch (const shira::IoError&) {
  } catch (const shira::ConfigError&) {
  }
  return 0;
}
