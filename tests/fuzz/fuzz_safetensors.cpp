// Any bytes are either refused with IoError or describe tensors that tile the data exactly. Every
// input is also read with its length field put right, or most mutations would end there.
#include "../../src/io/safetensors_header.h"
#include "mutation_driver.h"

#include <shira/base/error.h>

#include <algorithm>
#include <cstring>

namespace {

std::string file_of(const std::string& json, std::size_t data_size) {
  const std::uint64_t length = json.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + json + std::string(data_size, 'd');
}

void check_accepted(const shira::detail::SafetensorsHeader& header, std::size_t file_size) {
  std::uint64_t position = 0;
  for (const auto& entry : header.tensors) {
    const auto size = shira::detail::tensor_byte_size(entry.shape, entry.dtype);
    if (entry.begin != position || !size || entry.end - entry.begin != *size) std::abort();
    position = entry.end;
  }
  if (header.data_offset + position != file_size) std::abort();
}

void parse(std::span<const std::uint8_t> file) {
  try {
    check_accepted(shira::detail::parse_safetensors(std::as_bytes(file)), file.size());
  } catch (const shira::IoError&) {
  }
}

/// The same file with a header that ends at its last brace.
std::vector<std::uint8_t> with_right_length(std::span<const std::uint8_t> file) {
  std::vector<std::uint8_t> copy(file.begin(), file.end());
  const auto brace = std::find(copy.rbegin(), copy.rend(), '}').base() - copy.begin();
  if (brace < 8) return copy;
  const std::uint64_t length = static_cast<std::uint64_t>(brace) - 8;
  std::memcpy(copy.data(), &length, sizeof(length));
  return copy;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {file_of("{}", 0), file_of(R"({"__metadata__":{"format":"pt"}} )", 0),
          file_of(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", 24),
          file_of(R"({"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},)"
                  R"("b":{"dtype":"U8","shape":[0,7],"data_offsets":[2,2]},)"
                  R"("c":{"dtype":"I64","shape":[1],"data_offsets":[2,10]}})",
                  10),
          // One byte of no tensor, one byte of two.
          file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                  R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                  3),
          file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                  R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                  3)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  parse({data, size});
  parse(with_right_length({data, size}));
  return 0;
}
