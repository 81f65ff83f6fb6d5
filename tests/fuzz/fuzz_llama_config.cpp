// Any config.json is either refused with IoError or ConfigError or has sizes that a model can have.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/models/llama_config.h>

namespace {

bool is_sound(const shira::LlamaConfig& config) {
  const std::int64_t sizes[] = {config.vocab_size,
                                config.hidden_size,
                                config.intermediate_size,
                                config.num_hidden_layers,
                                config.num_attention_heads,
                                config.num_key_value_heads,
                                config.head_dim,
                                config.max_position_embeddings};
  return std::ranges::all_of(sizes, [](std::int64_t size) { return size >= 1; }) &&
         config.num_attention_heads % config.num_key_value_heads == 0 && config.head_dim % 2 == 0 &&
         config.rope_theta > 0 && config.rms_norm_eps >= 0;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"model_type":"llama","vocab_size":32,"hidden_size":8,"intermediate_size":16,)"
      R"("num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,)"
      R"("head_dim":4,"max_position_embeddings":64,"rms_norm_eps":1e-5,"rope_theta":1e4,)"
      R"("tie_word_embeddings":true,"eos_token_id":[2,3]})",
      R"({"model_type":"qwen3","vocab_size":32,"hidden_size":8,"intermediate_size":16,)"
      R"("num_hidden_layers":1,"layer_types":["full_attention"],)"
      R"("num_attention_heads":2,"rope_scaling":{"rope_type":"llama3","factor":8.0,)"
      R"("low_freq_factor":1.0,"high_freq_factor":4.0,)"
      R"("original_max_position_embeddings":64},"quantization_config":null})",
      R"({"model_type":"mistral","rope_parameters":{"rope_type":"default","rope_theta":5e5},"hidden_act":"silu"})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  directory.write("config.json", {reinterpret_cast<const char*>(data), size});
  try {
    if (!is_sound(shira::read_llama_config(directory.path()))) std::abort();
  } catch (const shira::IoError&) {
  } catch (const shira::ConfigError&) {
  }
  return 0;
}
