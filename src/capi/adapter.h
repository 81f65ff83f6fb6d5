// An adapter in memory of its own, without LibTorch.
#pragma once

#include <shira/base/dtype.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shira::capi {

/// Memory that adapters, patches and bases share.
using Bytes = std::shared_ptr<const std::byte[]>;
using Indices = std::shared_ptr<const std::vector<std::int32_t>>;  // sorted, unique

/// What an adapter does to one tensor.
struct AdapterTarget {
  std::vector<std::int64_t> shape;  // of the tensor
  Indices indices;                  // null: the values replace the whole tensor
  DType dtype;                      // of the values
  Bytes values;
  std::optional<std::uint64_t> base_checksum;
};

struct Adapter {
  bool is_delta;
  DType base_dtype;
  std::map<std::string, AdapterTarget> targets;  // by tensor
  std::vector<std::string> removed;

  /// The dtype in which the base's checksum was taken.
  DType checksum_dtype(const AdapterTarget& target) const {
    return is_delta ? base_dtype : target.dtype;
  }
};

/// IoError on a damaged file, another format, or a value that is NaN or infinite (a difference of
/// checkpoints, mask_type "diff", may hold what they hold).
Adapter load_adapter(const std::filesystem::path& directory);

}  // namespace shira::capi
