// Directories as they come from HuggingFace, and as they should not.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_files.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

/// Writes a shard with one-byte tensors; the byte is the last letter of the tensor's name.
void write_shard(const std::filesystem::path& path, const std::vector<std::string>& names) {
  std::vector<TensorBytes> tensors;
  for (const std::string& name : names) tensors.push_back({name, DType::kU8, {1}, &name.back()});
  write_safetensors(path, tensors);
}

void write_index(const TemporaryDirectory& directory, const std::string& weight_map) {
  write_file(directory / kIndex,
             R"({"metadata":{"total_size":2},"weight_map":)" + weight_map + "}");
}

char byte_of(const CheckpointFiles& files, std::string_view name) {
  return static_cast<char>(*files.view(name).data);
}

void expect_refused(const TemporaryDirectory& directory,
                    std::initializer_list<std::string_view> words) {
  expect_error<IoError>([&] { CheckpointFiles files(directory.path()); }, words);
}

TEST(CheckpointFilesTest, OneFile) {
  TemporaryDirectory directory;
  write_shard(directory / "model.safetensors", {"b", "a"});
  const CheckpointFiles files(directory.path());
  EXPECT_EQ(files.directory(), directory.path());
  EXPECT_EQ(files.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(files.contains("a"));
  EXPECT_FALSE(files.contains("c"));
  EXPECT_EQ(byte_of(files, "b"), 'b');
  expect_error<IoError>([&] { files.view("c"); }, {"no tensor \"c\""});
}

TEST(CheckpointFilesTest, ShardsUnderOneRoof) {
  TemporaryDirectory directory;
  write_shard(directory / "s1.safetensors", {"a", "c"});
  write_shard(directory / "s2.safetensors", {"b"});
  write_index(directory, R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s1.safetensors"})");
  const CheckpointFiles files(directory.path());
  EXPECT_EQ(files.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(byte_of(files, "a"), 'a');
  EXPECT_EQ(byte_of(files, "b"), 'b');
}

TEST(CheckpointFilesTest, TheSingleFileWinsOverAnIndex) {
  TemporaryDirectory directory;
  write_shard(directory / "model.safetensors", {"a"});
  write_file(directory / kIndex, "not even JSON");
  EXPECT_EQ(CheckpointFiles(directory.path()).names(), std::vector<std::string>{"a"});
}

TEST(CheckpointFilesTest, ShardsAreSortedAndTheirTensorsInTheOrderOfTheBytes) {
  TemporaryDirectory directory;
  write_shard(directory / "s2.safetensors", {"c", "a"});
  write_safetensors(directory / "s1.safetensors", {{"b", DType::kU8, {1}, "b"}}, {{"by", "us"}});
  write_index(directory, R"({"a":"s2.safetensors","b":"s1.safetensors","c":"s2.safetensors"})");
  const CheckpointFiles files(directory.path());
  ASSERT_EQ(files.shards().size(), 2);
  EXPECT_EQ(files.shards()[0].file, "s1.safetensors");
  EXPECT_EQ(files.shards()[0].index, "model.safetensors.index.json");
  EXPECT_EQ(files.shards()[0].metadata.at("by"), "us");
  EXPECT_EQ(files.shards()[1].names, (std::vector<std::string>{"c", "a"}));
  write_shard(directory / "model.safetensors", {"a"});
  EXPECT_TRUE(CheckpointFiles(directory.path()).shards()[0].index.empty());
}

TEST(CheckpointFilesTest, DiffusersNamesAndTheFullPrecisionFirst) {
  TemporaryDirectory directory;
  write_shard(directory / "diffusion_pytorch_model.fp16.safetensors", {"half"});
  EXPECT_EQ(CheckpointFiles(directory.path()).names(), std::vector<std::string>{"half"});
  write_shard(directory / "s1.safetensors", {"a"});
  write_file(directory / "diffusion_pytorch_model.safetensors.index.json",
             R"({"weight_map":{"a":"s1.safetensors"}})");
  EXPECT_EQ(CheckpointFiles(directory.path()).names(), std::vector<std::string>{"a"});
}

TEST(CheckpointFilesTest, APipelinesComponentsUnderTheirNames) {
  TemporaryDirectory directory;
  for (const char* name : {"unet", "vae", "scheduler"}) {
    std::filesystem::create_directory(directory / name);
  }
  write_file(directory / "model_index.json",
             R"({"_class_name":"StableDiffusionPipeline","scheduler":["diffusers","DDIMScheduler"],
                 "vae":["diffusers","AutoencoderKL"],"unet":["diffusers","UNet2DConditionModel"],
                 "safety_checker":[null,null]})");
  write_shard(directory / "vae/diffusion_pytorch_model.safetensors", {"a"});
  write_shard(directory / "unet/s1.safetensors", {"a", "b"});
  write_file(directory / "unet/diffusion_pytorch_model.safetensors.index.json",
             R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors"}})");
  const CheckpointFiles files(directory.path());
  EXPECT_EQ(files.names(), (std::vector<std::string>{"unet.a", "unet.b", "vae.a"}));
  EXPECT_EQ(byte_of(files, "unet.b"), 'b');
  ASSERT_EQ(files.shards().size(), 2);
  EXPECT_EQ(files.shards()[0].file, "vae/diffusion_pytorch_model.safetensors");
  EXPECT_EQ(files.shards()[0].prefix, "vae.");
  EXPECT_EQ(files.shards()[1].index, "unet/diffusion_pytorch_model.safetensors.index.json");
}

TEST(CheckpointFilesTest, APipelineWithoutWeights) {
  TemporaryDirectory directory;
  write_file(directory / "model_index.json", R"({"unet":["diffusers","UNet2DConditionModel"]})");
  expect_refused(directory, {"no component", "safetensors"});
  write_file(directory / "model_index.json", "[]");
  expect_refused(directory, {"model_index.json", "not a JSON object"});
}

TEST(CheckpointFilesTest, NoWeights) {
  TemporaryDirectory directory;
  expect_refused(directory, {directory.path().string(), "model.safetensors", kIndex});
  expect_error<IoError>([&] { CheckpointFiles files(directory / "absent"); },
                        {"/absent", "no such directory"});
}

TEST(CheckpointFilesTest, APickleGetsToldHowToConvert) {
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    TemporaryDirectory directory;
    write_file(directory / name, "");
    expect_refused(directory, {"pytorch_model.bin", "python -c", "save_pretrained"});
  }
}

TEST(CheckpointFilesTest, IndexThatIsNone) {
  const auto refuse = [](const std::string& index, std::initializer_list<std::string_view> words) {
    TemporaryDirectory directory;
    write_file(directory / kIndex, index);
    expect_refused(directory, {kIndex});
    expect_refused(directory, words);
  };
  refuse("", {"not valid JSON"});
  refuse("[]", {"\"weight_map\""});
  refuse(R"({"metadata":{}})", {"\"weight_map\""});
  refuse(R"({"weight_map":[]})", {"\"weight_map\""});
  refuse(R"({"weight_map":{"a":1}})", {"\"a\"", "not a string"});
  refuse(R"({"weight_map":{"a":"x","a":"y"}})", {"\"a\"", "twice"});
  refuse(R"({"weight_map":)" + std::string(1'000'000, '['), {"nests deeper"});
}

TEST(CheckpointFilesTest, ShardNamesStayInTheDirectory) {
  for (const std::string shard :
       {"../s", "/etc/passwd", "sub/s", "..", ".", "", "sub\\\\s", "s\\u0000"}) {
    TemporaryDirectory directory;
    write_index(directory, R"({"a":")" + shard + R"("})");
    expect_refused(directory, {kIndex, "names the shard", "same directory"});
  }
}

TEST(CheckpointFilesTest, AllMissingShardsAreNamedAtOnce) {
  TemporaryDirectory directory;
  write_shard(directory / "s2", {"b"});
  write_index(directory, R"({"a":"s1","b":"s2","c":"s3"})");
  expect_refused(directory, {kIndex, "\"s1\", \"s3\"", "download"});
}

TEST(CheckpointFilesTest, TensorsThatTheShardLacks) {
  TemporaryDirectory directory;
  write_shard(directory / "s1", {"a"});
  write_index(directory, R"({"a":"s1","b":"s1","c":"s1"})");
  expect_refused(directory, {kIndex, "do not have", "\"b\", \"c\""});
}

TEST(CheckpointFilesTest, TensorsThatTheIndexDoesNotList) {
  TemporaryDirectory directory;
  write_shard(directory / "s1", {"a", "b"});
  write_index(directory, R"({"a":"s1"})");
  expect_refused(directory, {"/s1", "\"b\"", "does not list"});
}

TEST(CheckpointFilesTest, TensorsThatTheIndexPlacesElsewhere) {
  TemporaryDirectory directory;
  write_shard(directory / "s1", {"a", "b"});
  write_shard(directory / "s2", {"b"});
  write_index(directory, R"({"a":"s1","b":"s2"})");
  expect_refused(directory, {"/s1", "\"b\"", "places in \"s2\""});
}

}  // namespace
}  // namespace shira
