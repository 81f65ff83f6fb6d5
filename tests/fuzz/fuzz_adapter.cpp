// Any two files are either refused with IoError or an adapter that is written and read back as it
// is. An input is adapter_config.json, a line of "=====" and adapter_model.safetensors, which is
// also read with its length field put right.
#include "fuzz_directory.h"
#include "mutation_driver.h"
#include "safetensors_input.h"

#include <shira/base/error.h>
#include <shira/io/adapter_file.h>

#include <cstring>
#include <utility>

namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";

/// An adapter whose targets own their memory.
struct OwnedAdapter {
  struct Target {
    shira::SparseTargetBytes bytes;
    std::vector<std::int32_t> indices;
  };

  shira::AdapterFileHeader header;
  std::vector<Target> targets;
  std::vector<shira::TensorBytes> whole;
  std::vector<std::string> removed;
  std::vector<std::string> added;

  shira::AdapterFileBytes bytes() const {
    shira::AdapterFileBytes file{header, {}, whole, removed, added};
    for (const Target& target : targets) {
      file.sparse.push_back(target.bytes);
      file.sparse.back().indices = target.indices;
    }
    return file;
  }
};

std::vector<std::byte> zeros(4096);

OwnedAdapter::Target target_of(std::string name, shira::DType dtype, std::size_t nnz) {
  OwnedAdapter::Target target{{std::move(name), {400, 300}, {}, dtype, zeros.data(), {}}, {}};
  for (std::size_t i = 0; i < nnz; ++i) target.indices.push_back(static_cast<int>(i * 777));
  return target;
}

std::string input_of(const OwnedAdapter& adapter) {
  const shira::FuzzDirectory directory;
  shira::write_adapter_file(directory.path(), adapter.bytes());
  return shira::read_file(directory.path() / kConfig) + std::string(shira::kFuzzSeparator) +
         shira::read_file(directory.path() / kTensors);
}

/// What is to be written again; throws IoError where the positions cannot be decoded.
OwnedAdapter owned(const shira::AdapterFileView& view) {
  OwnedAdapter adapter{view.header, {}, {}, view.removed, view.added};
  for (const shira::SparseTargetView& target : view.sparse) {
    // Decoded first: GCC 12 destroys a half-built nested aggregate twice when an element throws.
    std::vector<std::int32_t> indices = shira::decode_indices(target.positions);
    adapter.targets.push_back({{target.name,
                                target.shape,
                                {},
                                target.values.dtype,
                                target.values.data,
                                target.base_checksum},
                               std::move(indices)});
  }
  for (const shira::WholeTargetView& target : view.whole) {
    adapter.whole.push_back(
        {target.name, target.tensor.dtype, target.tensor.shape, target.tensor.data});
  }
  return adapter;
}

bool is_sound(const OwnedAdapter::Target& target) {
  std::int64_t numel = 1, last = -1;
  for (const std::int64_t size : target.bytes.shape) numel *= size;
  for (const std::int32_t index : target.indices) {
    if (index <= last || index >= numel) return false;
    last = index;
  }
  return true;
}

bool are_equal(const OwnedAdapter::Target& a, const OwnedAdapter::Target& b) {
  const std::size_t size = a.indices.size() * shira::item_size(a.bytes.dtype);
  return a.bytes.name == b.bytes.name && a.bytes.shape == b.bytes.shape && a.indices == b.indices &&
         a.bytes.dtype == b.bytes.dtype &&
         (size == 0 || std::memcmp(a.bytes.values, b.bytes.values, size) == 0) &&
         a.bytes.base_checksum == b.bytes.base_checksum;
}

bool are_equal_headers(const shira::AdapterFileHeader& a, const shira::AdapterFileHeader& b) {
  return a.value_kind == b.value_kind && a.base_dtype == b.base_dtype &&
         a.base_model == b.base_model && a.mask_type == b.mask_type;
}

void check_accepted(const OwnedAdapter& adapter) {
  static const shira::FuzzDirectory directory;
  shira::write_adapter_file(directory.path(), adapter.bytes());
  const shira::AdapterFileView view = shira::read_adapter_file(directory.path());
  const OwnedAdapter again = owned(view);
  const bool same = std::ranges::equal(adapter.targets, again.targets, are_equal) &&
                    are_equal_headers(adapter.header, again.header) &&
                    adapter.whole.size() == again.whole.size() &&
                    adapter.removed == again.removed && adapter.added == again.added;
  if (!same || !std::ranges::all_of(adapter.targets, is_sound)) std::abort();
}

void read(const std::string& config, const std::string& tensors) {
  static const shira::FuzzDirectory directory;
  directory.write(kConfig, config);
  directory.write(kTensors, tensors);
  try {
    const shira::AdapterFileView view = shira::read_adapter_file(directory.path());
    check_accepted(owned(view));
  } catch (const shira::IoError&) {
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  OwnedAdapter adapter{{"weights", shira::DType::kBF16, "base", "wm"}, {}, {}, {}, {}};
  std::vector<std::string> seeds = {input_of(adapter)};
  adapter.targets = {target_of("layers.0.weight", shira::DType::kBF16, 3)};
  seeds.push_back(input_of(adapter));
  adapter.whole = {{"norm.weight", shira::DType::kF32, {4}, zeros.data()}};
  adapter.removed = {"bias", "lm_head.weight"};
  adapter.added = {"norm.weight"};
  seeds.push_back(input_of(adapter));
  adapter.whole.clear();
  adapter.removed.clear();
  adapter.added.clear();
  adapter.header.value_kind = "deltas";
  adapter.targets[0].bytes.base_checksum = 0x0123456789abcdef;
  adapter.targets.push_back(target_of("b", shira::DType::kF32, 40));
  seeds.push_back(input_of(adapter));
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [config, tensors] = shira::two_parts(data, size);
  read(config, tensors);
  read(config, shira::with_right_length(tensors));
  return 0;
}
