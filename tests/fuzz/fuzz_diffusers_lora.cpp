// Any file is either refused with IoError or factors that make a product, of the base's names and
// shapes where the base is known, and then the same after they are written and read again. An input
// is a safetensors file, which is also read with its length field put right.
#include "fuzz_directory.h"
#include "mutation_driver.h"
#include "safetensors_input.h"

#include <shira/base/error.h>
#include <shira/io/diffusers_lora_file.h>

#include <cmath>

namespace {

using Shape = std::vector<std::int64_t>;

constexpr const char* kName = "lora.safetensors";
const shira::ParameterShapes kShapes = {
    {"unet.conv_in.weight", {2, 2, 3, 3}},
    {"unet.down_blocks.0.resnets.0.conv_shortcut.weight", {2, 2, 1, 1}},
    {"unet.down_blocks.0.attentions.0.attn1.to_q.weight", {4, 2}},
    {"unet.mid_block.attentions.0.attn1.to_out.0.weight", {4, 2}},
    {"text_encoder.encoder.layers.0.self_attn.q_proj.weight", {4, 4}},
    {"text_encoder_2.text_model.encoder.layers.0.mlp.fc1.weight", {4, 4}}};

void check_product(const shira::PeftLoraTensor& tensor) {
  const bool is_product = tensor.a.shape.at(0) == tensor.b.shape.at(1) &&
                          tensor.a.shape.size() == tensor.b.shape.size();
  if (!is_product || !std::isfinite(tensor.scaling) || tensor.scaling <= 0) std::abort();
}

void check_fits_base(const shira::PeftLoraTensor& tensor) {
  Shape shape = tensor.a.shape;
  shape.at(0) = tensor.b.shape.at(0);
  if (shape != kShapes.at(tensor.name)) std::abort();
}

bool are_equal(const shira::PeftLoraTensor& a, const shira::PeftLoraTensor& b) {
  return a.name == b.name && a.a.shape == b.a.shape && a.b.shape == b.b.shape &&
         std::abs(a.scaling - b.scaling) <= 1e-12 * a.scaling &&
         a.magnitude.has_value() == b.magnitude.has_value();
}

void check_writing(const shira::PeftLoraFile& adapter) {
  static const shira::FuzzDirectory directory;
  const bool is_writable = std::ranges::all_of(adapter.tensors, [](const auto& tensor) {
    return tensor.scaling > 1e-30 && tensor.scaling < 1e30;
  });
  if (!is_writable) return;
  try {
    shira::write_diffusers_lora_file(directory.path(), adapter);
  } catch (const shira::IoError&) {
    return;  // magnitudes for some tensors of a component only
  }
  const auto again = shira::read_diffusers_lora_file(directory.path(), &kShapes);
  if (!std::ranges::is_permutation(adapter.tensors, again.tensors, are_equal)) std::abort();
}

void read(const std::string& content, const shira::ParameterShapes* shapes) {
  static const shira::FuzzDirectory directory;
  try {
    const auto path = directory.write(kName, content);
    const shira::PeftLoraFile adapter = shira::read_diffusers_lora_file(path, shapes);
    std::ranges::for_each(adapter.tensors, check_product);
    if (shapes == nullptr) return;
    std::ranges::for_each(adapter.tensors, check_fits_base);
    check_writing(adapter);
  } catch (const shira::IoError&) {
    return;
  }
}

struct SeedTensor {
  std::string name;
  Shape shape;
};

std::string seed(const std::vector<SeedTensor>& tensors,
                 const std::map<std::string, std::string>& metadata = {}) {
  static const std::vector<float> values(64, 0.5f);
  const shira::FuzzDirectory directory;
  std::vector<shira::TensorBytes> bytes;
  for (const auto& [name, shape] : tensors) {
    bytes.push_back({name, shira::DType::kF32, shape, values.data()});
  }
  shira::write_safetensors(directory.path() / kName, bytes, metadata);
  return shira::read_file(directory.path() / kName);
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::string query = "unet.down_blocks.0.attentions.0.attn1.to_q.";
  const std::string settings =
      R"json({"unet.peft_type": "LORA", "unet.r": 3, "unet.lora_alpha": 4, "unet.use_dora": true, )json"
      R"json("unet.rank_pattern": {"^down.*(q|v)": 1}, "unet.alpha_pattern": {"to_q": 3.5}})json";
  const auto present = seed({{query + "lora_A.weight", {1, 2}},
                             {query + "lora_B.weight", {4, 1}},
                             {query + "lora_magnitude_vector", {4}}},
                            {{"lora_adapter_metadata", settings}});
  const auto older = seed(
      {{"unet.mid_block.attentions.0.attn1.processor.to_out_lora.down.weight", {1, 2}},
       {"unet.mid_block.attentions.0.attn1.processor.to_out_lora.up.weight", {4, 1}},
       {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight",
        {1, 4}},
       {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight",
        {4, 1}}});
  const std::string conv = "lora_unet_input_blocks_1_0_skip_connection.";
  const std::string text = "lora_te2_text_model_encoder_layers_0_mlp_fc1.";
  const auto kohya = seed({{conv + "lora_down.weight", {1, 2}},
                           {conv + "lora_up.weight", {2, 1}},
                           {conv + "alpha", {}},
                           {text + "lora_down.weight", {2, 4}},
                           {text + "lora_up.weight", {4, 2}},
                           {text + "dora_scale", {4, 1}}});
  const auto bare =
      seed({{"conv_in.lora_A.weight", {1, 2, 3, 3}}, {"conv_in.lora_B.weight", {2, 1, 1, 1}}});
  return {present, older, kohya, bare};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  for (const std::string& file : {input, shira::with_right_length(input)}) {
    read(file, nullptr);
    read(file, &kShapes);
  }
  return 0;
}
