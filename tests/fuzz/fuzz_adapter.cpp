// Any two files are either refused with IoError or an adapter that is written and read back as it
// is. An input is adapter_config.json, a line of "=====" and adapter_model.safetensors, which is
// also read with its length field put right.
#include "fuzz_directory.h"
#include "mutation_driver.h"
#include "safetensors_input.h"

#include <shira/base/error.h>
#include <shira/io/adapter_file.h>

namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";

shira::AdapterFileTensor tensor_of(std::string name, shira::DType dtype, std::size_t nnz) {
  shira::AdapterFileTensor tensor{std::move(name), {400, 300}, {}, dtype, {}, {}};
  for (std::size_t i = 0; i < nnz; ++i) tensor.indices.push_back(static_cast<int>(i * 777));
  tensor.values.resize(nnz * shira::item_size(dtype));
  return tensor;
}

std::string input_of(const shira::AdapterFile& adapter) {
  const shira::FuzzDirectory directory;
  shira::write_adapter_file(directory.path(), adapter);
  return shira::read_file(directory.path() / kConfig) + std::string(shira::kFuzzSeparator) +
         shira::read_file(directory.path() / kTensors);
}

bool is_sound(const shira::AdapterFileTensor& tensor) {
  std::int64_t numel = 1, last = -1;
  for (const std::int64_t size : tensor.shape) numel *= size;
  for (const std::int32_t index : tensor.indices) {
    if (index <= last || index >= numel) return false;
    last = index;
  }
  return tensor.values.size() == tensor.indices.size() * shira::item_size(tensor.dtype);
}

bool are_equal(const shira::AdapterFileTensor& a, const shira::AdapterFileTensor& b) {
  return a.name == b.name && a.shape == b.shape && a.indices == b.indices && a.dtype == b.dtype &&
         a.values == b.values && a.base_checksum == b.base_checksum;
}

void check_accepted(const shira::AdapterFile& adapter) {
  static const shira::FuzzDirectory directory;
  shira::write_adapter_file(directory.path(), adapter);
  const shira::AdapterFile again = shira::read_adapter_file(directory.path());
  const bool same = std::ranges::equal(adapter.tensors, again.tensors, are_equal) &&
                    adapter.value_kind == again.value_kind &&
                    adapter.base_dtype == again.base_dtype &&
                    adapter.base_model == again.base_model && adapter.mask_type == again.mask_type;
  if (!same || !std::ranges::all_of(adapter.tensors, is_sound)) std::abort();
}

void read(const std::string& config, const std::string& tensors) {
  static const shira::FuzzDirectory directory;
  directory.write(kConfig, config);
  directory.write(kTensors, tensors);
  shira::AdapterFile adapter;
  try {
    adapter = shira::read_adapter_file(directory.path());
  } catch (const shira::IoError&) {
    return;
  }
  check_accepted(adapter);
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  shira::AdapterFile adapter{"weights", shira::DType::kBF16, "base", "wm", {}};
  std::vector<std::string> seeds = {input_of(adapter)};
  adapter.tensors = {tensor_of("layers.0.weight", shira::DType::kBF16, 3)};
  seeds.push_back(input_of(adapter));
  adapter.value_kind = "deltas";
  adapter.tensors[0].base_checksum = 0x0123456789abcdef;
  adapter.tensors.push_back(tensor_of("b", shira::DType::kF32, 40));
  seeds.push_back(input_of(adapter));
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [config, tensors] = shira::two_parts(data, size);
  read(config, tensors);
  read(config, shira::with_right_length(tensors));
  return 0;
}
