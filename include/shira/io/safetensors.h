// The safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length, a
// JSON header, then the tensors' bytes. A file from outside is hostile until checked.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>
#include <shira/io/atomic_file.h>

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

/// Takes the memory of mapped bytes off this process; whoever looks at them again reads them from
/// the file. What goes through files larger than memory calls this behind itself.
SHIRA_API void drop_pages(const void* mapped, std::size_t size);

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

/// What a file's header says of a tensor to be written.
struct TensorInfo {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
};

/// A file being written tensor by tensor. Until commit() there is only a temporary one.
class SHIRA_API SafetensorsWriter {
 public:
  /// Writes the header. IoError on a duplicate name or one that is not UTF-8, ShapeError on a
  /// negative dimension.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorInfo>& tensors,
                    const std::map<std::string, std::string>& metadata = {});

  /// The bytes of the next tensor, contiguous and row-major. ShapeError when it has another size.
  void write(const void* data, std::size_t size);
  /// Complete: every tensor has been written (ShapeError otherwise).
  void commit();

 private:
  std::vector<TensorInfo> tensors_;
  std::size_t next_ = 0;
  AtomicFile file_;
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
