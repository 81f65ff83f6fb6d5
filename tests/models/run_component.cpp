// run_component KIND DIRECTORY INPUTS OUTPUTS: for tests. Loads a component of a diffusers pipeline
// in float32, runs it on the tensors of the safetensors file INPUTS and writes what comes out.
//   clip: input_ids, weights (B, T, D) -> last, penultimate, pooled, and grad.<parameter> of
//         sum(penultimate * weights) + sum(pooled)
//   vae: pixels, latents, noise -> mean, logvar, sampled, decoded; vae_tiled: the same in tiles
//   names KIND DIRECTORY OUT.json: the parameters that the config asks for, with their shapes
//   prompts DIRECTORY POSITIONS OUT.json < JSON: a list of prompts as rows of ids
#include <shira/io/safetensors.h>
#include <shira/models/autoencoder_kl.h>
#include <shira/models/clip_text.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/tensor_file.h>
#include <shira/text/prompt_tokenizer.h>

#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include <exception>
#include <fstream>
#include <iostream>

namespace {

using shira::NamedTensor;

torch::Tensor input(const shira::SafetensorsFile& file, const char* name) {
  return shira::map_tensor(file.view(name));
}

std::vector<NamedTensor> run_clip(const std::string& directory,
                                  const shira::SafetensorsFile& inputs) {
  auto model = shira::load_clip_text(directory, {.dtype = torch::kFloat32, .writable = nullptr});
  model->gradient_checkpointing = inputs.contains("checkpointed");
  const auto parameters = shira::nn::unique_parameters(*model);
  for (const auto& [name, parameter] : parameters) parameter.requires_grad_();
  const auto states = model->forward(input(inputs, "input_ids"));
  const torch::Tensor loss =
      (states.penultimate * input(inputs, "weights")).sum() + states.pooled.sum();
  loss.backward();
  std::vector<NamedTensor> outputs = {{"last", states.last.detach()},
                                      {"penultimate", states.penultimate.detach()},
                                      {"pooled", states.pooled.detach()}};
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) outputs.emplace_back("grad." + name, parameter.grad());
  }
  return outputs;
}

std::vector<NamedTensor> run_vae(const std::string& directory, const shira::SafetensorsFile& inputs,
                                 bool tiling) {
  torch::NoGradGuard no_grad;
  auto model = shira::load_autoencoder_kl(directory, {.dtype = torch::kFloat32});
  model->tiling = tiling;
  const auto encoded = model->encode(input(inputs, "pixels"));
  return {{"mean", encoded.mean.contiguous()},
          {"logvar", encoded.logvar},
          {"sampled", encoded.sample(input(inputs, "noise"))},
          {"decoded", model->decode(input(inputs, "latents"))}};
}

void write_names(const std::string& kind, const std::string& directory, const std::string& out) {
  nlohmann::json shapes;
  const shira::ParameterSource source = [&](const std::string& name, at::IntArrayRef shape) {
    shapes[name] = shape.vec();
    return at::empty({1}).expand(shape);
  };
  if (kind == "clip") {
    shira::ClipText(shira::read_clip_text_config(directory), source, "");
  } else {
    shira::AutoencoderKl(shira::read_autoencoder_kl_config(directory), source);
  }
  std::ofstream(out) << shapes;
}

void write_prompts(const std::string& directory, const std::string& positions,
                   const std::string& out) {
  const shira::PromptTokenizer tokenizer(directory, std::stoll(positions));
  nlohmann::json rows = nlohmann::json::array();
  for (const nlohmann::json& prompt : nlohmann::json::parse(std::cin)) {
    rows.push_back(tokenizer.encode(prompt));
  }
  std::ofstream(out) << rows;
}

std::vector<NamedTensor> run(const std::string& kind, const std::string& directory,
                             const shira::SafetensorsFile& inputs) {
  if (kind == "clip") return run_clip(directory, inputs);
  return run_vae(directory, inputs, kind == "vae_tiled");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 5)
      throw std::invalid_argument("usage: run_component KIND DIRECTORY INPUTS OUTPUTS");
    const std::string kind = argv[1];
    if (kind == "names") {
      write_names(argv[2], argv[3], argv[4]);
    } else if (kind == "prompts") {
      write_prompts(argv[2], argv[3], argv[4]);
    } else {
      shira::save_tensors(argv[4], run(kind, argv[2], shira::SafetensorsFile(argv[3])));
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
