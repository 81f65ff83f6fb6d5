// The scale of each layer of a LoRA adapter, and shapes that make no product.
#include "expect_error.h"
#include "io/peft_pattern.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/peft_lora_file.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

using Shape = std::vector<std::int64_t>;

/// An adapter of the layers named, r = 2, (4, 3), with these settings in its configuration.
void write_lora(const TemporaryDirectory& directory, const std::vector<std::string>& layers,
                const std::string& settings, const Shape& a = {2, 3}, const Shape& b = {4, 2}) {
  const std::vector<float> values(64, 1.0f);
  std::vector<TensorBytes> tensors;
  for (const std::string& layer : layers) {
    const std::string module = "base_model.model." + layer;
    tensors.push_back({module + ".lora_A.weight", DType::kF32, a, values.data()});
    tensors.push_back({module + ".lora_B.weight", DType::kF32, b, values.data()});
  }
  write_safetensors(directory / "adapter_model.safetensors", tensors);
  write_file(directory / "adapter_config.json",
             R"({"peft_type": "LORA", "r": 2, )" + settings + "}");
}

TEST(PeftLoraFile, ScaleIsAlphaByRank) {
  TemporaryDirectory directory;
  write_lora(directory, {"q"}, R"("lora_alpha": 5)");
  EXPECT_EQ(read_peft_lora_file(directory.path()).tensors.at(0).scaling, 2.5);
  EXPECT_EQ(read_peft_lora_file(directory.path()).tensors.at(0).name, "q.weight");
  write_lora(directory, {"q"}, R"("lora_alpha": 5, "use_rslora": true)");
  EXPECT_EQ(read_peft_lora_file(directory.path()).tensors.at(0).scaling, 5 / std::sqrt(2.0));
}

TEST(PeftLoraFile, TheFirstPatternOfTheFileCounts) {
  TemporaryDirectory directory;
  const std::string settings =
      R"json("lora_alpha": 2, "alpha_pattern": {"q": 4, "l.1.(q|v)": 8})json";
  write_lora(directory, {"l.0.q", "l.1.q", "l.1.v"}, settings + R"(, "r": 2)");
  expect_error<IoError>([&] { read_peft_lora_file(directory.path()); }, {"\"r\" twice"});
  write_lora(directory, {"l.0.q", "l.1.q", "l.1.v"}, settings);
  const PeftLoraFile file = read_peft_lora_file(directory.path());
  EXPECT_EQ(file.tensors.at(0).scaling, 2.0);  // by "q"
  EXPECT_EQ(file.tensors.at(1).scaling, 2.0);  // by "q", though both match
  EXPECT_EQ(file.tensors.at(2).scaling, 4.0);
}

TEST(PeftLoraFile, WritesRanksAndScalesThatReadTheSame) {
  TemporaryDirectory directory;
  const std::vector<float> values(64, 1.0f);
  const auto view = [&](const Shape& shape) {
    return TensorView{DType::kF32, shape, reinterpret_cast<const std::byte*>(values.data()), 0, {}};
  };
  const auto layer = [&](const char* name, std::int64_t r, double scaling) {
    return PeftLoraTensor{name, view({r, 3}), view({4, r}), view({4}), scaling};
  };
  PeftLoraFile file{.base_model = "base", .tensors = {}, .use_rslora = true};
  file.tensors = {layer("l.0.q.weight", 3, 8 / std::sqrt(3.0)), layer("l.1.q.weight", 2, 0.1),
                  layer("l.2.q.weight", 3, 1.0 / 3.0)};
  write_peft_lora_file(directory.path(), file, "");
  const PeftLoraFile read = read_peft_lora_file(directory.path());
  ASSERT_EQ(read.tensors.size(), 3U);
  EXPECT_TRUE(read.use_rslora);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read.tensors[i].name, file.tensors[i].name);
    EXPECT_EQ(read.tensors[i].a.shape, file.tensors[i].a.shape);
    EXPECT_EQ(read.tensors[i].scaling, file.tensors[i].scaling);
    EXPECT_TRUE(read.tensors[i].magnitude.has_value());
  }
  file.tensors.clear();
  expect_error<IoError>([&] { write_peft_lora_file(directory.path(), file, ""); }, {"without"});
}

TEST(PeftLoraFile, FactorsOfConvolutions) {
  TemporaryDirectory directory;
  write_lora(directory, {"conv"}, R"("lora_alpha": 2)", {2, 3, 1, 3}, {4, 2, 1, 1});
  EXPECT_EQ(read_peft_lora_file(directory.path()).tensors.at(0).a.shape, (Shape{2, 3, 1, 3}));
  for (const Shape& b : {Shape{4, 2}, Shape{4, 3, 1, 1}, Shape{4, 2, 1, 2}, Shape{0, 2, 1, 1}}) {
    write_lora(directory, {"conv"}, R"("lora_alpha": 2)", {2, 3, 1, 3}, b);
    expect_error<IoError>([&] { read_peft_lora_file(directory.path()); }, {"conv.weight"});
  }
}

TEST(PeftPattern, MatchesTheWholeNameOrItsEndAfterADot) {
  const auto matches = [](const char* pattern, const char* module) {
    return detail::PeftPattern(pattern).matches(module);
  };
  EXPECT_TRUE(matches("q_proj", "q_proj"));
  EXPECT_TRUE(matches("q_proj", "layers.0.q_proj"));
  EXPECT_FALSE(matches("q_proj", "layers.0.qq_proj"));
  EXPECT_FALSE(matches("q_proj", "q_proj.x"));
  EXPECT_TRUE(matches("0.q_proj", "layers.0.q_proj"));
  EXPECT_TRUE(matches("0.q_proj", "layers.0xq_proj")) << "a dot is any character";
  EXPECT_TRUE(matches("^layers\\.\\d+\\.q", "layers.17.q"));
  EXPECT_FALSE(matches("^layers\\.\\d+\\.q", "model.layers.17.q"));
  EXPECT_TRUE(matches(".*\\.(q|v)$", "layers.0.v"));
  EXPECT_FALSE(matches("[01].q", "layers.2.q"));
}

TEST(PeftPattern, RefusesWhatIsNoPattern) {
  for (const std::string pattern : {"(", "a{2}", "(?=a)", "(a)\\1", "[b-a]", "a b"}) {
    expect_error<IoError>([&] { detail::PeftPattern{pattern}; }, {"pattern"});
  }
  expect_error<IoError>([] { detail::PeftPattern(std::string(1000, 'a')); }, {"too long"});
}

}  // namespace
}  // namespace shira
