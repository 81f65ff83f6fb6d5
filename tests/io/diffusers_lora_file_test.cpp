// Names, scales and forms of LoRA files of diffusion models; tests/cli/test_diffusion_adapters.py
// holds whole files against diffusers.
#include "expect_error.h"
#include "io/lora_keys.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/diffusers_lora_file.h>

#include <gtest/gtest.h>

#include <numeric>

namespace shira {
namespace {

using Shape = std::vector<std::int64_t>;

const ParameterShapes kBase = {{"unet.conv_in.weight", {4, 3, 1, 1}},
                               {"unet.mid_block.attentions.0.proj_in.weight", {4, 3}},
                               {"text_encoder.encoder.q_proj.weight", {4, 3}}};

struct Tensor {
  std::string name;
  Shape shape;
};

std::filesystem::path write(const TemporaryDirectory& directory, const std::vector<Tensor>& tensors,
                            const std::map<std::string, std::string>& metadata = {}) {
  static const std::vector<float> values(64, 6.0f);
  std::vector<TensorBytes> bytes;
  for (const auto& [name, shape] : tensors) {
    bytes.push_back({name, DType::kF32, shape, values.data()});
  }
  const std::filesystem::path path = directory / "lora.safetensors";
  write_safetensors(path, bytes, metadata);
  return path;
}

PeftLoraTensor read_one(const std::filesystem::path& path) {
  const PeftLoraFile file = read_diffusers_lora_file(path, &kBase);
  EXPECT_EQ(file.tensors.size(), 1u);
  return file.tensors.at(0);
}

TEST(LoraKeys, OfAllLayouts) {
  const auto parts = [](const char* name) {
    const detail::LoraKey key = detail::parse_lora_key(name);
    return key.component + "|" + key.module + (key.is_underscored ? "_|" : "|") +
           std::to_string(static_cast<int>(key.role));
  };
  EXPECT_EQ(parts("unet.a.to_q.lora_A.weight"), "unet|a.to_q|0");
  EXPECT_EQ(parts("unet.a.to_q.lora.up.weight"), "unet|a.to_q|1");
  EXPECT_EQ(parts("a.to_q.lora_magnitude_vector"), "|a.to_q|2");
  EXPECT_EQ(parts("unet.a.attn1.processor.to_out_lora.down.weight"), "unet|a.attn1.to_out.0|0");
  EXPECT_EQ(parts("text_encoder.a.to_out_lora.up.weight"), "text_encoder|a.out_proj|1");
  EXPECT_EQ(parts("text_encoder.a.fc1.lora_linear_layer.up.weight"), "text_encoder|a.fc1|1");
  EXPECT_EQ(parts("lora_unet_a_b.lora_down.weight"), "unet|a_b_|0");
  EXPECT_EQ(parts("lora_te1_a.dora_scale"), "text_encoder|a_|3");
  EXPECT_EQ(parts("lora_te2_a.alpha"), "text_encoder_2|a_|4");
}

TEST(DiffusersLoraFile, ScaleIsTheAlphaByTheRank) {
  TemporaryDirectory directory;
  const std::vector<Tensor> factors = {{"lora_unet_conv_in.lora_down.weight", {2, 3}},
                                       {"lora_unet_conv_in.lora_up.weight", {4, 2, 1, 1}}};
  std::vector<Tensor> with_alpha = factors;
  with_alpha.push_back({"lora_unet_conv_in.alpha", {}});
  EXPECT_EQ(read_one(write(directory, factors)).scaling, 1.0);
  EXPECT_EQ(read_one(write(directory, with_alpha)).scaling, 3.0);
  with_alpha.back().shape = {2};
  expect_error<IoError>([&] { read_one(write(directory, with_alpha)); },
                        {"lora.safetensors", "\"unet.conv_in\"", "not one number"});
}

TEST(DiffusersLoraFile, FactorsTakeTheFormOfTheWeight) {
  TemporaryDirectory directory;
  const PeftLoraTensor conv =
      read_one(write(directory, {{"lora_unet_conv_in.lora_down.weight", {2, 3}},
                                 {"lora_unet_conv_in.lora_up.weight", {4, 2}},
                                 {"lora_unet_conv_in.dora_scale", {4, 1, 1, 1}}}));
  EXPECT_EQ(conv.a.shape, (Shape{2, 3, 1, 1}));
  EXPECT_EQ(conv.b.shape, (Shape{4, 2, 1, 1}));
  EXPECT_EQ(conv.magnitude->shape, (Shape{1, 4, 1, 1}));
  const std::string module = "lora_unet_middle_block_1_proj_in";
  const PeftLoraTensor linear =
      read_one(write(directory, {{module + ".lora_down.weight", {2, 3, 1, 1}},
                                 {module + ".lora_up.weight", {4, 2, 1, 1}}}));
  EXPECT_EQ(linear.name, "unet.mid_block.attentions.0.proj_in.weight");
  EXPECT_EQ(linear.a.shape, (Shape{2, 3}));
}

TEST(DiffusersLoraFile, ColumnMagnitudesAreRefused) {
  TemporaryDirectory directory;
  const auto path = write(directory, {{"lora_unet_conv_in.lora_down.weight", {2, 3}},
                                      {"lora_unet_conv_in.lora_up.weight", {4, 2}},
                                      {"lora_unet_conv_in.dora_scale", {1, 3, 1, 1}}});
  expect_error<IoError>([&] { read_one(path); }, {"dora_scale does not hold 4"});
}

TEST(DiffusersLoraFile, ListsWhatTheBaseDoesNotHave) {
  TemporaryDirectory directory;
  std::vector<Tensor> tensors;
  for (const char* module : {"unet.conv_out", "unet.x", "text_encoder.text_model.encoder.q_proj"}) {
    tensors.push_back({module + std::string(".lora_A.weight"), {2, 3}});
    tensors.push_back({module + std::string(".lora_B.weight"), {4, 2}});
  }
  const auto path = write(directory, tensors);
  expect_error<IoError>([&] { read_diffusers_lora_file(path, &kBase); },
                        {"\"unet.conv_out\": the base has no", "\"unet.x\": the base has no"});
  const PeftLoraFile file = read_diffusers_lora_file(path);  // for people
  EXPECT_EQ(file.tensors.at(0).name, "text_encoder.text_model.encoder.q_proj.weight");
}

TEST(DiffusersLoraFile, SettingsAreWrittenByComponent) {
  TemporaryDirectory directory;
  const std::vector<Tensor> tensors = {
      {"unet.conv_in.lora_A.weight", {2, 3, 1, 1}},
      {"unet.conv_in.lora_B.weight", {4, 2, 1, 1}},
      {"unet.mid_block.attentions.0.proj_in.lora_A.weight", {1, 3}},
      {"unet.mid_block.attentions.0.proj_in.lora_B.weight", {4, 1}},
      {"text_encoder.encoder.q_proj.lora_A.weight", {3, 3}},
      {"text_encoder.encoder.q_proj.lora_B.weight", {4, 3}},
      {"text_encoder.encoder.q_proj.lora_magnitude_vector", {4}}};
  PeftLoraFile file = read_diffusers_lora_file(write(directory, tensors), &kBase);
  ASSERT_TRUE(is_pipeline_lora(file));
  double alpha = 0.0;
  for (PeftLoraTensor& tensor : file.tensors) {
    tensor.scaling = (alpha += 1.3) / static_cast<double>(tensor.a.shape[0]);
  }
  write_diffusers_lora_file(directory.path(), file);
  const PeftLoraFile read = read_diffusers_lora_file(directory.path(), &kBase);
  ASSERT_EQ(read.tensors.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read.tensors[i].name, file.tensors[i].name);
    EXPECT_EQ(read.tensors[i].scaling, file.tensors[i].scaling);
    EXPECT_EQ(read.tensors[i].magnitude.has_value(), file.tensors[i].magnitude.has_value());
  }
  file.tensors[1].magnitude = file.tensors[0].magnitude;  // one of the UNet's two
  expect_error<IoError>([&] { write_diffusers_lora_file(directory.path(), file); },
                        {"LoRA and DoRA"});
}

TEST(DiffusersLoraFile, IsForPipelinesAlone) {
  const auto of = [](const std::string& name) {
    return PeftLoraFile{"", {{name, {}, {}, std::nullopt}}};
  };
  EXPECT_TRUE(is_pipeline_lora(of("text_encoder_2.x.weight")));
  EXPECT_FALSE(is_pipeline_lora(of("model.layers.0.weight")));
  EXPECT_FALSE(is_pipeline_lora(of("vae.x.weight")));
  EXPECT_FALSE(is_pipeline_lora({}));
}

}  // namespace
}  // namespace shira
