// What can be checked of memory that one is only told about: that the description is complete, that
// its sizes are possible, and that no two weights share bytes, which one patch would write twice.
#include "base_tensors.h"

#include <shira/base/error.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

namespace shira::capi {
namespace {

/// Beyond this a rank is a variable that nobody set.
constexpr std::int32_t kMaxRank = 64;

std::string name_of(const shira_switch_tensor& tensor, std::size_t place) {
  SHIRA_CHECK(ConfigError, tensor.name != nullptr && *tensor.name != '\0', "tensor number ", place,
              " has no name");
  return tensor.name;
}

DType dtype_of(const shira_switch_tensor& tensor) {
  SHIRA_CHECK(ConfigError, tensor.dtype != nullptr, "the dtype is NULL");
  const auto dtype = parse_dtype(tensor.dtype);
  SHIRA_CHECK(ConfigError, dtype.has_value(), "unknown dtype '", tensor.dtype,
              "', expected the spelling of safetensors: F32, BF16, F16, F64, I8, ...");
  return *dtype;
}

std::vector<std::int64_t> shape_of(const shira_switch_tensor& tensor) {
  SHIRA_CHECK(ConfigError, tensor.rank >= 0 && tensor.rank <= kMaxRank, "rank ", tensor.rank,
              ", expected 0 to ", kMaxRank);
  SHIRA_CHECK(ConfigError, tensor.rank == 0 || tensor.shape != nullptr, "the shape is NULL");
  std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.rank);
  const bool is_possible = std::all_of(shape.begin(), shape.end(), [](auto n) { return n >= 0; });
  SHIRA_CHECK(ConfigError, is_possible, "shape ", shape_text(shape), " has a negative size");
  return shape;
}

/// Checked to be countable in bytes too.
std::size_t numel_of(const std::vector<std::int64_t>& shape, DType dtype) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::int64_t bytes = static_cast<std::int64_t>(item_size(dtype));
  for (const std::int64_t size : shape) {
    SHIRA_CHECK(ConfigError, size <= std::numeric_limits<std::int64_t>::max() / bytes, "shape ",
                shape_text(shape), " is larger than any memory");
    bytes *= size;
  }
  return static_cast<std::size_t>(bytes) / item_size(dtype);
}

BaseTensor described(const shira_switch_tensor& tensor) {
  const DType dtype = dtype_of(tensor);
  std::vector<std::int64_t> shape = shape_of(tensor);
  const std::size_t numel = numel_of(shape, dtype);
  BaseTensor result{static_cast<std::byte*>(tensor.data), dtype, std::move(shape), numel};
  SHIRA_CHECK(ConfigError, result.data != nullptr || numel == 0, "the data is NULL");
  const auto room =
      std::numeric_limits<std::uintptr_t>::max() - reinterpret_cast<std::uintptr_t>(result.data);
  SHIRA_CHECK(ConfigError, result.byte_size() <= room, "shape ", shape_text(result.shape),
              " reaches beyond the end of memory");
  return result;
}

void check_disjoint(const BaseTensors& tensors) {
  std::vector<const BaseTensors::value_type*> by_address;
  for (const auto& tensor : tensors) {
    if (tensor.second.numel > 0) by_address.push_back(&tensor);
  }
  std::sort(by_address.begin(), by_address.end(), [](const auto* a, const auto* b) {
    return std::less<>()(a->second.data, b->second.data);
  });
  for (std::size_t i = 1; i < by_address.size(); ++i) {
    const auto& [name, tensor] = *by_address[i - 1];
    const auto& [next_name, next] = *by_address[i];
    SHIRA_CHECK(ConfigError,
                tensor.byte_size() <= static_cast<std::size_t>(next.data - tensor.data), name,
                " and ", next_name, " share memory. Describe a weight that two names share once.");
  }
}

}  // namespace

BaseTensors describe(std::span<const shira_switch_tensor> tensors) {
  BaseTensors described_tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = name_of(tensors[i], i);
    try {
      const bool is_new = described_tensors.emplace(name, described(tensors[i])).second;
      SHIRA_CHECK(ConfigError, is_new, "another tensor has this name");
    } catch (const ConfigError& error) {
      throw ConfigError(detail::concat("tensor ", name, ": ", error.what(), "."));
    }
  }
  check_disjoint(described_tensors);
  return described_tensors;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

}  // namespace shira::capi
