// Each component is loaded from its own directory; names get the component in front.
#include "io/json_object.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_copy.h>
#include <shira/io/checkpoint_files.h>
#include <shira/models/load_unet.h>
#include <shira/sparse/tensor_file.h>
#include <shira/tasks/diffusion_pipeline.h>

#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostPixels = 16384;  // a side

nlohmann::json read_index(const fs::path& directory) {
  const fs::path path = directory / "model_index.json";
  SHIRA_CHECK(IoError, fs::is_directory(directory), "'", directory.string(),
              "': no such pipeline directory. Give a local diffusers directory; `hf download "
              "ORG/NAME --local-dir DIR` fetches one.");
  SHIRA_CHECK(ConfigError, fs::exists(path) || !fs::exists(directory / "config.json"),
              directory.string(), ": is one model, not a pipeline of several (model_index.json).");
  auto index = detail::read_json_object(path);
  const std::string kind = index.value("_class_name", "");
  SHIRA_CHECK(ConfigError, kind == "StableDiffusionPipeline" || kind == "StableDiffusionXLPipeline",
              path.string(), ": is a '", kind,
              "'. Supported: StableDiffusionPipeline, StableDiffusionXLPipeline.");
  return index;
}

bool has_component(const nlohmann::json& index, const std::string& name) {
  const auto entry = index.find(name);
  return entry != index.end() && entry->is_array() && entry->size() == 2 && (*entry)[1].is_string();
}

LoadOptions component_options(const LoadOptions& options, const std::string& component) {
  LoadOptions own{.dtype = options.dtype, .writable = nullptr};
  if (options.writable) {
    own.writable = [writable = options.writable, component](const std::string& name) {
      return writable(component + "." + name);
    };
  }
  return own;
}

/// "unet" of "unet.conv_in.weight".
std::string component_of(const std::string& name) { return name.substr(0, name.find('.')); }

/// A module with the children of `module` but for the one at `path` ("encoder.layers.3"), and with
/// its parameters.
std::shared_ptr<torch::nn::Module> without(const torch::nn::Module& module,
                                           const std::string& path) {
  auto rest = std::make_shared<torch::nn::Module>();
  const std::string head = component_of(path);
  for (const auto& child : module.named_children()) {
    if (child.key() != head) {
      rest->register_module(child.key(), child.value());
    } else if (head != path) {
      rest->register_module(head, without(*child.value(), path.substr(head.size() + 1)));
    }
  }
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    rest->register_parameter(parameter.key(), parameter.value(), parameter.value().requires_grad());
  }
  return rest;
}

/// Says in the file what the model was trained to predict, where it says something else.
void save_prediction_type(PredictionType prediction, const fs::path& path) {
  if (read_scheduler_config(path).prediction_type == prediction) return;
  nlohmann::ordered_json object = nlohmann::ordered_json::parse(read_file(path));
  for (const auto& [name, type] : prediction_types()) {
    if (type == prediction) object["prediction_type"] = name;
  }
  write_file(path, object.dump(2) + "\n");
}

/// Says in the file which dtype the weights have now, where it says one: transformers loads them
/// in it.
void save_dtype(torch::ScalarType dtype, const fs::path& path) {
  nlohmann::ordered_json object = nlohmann::ordered_json::parse(read_file(path));
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (object.contains(key)) object[key] = torch_dtype_name(dtype);
  }
  write_file(path, object.dump(2) + "\n");
}

/// Of a file that is copied beside ones which are written without a variant: a pipeline is loaded
/// with one variant or with none.
std::string without_variant(std::string file) {
  const std::size_t at = file.rfind(".fp16.safetensors");
  return at == file.npos ? file : file.erase(at, 5);
}

}  // namespace

DiffusionPipelineImpl::DiffusionPipelineImpl(const fs::path& directory,
                                             const LoadOptions& options) {
  const nlohmann::json index = read_index(directory);
  const bool has_two = index["_class_name"] == "StableDiffusionXLPipeline";
  for (const char* suffix : {"", "_2"}) {
    if (*suffix != '\0' && !has_two) break;
    const std::string name = std::string("text_encoder") + suffix;
    SHIRA_CHECK(ConfigError, has_component(index, name), directory.string(),
                ": model_index.json has no ", name, ".");
    text_encoders.push_back(
        register_module(name, load_clip_text(directory / name, component_options(options, name))));
    tokenizers.emplace_back(directory / (std::string("tokenizer") + suffix),
                            text_encoders.back()->config.max_position_embeddings);
  }
  unet = register_module("unet", load_unet(directory / "unet", component_options(options, "unet")));
  LoadOptions vae_options = component_options(options, "vae");
  if (read_autoencoder_kl_config(directory / "vae").force_upcast) {
    vae_options.dtype = torch::kFloat32;
  }
  vae = register_module("vae", load_autoencoder_kl(directory / "vae", vae_options));
  scheduler = read_scheduler_config(directory / "scheduler" / "scheduler_config.json");
  if (has_component(index, "scheduler")) scheduler.class_name = index["scheduler"][1];
  force_zeros_for_empty_prompt =
      has_two && index.value("force_zeros_for_empty_prompt", nlohmann::json(true)) != false;
}

std::vector<torch::Tensor> DiffusionPipelineImpl::tokenize(
    const std::vector<std::string>& prompts) const {
  std::vector<torch::Tensor> ids;
  for (const PromptTokenizer& tokenizer : tokenizers) {
    std::vector<torch::Tensor> rows;
    for (const std::string& prompt : prompts)
      rows.push_back(torch::tensor(tokenizer.encode(prompt)));
    ids.push_back(at::stack(rows));
  }
  return ids;
}

PromptStates DiffusionPipelineImpl::encode(const std::vector<torch::Tensor>& ids) {
  if (!is_xl()) return {text_encoders[0]->forward(ids.at(0)).last, {}};
  const ClipTextStates first = text_encoders[0]->forward(ids.at(0));
  const ClipTextStates second = text_encoders[1]->forward(ids.at(1));
  return {at::cat({first.penultimate, second.penultimate.to(first.penultimate.scalar_type())}, -1),
          second.pooled};
}

std::vector<std::int64_t> DiffusionPipelineImpl::latent_shape(std::int64_t height,
                                                              std::int64_t width) const {
  const std::int64_t factor = vae->config.factor();
  const auto side = [&](std::int64_t pixels, std::int64_t usual, const char* name) {
    SHIRA_CHECK(ConfigError, pixels >= 0 && pixels % factor == 0, name, ": ", pixels,
                " pixels are no multiple of ", factor, ".");
    SHIRA_CHECK(ConfigError, pixels <= kMostPixels, name, ": ", pixels, " pixels, at most ",
                kMostPixels, " are drawn.");
    SHIRA_CHECK(ConfigError, pixels > 0 || usual > 0, name,
                ": give it; the UNet's config.json states no sample_size.");
    return pixels > 0 ? pixels / factor : usual;
  };
  const auto& usual = unet->config.sample_size;
  return {vae->config.latent_channels, side(height, usual[0], "height"),
          side(width, usual[1], "width")};
}

std::shared_ptr<torch::nn::Module> DiffusionPipelineImpl::trained_parts(
    bool with_text_encoders) const {
  auto parts = std::make_shared<torch::nn::Module>();
  parts->register_module("unet", unet.ptr());
  if (!with_text_encoders) return parts;
  if (!is_xl()) {
    parts->register_module("text_encoder", text_encoders[0].ptr());
    return parts;
  }
  std::shared_ptr<torch::nn::Module> first = text_encoders[0].ptr();
  const std::string last = std::to_string(text_encoders[0]->config.num_hidden_layers - 1);
  for (const std::string root : {"", "text_model."}) {
    first = without(*first, root + "encoder.layers." + last);
    first = without(*first, root + "final_layer_norm");
  }
  parts->register_module("text_encoder", first);
  parts->register_module("text_encoder_2", text_encoders[1].ptr());
  return parts;
}

void save_pipeline(const fs::path& directory, const DiffusionPipeline& pipeline,
                   bool with_text_encoders, const fs::path& base,
                   std::optional<torch::ScalarType> dtype) {
  const CheckpointFiles files(base);
  std::map<std::string, std::vector<NamedTensor>> components;
  for (const auto& parameter : pipeline->named_parameters()) {
    const std::string& name = parameter.key();
    const std::string component = component_of(name);
    if (component == "vae" || (component != "unet" && !with_text_encoders)) continue;
    const auto kept = dtype ? *dtype : to_scalar_type(files.view(name).dtype);
    components[component].emplace_back(name.substr(component.size() + 1),
                                       parameter.value().detach().to(kept));
  }
  copy_companion_files(base, directory);
  for (const CheckpointShard& shard : files.shards()) {
    const fs::path path = directory / shard.file;
    fs::create_directories(path.parent_path());
    if (components.contains(fs::path(shard.file).parent_path())) continue;
    if (shard.index.empty()) {
      duplicate_file(base / shard.file, directory / without_variant(shard.file));
    } else {
      duplicate_file(base / shard.file, path);
      duplicate_file(base / shard.index, directory / shard.index);
    }
  }
  for (const auto& [component, tensors] : components) {
    const char* name =
        component == "unet" ? "diffusion_pytorch_model.safetensors" : "model.safetensors";
    save_tensors(directory / component / name, tensors, {{"format", "pt"}});
    if (dtype) save_dtype(*dtype, directory / component / "config.json");
  }
  save_prediction_type(pipeline->scheduler.prediction_type,
                       directory / "scheduler" / "scheduler_config.json");
}

}  // namespace shira
