// run_schedulers < CASES: for tests. A line is a JSON object. {config, name, steps, dtype} is
// answered with what a sampler does to noise of seed 0 when the "model" is sin(input + t / 1000):
// {timesteps, init_noise_sigma, samples}; {config, dtype, timesteps} with the forward process at
// these timesteps: {alphas_cumprod, noisy, velocity, snr}. `config` is a file; an error gives
// {error}.
#include <shira/base/error.h>
#include <shira/tasks/noise_schedule.h>
#include <shira/tasks/noise_scheduler.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

namespace {

using nlohmann::json;

std::vector<float> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.to(torch::kFloat32).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

torch::ScalarType dtype_of(const json& line) {
  return line["dtype"] == "bfloat16" ? torch::kBFloat16 : torch::kFloat32;
}

json trajectory(const shira::SchedulerConfig& config, const json& line) {
  const auto scheduler = shira::make_noise_scheduler(config, line["name"].get<std::string>(),
                                                     line["steps"].get<std::int64_t>());
  const at::Generator generator = at::detail::createCPUGenerator(0);
  torch::Tensor x = at::randn({2, 2, 3}, generator, dtype_of(line)) * scheduler->init_noise_sigma();
  json samples = json::array();
  for (std::size_t i = 0; i < scheduler->timesteps().size(); ++i) {
    const torch::Tensor input = scheduler->scale_model_input(x, i);
    const torch::Tensor output = (input + scheduler->timesteps()[i] / 1000).sin();
    x = scheduler->step(output, i, x, generator);
    samples.push_back(values_of(x));
  }
  return {{"timesteps", scheduler->timesteps()},
          {"init_noise_sigma", scheduler->init_noise_sigma()},
          {"samples", samples}};
}

json forward_process(const shira::SchedulerConfig& config, const json& line) {
  const shira::NoiseSchedule schedule(config);
  const torch::Tensor timesteps =
      at::tensor(line["timesteps"].get<std::vector<std::int64_t>>(), torch::kInt64);
  const at::Generator generator = at::detail::createCPUGenerator(0);
  const torch::Tensor samples = at::randn({timesteps.size(0), 2, 3}, generator, dtype_of(line));
  const torch::Tensor noise = at::randn(samples.sizes(), generator, dtype_of(line));
  return {{"alphas_cumprod", values_of(schedule.alphas_cumprod())},
          {"noisy", values_of(schedule.add_noise(samples, noise, timesteps))},
          {"velocity", values_of(schedule.velocity(samples, noise, timesteps))},
          {"snr", values_of(schedule.snr(timesteps))}};
}

json answer_to(const json& line) {
  try {
    const auto config = shira::read_scheduler_config(line["config"].get<std::string>());
    return line.contains("name") ? trajectory(config, line) : forward_process(config, line);
  } catch (const shira::Error& error) {
    return {{"error", error.what()}};
  }
}

}  // namespace

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer_to(json::parse(line)).dump() << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
