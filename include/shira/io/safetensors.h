// The safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length, a
// JSON header, then the tensors' bytes. A file from outside is hostile until checked.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// One tensor's place in mapped memory; valid as long as `mapping` lives.
struct TensorView {
  DType dtype;
  std::vector<std::int64_t> shape;
  const std::byte* data;  // may be misaligned for its dtype
  std::size_t byte_size;
  std::shared_ptr<const void> mapping;  // keeps the file mapped
};

/// A safetensors file, mapped read-only. Copies share the mapping.
class SHIRA_API SafetensorsFile {
 public:
  /// Maps and checks the file: header size, JSON, dtypes, shapes against byte counts, offsets in
  /// range, no overlaps and no holes, no duplicate names. IoError names file and tensor.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  /// Sorted by name.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const;
  /// IoError when there is no such tensor.
  TensorView view(std::string_view name) const;
  /// The string map under "__metadata__"; empty when there is none.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::filesystem::path path_;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to be written: contiguous row-major bytes, borrowed until the write returns.
struct TensorBytes {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  const void* data;
};

/// Writes atomically, in the order given (tensors of wider items first where the caller wants every
/// tensor aligned). The same input gives the same bytes. IoError on a duplicate name or failed
/// write.
SHIRA_API void write_safetensors(const std::filesystem::path& path,
                                 const std::vector<TensorBytes>& tensors,
                                 const std::map<std::string, std::string>& metadata = {});

}  // namespace shira
