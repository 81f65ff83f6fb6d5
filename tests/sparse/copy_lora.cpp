// copy_lora ADAPTER BASE OUT: loads a LoRA adapter of a base and saves it again, for
// cli/test_diffusion_adapters.py.
#include <shira/base/error.h>
#include <shira/sparse/base_checkpoint.h>
#include <shira/sparse/lora_adapter.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    shira::ParameterShapes shapes;
    for (const auto& [name, tensor] : shira::map_checkpoint(argv[2])) {
      shapes.emplace(name, tensor.sizes().vec());
    }
    shira::save_lora_adapter(argv[3], shira::load_lora_adapter(argv[1], &shapes));
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
