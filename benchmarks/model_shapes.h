// The models that whole-model benchmarks run on: a LLaMA, and the parameters of Stable Diffusion
// 1.5's UNet under diffusers' names. Weights are random; what counts are the shapes.
#pragma once

#include <shira/models/llama_config.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace shira::benchmarks {

using NamedShape = std::pair<std::string, std::vector<std::int64_t>>;

inline LlamaConfig llama_shape(std::int64_t hidden, std::int64_t intermediate, std::int64_t layers,
                               std::int64_t kv_heads, std::int64_t head_dim) {
  LlamaConfig config;
  config.hidden_size = hidden;
  config.intermediate_size = intermediate;
  config.num_hidden_layers = layers;
  config.num_attention_heads = hidden / head_dim;
  config.num_key_value_heads = kv_heads;
  config.head_dim = head_dim;
  return config;
}

/// LLaMA-2-7B, TinyLlama 1.1B, the same with 10 of its 22 layers (0.57 B), four layers of 1024 or
/// 2048 (enough to train on a CPU, with products of the usual shapes), or a model for a smoke test.
inline LlamaConfig llama_config(const std::string& name) {
  if (name == "llama_1024") return llama_shape(1024, 2816, 4, 16, 64);
  if (name == "llama_2048") return llama_shape(2048, 5632, 4, 32, 64);
  if (name == "llama_7b") return llama_shape(4096, 11008, 32, 32, 128);
  if (name == "llama_1b") return llama_shape(2048, 5632, 22, 4, 64);
  if (name == "llama_half") return llama_shape(2048, 5632, 10, 4, 64);
  if (name != "llama_tiny") throw std::invalid_argument(name + ": no such model");
  LlamaConfig config = llama_shape(128, 320, 2, 4, 16);
  config.vocab_size = 256;
  return config;
}

/// Lists the parameters of diffusers' UNet2DConditionModel with SD-1.5's config; channels 320, 640,
/// 1280, 1280 for a width of 320.
class UnetShapes {
 public:
  explicit UnetShapes(std::int64_t width)
      : channels_{width, 2 * width, 4 * width, 4 * width}, time_(4 * width), text_(768) {
    conv("conv_in", width, 4, 3);
    linear("time_embedding.linear_1", time_, width);
    linear("time_embedding.linear_2", time_, time_);
    add_down_blocks();
    resnet("mid_block.resnets.0", channels_[3], channels_[3]);
    attention("mid_block.attentions.0", channels_[3]);
    resnet("mid_block.resnets.1", channels_[3], channels_[3]);
    add_up_blocks();
    norm("conv_norm_out", width);
    conv("conv_out", 4, width, 3);
  }

  const std::vector<NamedShape>& list() const { return list_; }

 private:
  void add_down_blocks() {
    for (std::size_t i = 0; i < 4; ++i) {
      const std::string block = "down_blocks." + std::to_string(i);
      for (const char* j : {"0", "1"}) {
        const std::int64_t in = *j == '0' ? channels_[i == 0 ? 0 : i - 1] : channels_[i];
        resnet(block + ".resnets." + j, in, channels_[i]);
        if (i < 3) attention(block + ".attentions." + j, channels_[i]);
      }
      if (i < 3) conv(block + ".downsamplers.0.conv", channels_[i], channels_[i], 3);
    }
  }

  /// Each resnet's input has the skip connection's channels appended.
  void add_up_blocks() {
    std::int64_t previous = channels_[3];
    for (std::size_t i = 0; i < 4; ++i) {
      const std::string block = "up_blocks." + std::to_string(i);
      const std::int64_t out = channels_[3 - i];
      const std::int64_t last_skip = channels_[i < 3 ? 2 - i : 0];
      for (int j = 0; j < 3; ++j) {
        const std::string number = std::to_string(j);
        resnet(block + ".resnets." + number, (j == 0 ? previous : out) + (j == 2 ? last_skip : out),
               out);
        if (i > 0) attention(block + ".attentions." + number, out);
      }
      if (i < 3) conv(block + ".upsamplers.0.conv", out, out, 3);
      previous = out;
    }
  }

  void resnet(const std::string& name, std::int64_t in, std::int64_t out) {
    norm(name + ".norm1", in);
    conv(name + ".conv1", out, in, 3);
    linear(name + ".time_emb_proj", out, time_);
    norm(name + ".norm2", out);
    conv(name + ".conv2", out, out, 3);
    if (in != out) conv(name + ".conv_shortcut", out, in, 1);
  }

  void attention(const std::string& name, std::int64_t width) {
    norm(name + ".norm", width);
    conv(name + ".proj_in", width, width, 1);
    const std::string block = name + ".transformer_blocks.0.";
    for (const char* number : {"1", "2", "3"}) norm(block + "norm" + number, width);
    for (const std::string attn : {"attn1", "attn2"}) {
      const std::int64_t context = attn == "attn1" ? width : text_;
      list_.push_back({block + attn + ".to_q.weight", {width, width}});
      list_.push_back({block + attn + ".to_k.weight", {width, context}});
      list_.push_back({block + attn + ".to_v.weight", {width, context}});
      linear(block + attn + ".to_out.0", width, width);
    }
    linear(block + "ff.net.0.proj", 8 * width, width);
    linear(block + "ff.net.2", width, 4 * width);
    conv(name + ".proj_out", width, width, 1);
  }

  void conv(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t size) {
    list_.push_back({name + ".weight", {out, in, size, size}});
    list_.push_back({name + ".bias", {out}});
  }
  void linear(const std::string& name, std::int64_t out, std::int64_t in) {
    list_.push_back({name + ".weight", {out, in}});
    list_.push_back({name + ".bias", {out}});
  }
  void norm(const std::string& name, std::int64_t width) {
    list_.push_back({name + ".weight", {width}});
    list_.push_back({name + ".bias", {width}});
  }

  std::vector<std::int64_t> channels_;
  std::int64_t time_, text_;
  std::vector<NamedShape> list_;
};

}  // namespace shira::benchmarks
