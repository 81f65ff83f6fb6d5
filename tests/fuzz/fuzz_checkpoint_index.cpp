// Any model.safetensors.index.json beside two good shards is either refused with IoError or names
// exactly their tensors.
#include "fuzz_directory.h"
#include "mutation_driver.h"
#include "safetensors_input.h"

#include <shira/base/error.h>
#include <shira/io/checkpoint_files.h>

namespace {

std::filesystem::path checkpoint_with(const std::string& index) {
  static const shira::FuzzDirectory directory;
  static const bool has_shards = [] {
    directory.write(
        "one", shira::safetensors_input(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                        R"("b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                        2));
    directory.write("two", shira::safetensors_input(
                               R"({"c":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
    return true;
  }();
  if (has_shards) directory.write("model.safetensors.index.json", index);
  return directory.path();
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"metadata":{"total_size":3},"weight_map":{"a":"one","b":"one","c":"two"}})",
          R"({"weight_map":{"a":"one","b":"one"}})", R"({"weight_map":{"c":"../two"}})",
          R"({"weight_map":{}})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string index(reinterpret_cast<const char*>(data), size);
  try {
    const shira::CheckpointFiles files(checkpoint_with(index));
    using Names = std::vector<std::string>;
    const Names names = files.names();
    const bool is_right = names.empty() || names == Names{"a", "b"} || names == Names{"c"} ||
                          names == Names{"a", "b", "c"};
    if (!is_right) std::abort();
  } catch (const shira::IoError&) {
  }
  return 0;
}
