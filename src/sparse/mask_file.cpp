// Positions are read into owned memory and checked by SparseMask; dense masks are scanned where
// they are mapped.
#include "io/quote.h"

#include <shira/base/error.h>
#include <shira/sparse/mask_file.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <charconv>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace shira {
namespace {

constexpr const char* kMaskFormat = "shira_masks";
constexpr const char* kMaskVersion = "1";

using Metadata = std::map<std::string, std::string>;

std::string shape_key(const std::string& parameter) { return "shape." + parameter; }

/// "4096,4096"
std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  return text;
}

std::vector<std::int64_t> parse_shape(const std::string& text) {
  std::vector<std::int64_t> shape;
  const char* next = text.data();
  const char* const end = next + text.size();
  while (true) {
    const auto [rest, error] = std::from_chars(next, end, shape.emplace_back());
    SHIRA_CHECK(IoError, error == std::errc() && (rest == end || *rest == ','), "its shape is ",
                detail::quote(text), ", expected numbers with commas as in 4096,4096.");
    if (rest == end) return shape;
    next = rest + 1;
  }
}

const std::string& value_of(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  SHIRA_CHECK(IoError, found != metadata.end(), "it is I32, positions, but the metadata have no ",
              detail::quote(key), ". Dense masks are BOOL or U8.");
  return found->second;
}

/// Masks as save_masks writes them.
SparseMask read_positions(const TensorView& view, const std::string& name,
                          const Metadata& metadata) {
  const std::string& format = value_of(metadata, "format");
  const std::string& version = value_of(metadata, "format_version");
  SHIRA_CHECK(IoError, format == kMaskFormat && version == kMaskVersion,
              "it is I32, positions, in the format ", detail::quote(format), " version ",
              detail::quote(version), ", expected ", kMaskFormat, " version ", kMaskVersion, ".");
  return {parse_shape(value_of(metadata, shape_key(name))), copy_tensor(view, torch::kInt32)};
}

SparseMask read_dense(const TensorView& view) {
  SHIRA_CHECK(IoError, view.byte_size <= std::numeric_limits<std::int32_t>::max(),
              "it has 2^31 entries or more: int32 positions cannot address it.");
  std::vector<std::int32_t> positions;
  for (std::size_t i = 0; i < view.byte_size; ++i) {
    if (view.data[i] != std::byte{0}) positions.push_back(static_cast<std::int32_t>(i));
  }
  torch::Tensor indices = at::empty({static_cast<std::int64_t>(positions.size())}, torch::kInt32);
  if (!positions.empty()) std::memcpy(indices.data_ptr(), positions.data(), indices.nbytes());
  return {view.shape, indices};
}

SparseMask read_mask(const TensorView& view, const std::string& name, const Metadata& metadata) {
  const bool dense = view.dtype == DType::kBool || view.dtype == DType::kU8;
  SHIRA_CHECK(IoError, dense || view.dtype == DType::kI32, "its dtype is ", dtype_name(view.dtype),
              ", expected a dense mask (BOOL or U8, of the weight's shape) or positions (I32).");
  SparseMask mask = dense ? read_dense(view) : read_positions(view, name, metadata);
  SHIRA_CHECK(IoError, mask.nnz() > 0, "it chooses no entry. Leave the tensor out.");
  return mask;
}

}  // namespace

void save_masks(const std::filesystem::path& path, const MaskMap& masks) {
  Metadata metadata = {{"format", kMaskFormat}, {"format_version", kMaskVersion}};
  std::vector<NamedTensor> tensors;
  for (const auto& [name, mask] : masks) {
    metadata[shape_key(name)] = shape_text(mask.shape());
    tensors.emplace_back(name, mask.indices());
  }
  save_tensors(path, tensors, metadata);
}

MaskMap load_masks(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  MaskMap masks;
  for (const std::string& name : file.names()) {
    try {
      masks.emplace(name, read_mask(file.view(name), name, file.metadata()));
    } catch (const Error& error) {
      throw IoError(detail::concat(path.string(), ": the mask ", detail::quote(name),
                                   " cannot be read: ", error.what()));
    }
  }
  return masks;
}

}  // namespace shira
