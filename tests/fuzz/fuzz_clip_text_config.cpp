// Any config.json of a text encoder is either refused with IoError or ConfigError or has sizes that
// a model can have.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/models/clip_text.h>

namespace {

bool is_sound(const shira::ClipTextConfig& config) {
  const std::int64_t sizes[] = {config.vocab_size,          config.hidden_size,
                                config.intermediate_size,   config.num_hidden_layers,
                                config.num_attention_heads, config.max_position_embeddings};
  return std::ranges::all_of(sizes, [](std::int64_t size) { return size >= 1; }) &&
         config.hidden_size % config.num_attention_heads == 0 && config.num_hidden_layers <= 256 &&
         config.projection_dim >= 0 && config.layer_norm_eps >= 0;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"architectures":["CLIPTextModel"],"hidden_act":"quick_gelu","hidden_size":24,)"
          R"("intermediate_size":40,"layer_norm_eps":1e-5,"max_position_embeddings":77,)"
          R"("model_type":"clip_text_model","num_attention_heads":3,"num_hidden_layers":2,)"
          R"("eos_token_id":2,"projection_dim":24,"vocab_size":50})",
          R"({"architectures":["CLIPTextModelWithProjection"],"hidden_act":"gelu",)"
          R"("hidden_size":32,"num_attention_heads":4,"projection_dim":16})",
          R"({"hidden_size":8,"num_attention_heads":1,"layer_norm_eps":null})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  directory.write("config.json", {reinterpret_cast<const char*>(data), size});
  try {
    if (!is_sound(shira::read_clip_text_config(directory.path()))) std::abort();
  } catch (const shira::IoError&) {
  } catch (const shira::ConfigError&) {
  }
  return 0;
}
