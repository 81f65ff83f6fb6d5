// What goes along with weights that are made anew.
#include "expect_error.h"
#include "file_size_limit.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_copy.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace shira {
namespace {

namespace fs = std::filesystem;

TEST(CheckpointCopy, TakesEverythingButWeightsAndWhatDescribesOthers) {
  TemporaryDirectory from, to;
  for (const char* name :
       {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
        "pytorch_model.bin.index.json", "consolidated.00.pth", "model.gguf", "v1-5-pruned.ckpt",
        "flax_model.msgpack", "tf_model.h5", "README.md", "adapter_config.json", "tokenizer.model",
        "config.json", "chat_template.jinja"}) {
    write_file(from / name, name);
  }
  fs::create_directory(from / "original");
  // As the HuggingFace cache has its files.
  write_file(from / "original" / "blob", "vocabulary");
  fs::create_symlink("original/blob", from / "vocab.json");
  const std::vector<std::string> expected{"chat_template.jinja", "config.json", "tokenizer.model",
                                          "vocab.json"};
  EXPECT_EQ(companion_files(from.path()), expected);
  copy_companion_files(from.path(), to.path());
  EXPECT_EQ(read_file(to / "tokenizer.model"), "tokenizer.model");
  EXPECT_EQ(read_file(to / "vocab.json"), "vocabulary");
  EXPECT_FALSE(fs::is_symlink(to / "vocab.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(to.path()), fs::directory_iterator()), 4);
}

TEST(CheckpointCopy, APipelinesComponentsKeepTheirConfigurationAndOthersEverything) {
  TemporaryDirectory from, to;
  write_file(from / "model_index.json", R"({"unet":["diffusers","UNet2DConditionModel"],
                                            "safety_checker":["x","Y"]})");
  fs::create_directory(from / "unet");
  fs::create_directory(from / "safety_checker");
  for (const char* name : {"unet/config.json", "unet/diffusion_pytorch_model.safetensors",
                           "safety_checker/pytorch_model.bin"}) {
    write_file(from / name, name);
  }
  const std::vector<std::string> expected{"model_index.json", "safety_checker/pytorch_model.bin",
                                          "unet/config.json"};
  EXPECT_EQ(companion_files(from.path()), expected);
  copy_companion_files(from.path(), to.path());
  EXPECT_EQ(read_file(to / "unet/config.json"), "unet/config.json");
}

TEST(CheckpointCopy, AFullDiskIsAnErrorThatNamesTheFile) {
  TemporaryDirectory directory;
  write_file(directory / "big", std::string(20'000, 'x'));
  const FileSizeLimit limit(4096);
  expect_error<IoError>([&] { duplicate_file(directory / "big", directory / "copy"); },
                        {"copy", "File too large"});
  EXPECT_FALSE(fs::exists(directory / "copy"));
}

TEST(CheckpointCopy, TheIndexKeepsWhatItDoesNotKnow) {
  TemporaryDirectory from, to;
  const std::string name = "model.safetensors.index.json";
  write_file(from / name, R"({"metadata":{"total_parameters":7,"total_size":14,"by":"x"},)"
                          R"("weight_map":{"a":"1.safetensors"},"more":[1]})");
  write_checkpoint_index(from / name, to / name, {{{"b", "2.safetensors"}}, 10, -2});
  const auto index = nlohmann::json::parse(read_file(to / name));
  EXPECT_EQ(index,
            nlohmann::json::parse(R"({"metadata":{"total_parameters":5,"total_size":10,"by":"x"},)"
                                  R"("weight_map":{"b":"2.safetensors"},"more":[1]})"));
}

TEST(CheckpointCopy, AnIndexWithoutMetadataGetsIt) {
  TemporaryDirectory from, to;
  const std::string name = "model.safetensors.index.json";
  write_file(from / name, R"({"metadata":5,"weight_map":{}})");
  write_checkpoint_index(from / name, to / name, {{}, 10, 3});
  EXPECT_EQ(nlohmann::json::parse(read_file(to / name)),
            nlohmann::json::parse(R"({"metadata":{"total_size":10},"weight_map":{}})"));
}

}  // namespace
}  // namespace shira
