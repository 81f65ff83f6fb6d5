// Any bytes are either refused with IoError or describe tensors that tile the data exactly. Every
// input is also read with its length field put right, or most mutations would end there.
#include "../../src/io/safetensors_header.h"
#include "mutation_driver.h"
#include "safetensors_input.h"

#include <shira/base/error.h>

#include <span>

namespace {

void check_accepted(const shira::detail::SafetensorsHeader& header, std::size_t file_size) {
  std::uint64_t position = 0;
  for (const auto& entry : header.tensors) {
    const auto size = shira::detail::tensor_byte_size(entry.shape, entry.dtype);
    if (entry.begin != position || !size || entry.end - entry.begin != *size) std::abort();
    position = entry.end;
  }
  if (header.data_offset + position != file_size) std::abort();
}

void parse(const std::string& file) {
  try {
    check_accepted(shira::detail::parse_safetensors(std::as_bytes(std::span(file))), file.size());
  } catch (const shira::IoError&) {
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  using shira::safetensors_input;
  return {safetensors_input("{}", 0), safetensors_input(R"({"__metadata__":{"format":"pt"}} )", 0),
          safetensors_input(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", 24),
          safetensors_input(R"({"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},)"
                            R"("b":{"dtype":"U8","shape":[0,7],"data_offsets":[2,2]},)"
                            R"("c":{"dtype":"I64","shape":[1],"data_offsets":[2,10]}})",
                            10),
          // One byte of no tensor, one byte of two.
          safetensors_input(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                            R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                            3),
          safetensors_input(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                            3)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string file(reinterpret_cast<const char*>(data), size);
  parse(file);
  parse(shira::with_right_length(file));
  return 0;
}
