// A small application, built against the installed package and nothing else.
#include <shira/base/logging.h>
#include <shira/io/safetensors.h>

#include <cstring>
#include <filesystem>
#include <vector>

int main() {
  const std::filesystem::path path = "consumer.safetensors";
  const std::vector<float> values = {1.0F, -2.5F, 3.0F};
  shira::write_safetensors(path, {{"values", shira::DType::kF32, {3}, values.data()}});

  const shira::TensorView view = shira::SafetensorsFile(path).view("values");
  if (view.byte_size != 12 || std::memcmp(view.data, values.data(), view.byte_size) != 0) {
    shira::log_error("the tensor read back is not the one written");
    return 1;
  }
  shira::log_info("an application against the installed package works");
  return 0;
}
