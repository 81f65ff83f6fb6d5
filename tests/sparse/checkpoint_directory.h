// Checkpoint directories of a few tensors of any dtype, written and compared by their bits.
#pragma once

#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_files.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace shira {

using TensorsByName = std::map<std::string, torch::Tensor>;

/// Random bits, so with NaN, infinities and both zeros.
inline torch::Tensor random_bits(std::vector<std::int64_t> shape, torch::ScalarType dtype) {
  const auto bytes = static_cast<std::int64_t>(item_size(to_dtype(dtype)));
  shape.push_back(bytes);
  const torch::Tensor raw = at::randint(256, shape, at::TensorOptions(torch::kUInt8));
  shape.pop_back();
  torch::Tensor tensor = at::empty(shape, dtype);
  if (raw.numel() > 0) std::memcpy(tensor.mutable_data_ptr(), raw.const_data_ptr(), raw.nbytes());
  return tensor;
}

/// A copy in which the lowest bit of every `step`th entry is the other.
inline torch::Tensor with_flipped_bits(const torch::Tensor& tensor, std::int64_t step) {
  torch::Tensor flipped = at::empty_like(tensor);  // clone() makes any true bool a 1
  const auto size = static_cast<std::int64_t>(item_size(to_dtype(tensor.scalar_type())));
  auto* bytes = static_cast<std::uint8_t*>(flipped.mutable_data_ptr());
  if (tensor.numel() > 0) std::memcpy(bytes, tensor.const_data_ptr(), tensor.nbytes());
  for (std::int64_t item = 0; item < tensor.numel(); item += step) bytes[item * size] ^= 1U;
  return flipped;
}

/// One file, or two and an index, among which the tensors take turns.
inline void write_checkpoint(const std::filesystem::path& directory, const TensorsByName& tensors,
                             bool sharded = false) {
  std::filesystem::create_directories(directory);
  write_file(directory / "config.json", R"({"model_type": "anything"})");
  if (!sharded) {
    return save_tensors(directory / "model.safetensors", {tensors.begin(), tensors.end()},
                        {{"format", "pt"}});
  }
  std::string weight_map;
  std::array<std::vector<NamedTensor>, 2> parts;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t turn = (parts[0].size() + parts[1].size()) % 2;
    parts[turn].emplace_back(name, tensor);
    weight_map += (weight_map.empty() ? "\"" : ", \"") + name + "\": \"" + std::to_string(turn) +
                  ".safetensors\"";
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    save_tensors(directory / (std::to_string(i) + ".safetensors"), parts[i], {{"part", "x"}});
  }
  write_file(directory / "model.safetensors.index.json",
             R"({"metadata": {"total_size": 1}, "weight_map": {)" + weight_map + "}}");
}

/// Dtype, shape and bytes of every tensor.
inline std::map<std::string, std::string> content_of(const std::filesystem::path& directory) {
  const CheckpointFiles files(directory);
  std::map<std::string, std::string> content;
  for (const std::string& name : files.names()) {
    const TensorView view = files.view(name);
    std::string& text = content[name];
    text = std::string(dtype_name(view.dtype)) + " ";
    for (const std::int64_t size : view.shape) text += std::to_string(size) + " ";
    text.append(reinterpret_cast<const char*>(view.data), view.byte_size);
  }
  return content;
}

/// Names alone are printed: the bytes would fill the screen.
inline void expect_equal_checkpoints(const std::filesystem::path& got,
                                     const std::filesystem::path& expected) {
  const auto a = content_of(got), b = content_of(expected);
  for (const auto& [name, text] : b) {
    ASSERT_TRUE(a.contains(name)) << name << " is missing";
    EXPECT_TRUE(a.at(name) == text) << name << " differs";
  }
  EXPECT_EQ(a.size(), b.size());
}

}  // namespace shira
