// Reading is mapping plus safetensors_header.h; writing is a header made from the list, then bytes.
#include "mapped_file.h"
#include "quote.h"
#include "safetensors_header.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/safetensors.h>

#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include <set>

namespace shira {
namespace {

constexpr std::size_t kDataAlignment = 64;

detail::SafetensorsHeader parse_named(std::span<const std::byte> file,
                                      const std::filesystem::path& path) {
  try {
    return detail::parse_safetensors(file);
  } catch (const IoError& error) {
    throw IoError(detail::concat(path, ": ", error.what()));
  }
}

std::uint64_t checked_byte_size(const TensorInfo& tensor) {
  const auto size = detail::tensor_byte_size(tensor.shape, tensor.dtype);
  SHIRA_CHECK(ShapeError, size, "write_safetensors: tensor ", detail::quote(tensor.name),
              " has a negative dimension or more than 2^63 bytes");
  return *size;
}

void check_names(const std::vector<TensorInfo>& tensors, const std::filesystem::path& path) {
  std::set<std::string_view> seen{"__metadata__"};  // reserved by the format
  for (const TensorInfo& tensor : tensors) {
    SHIRA_CHECK(IoError, seen.insert(tensor.name).second, path, ": cannot hold a tensor named ",
                detail::quote(tensor.name), tensor.name == "__metadata__" ? "" : " twice");
  }
}

/// One member of the header's object; `begin` moves on by the tensor's bytes.
std::string header_member(const TensorInfo& tensor, std::uint64_t& begin) {
  const std::uint64_t end = begin + checked_byte_size(tensor);
  nlohmann::ordered_json entry;
  entry["dtype"] = dtype_name(tensor.dtype);
  entry["shape"] = tensor.shape;
  entry["data_offsets"] = {begin, end};
  begin = end;
  return nlohmann::json(tensor.name).dump() + ":" + entry.dump();
}

/// The JSON object, padded with spaces so that the data after it is aligned.
std::string header_text(const std::vector<TensorInfo>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  std::uint64_t position = 0;
  for (const TensorInfo& tensor : tensors) {
    text += (text.size() > 1 ? "," : "") + header_member(tensor, position);
  }
  text += "}";
  const std::size_t unaligned = (sizeof(std::uint64_t) + text.size()) % kDataAlignment;
  text.append(unaligned == 0 ? 0 : kDataAlignment - unaligned, ' ');
  return text;
}

std::string checked_header(const std::vector<TensorInfo>& tensors,
                           const std::map<std::string, std::string>& metadata,
                           const std::filesystem::path& path) {
  check_names(tensors, path);
  try {
    std::string text = header_text(tensors, metadata);
    SHIRA_CHECK(IoError, text.size() <= detail::kMaxHeaderSize, path, ": the header would have ",
                text.size(), " bytes, the format allows ", detail::kMaxHeaderSize);
    return text;
  } catch (const nlohmann::json::exception& error) {
    throw IoError(detail::concat(path, ": a name or metadata text is not UTF-8: ", error.what()));
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  const detail::MappedFile file = detail::map_file(path);
  detail::SafetensorsHeader header = parse_named(file.bytes, path);
  metadata_ = std::move(header.metadata);
  for (detail::HeaderEntry& entry : header.tensors) {
    const auto bytes =
        file.bytes.subspan(header.data_offset + entry.begin, entry.end - entry.begin);
    tensors_.emplace(entry.name, TensorView{entry.dtype, std::move(entry.shape), bytes.data(),
                                            bytes.size(), file.mapping});
  }
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : tensors_) names.push_back(name);
  return names;
}

bool SafetensorsFile::contains(std::string_view name) const { return tensors_.contains(name); }

TensorView SafetensorsFile::view(std::string_view name) const {
  const auto found = tensors_.find(name);
  SHIRA_CHECK(IoError, found != tensors_.end(), path_, ": has no tensor ", detail::quote(name),
              " among its ", tensors_.size());
  return found->second;
}

void drop_pages(const void* mapped, std::size_t size) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(mapped) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(mapped) + size) / page * page;
  // A hint: where it is refused, the pages stay until memory is short.
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<TensorInfo>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : tensors_(tensors), file_(path) {
  const std::string header = checked_header(tensors, metadata, path);
  const std::uint64_t length = header.size();
  file_.write(&length, sizeof(length));
  file_.write(header);
}

void SafetensorsWriter::write(const void* data, std::size_t size) {
  SHIRA_CHECK(ShapeError, next_ < tensors_.size(),
              "write_safetensors: got a tensor after the last");
  const TensorInfo& tensor = tensors_[next_++];
  const std::uint64_t expected = checked_byte_size(tensor);
  SHIRA_CHECK(ShapeError, size == expected && (data != nullptr || size == 0),
              "write_safetensors: tensor ", detail::quote(tensor.name), " has ",
              data == nullptr ? "no data" : detail::concat(size, " bytes"), ", expected ",
              expected);
  file_.write(data, size);
}

void SafetensorsWriter::commit() {
  SHIRA_CHECK(ShapeError, next_ == tensors_.size(), "write_safetensors: got ", next_, " of ",
              tensors_.size(), " tensors");
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorBytes>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  for (const TensorBytes& tensor : tensors) {
    infos.push_back({tensor.name, tensor.dtype, tensor.shape});
  }
  SafetensorsWriter writer(path, infos, metadata);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    writer.write(tensors[i].data, checked_byte_size(infos[i]));
  }
  writer.commit();
}

}  // namespace shira
