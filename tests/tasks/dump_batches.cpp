// dump_batches CONFIG.yaml COUNT OUT.safetensors: for tests. The first batches of a diffusion run's
// training data, as "<number>.<tensor>".
#include <shira/config/config_parser.h>
#include <shira/tasks/diffusion_run.h>

#include <exception>
#include <iostream>
#include <string>

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw std::invalid_argument("usage: dump_batches CONFIG COUNT OUT");
    const shira::RunConfig config = shira::load_config(argv[1]);
    const shira::DiffusionPipeline pipeline = shira::load_base_pipeline(config);
    auto data = shira::make_train_data(config, pipeline, shira::load_pictures(config).train);
    std::vector<shira::NamedTensor> tensors;
    for (std::int64_t i = 0, epoch = 0, number = 0; i < std::stoll(argv[2]); ++i, ++number) {
      if (number == data.batches_in_epoch(epoch)) {
        ++epoch;
        number = 0;
      }
      for (const auto& [name, tensor] : data.batch(epoch, number)) {
        tensors.emplace_back(std::to_string(i) + "." + name, tensor);
      }
    }
    shira::save_tensors(argv[3], tensors);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
