// Prints what a UNet asks of its checkpoint, "name 320 4 3 3" a line, for cli/test_unet.py: the
// names and shapes of a model of any size, without its memory.
#include <shira/base/error.h>
#include <shira/models/unet.h>

#include <ATen/Functions.h>

#include <iostream>

namespace {

torch::Tensor stand_in(const std::string& name, at::IntArrayRef shape) {
  std::cout << name;
  for (const std::int64_t size : shape) std::cout << ' ' << size;
  std::cout << '\n';
  return at::empty({1}).expand(shape);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    const shira::Unet model(shira::read_unet_config(argv[1]), stand_in);
    for (const auto& parameter : model->named_parameters()) {
      std::cout << "registered " << parameter.key() << '\n';
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
